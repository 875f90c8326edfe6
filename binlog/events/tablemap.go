package events

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/charset"
)

// maxVersions bounds the number of table versions, and of table ids, that are cached.
const maxVersions = 4096

// Tables provides the schemas of mapped tables to a Parser.
type Tables interface {
	// Table returns the schema of a table, or nil and no error where the table is not mapped. The
	// parser calls it once per version of the table that it meets in the binlog (see
	// Parser.Forget); the schema must fit that version. An error ends the parsing.
	Table(database, name string) (*binlog.Table, error)
	// Mismatch reports that a table map does not fit the schema that Table has returned: the table
	// was altered by a statement that is not in the binlog. If Mismatch returns nil, the rows of
	// this version are skipped; otherwise its error ends the parsing.
	Mismatch(t *binlog.Table, reason error) error
	// RowsSkipped reports an event with rows of a table that Table has returned no schema for, or
	// whose table map does not fit the schema. op is what happened to the rows. foreignKeysOff is
	// set if that was with foreign_key_checks=0.
	RowsSkipped(database, name string, op binlog.Op, foreignKeysOff bool)
}

// tableVersion is the content of one table map: the table as it was when its rows were logged. It
// is immutable.
type tableVersion struct {
	// raw is the event's body after the table id. Equal bytes are the same version; a server
	// assigns a new id whenever it opens the table.
	raw            []byte
	database, name string
	columns        int
	// layout is nil where the table is not mapped.
	layout *binlog.Layout
	// isWatched is Table.IsWatched.
	isWatched bool
}

// tableMaps finds the tableVersion that a rows event refers to.
type tableMaps struct {
	tables  Tables
	mariaDB bool
	byID    map[uint64]*tableVersion
	byRaw   map[string]*tableVersion
	// resetPending clears both maps at the next statement. It must wait for that, because all table
	// maps of a statement come before its rows.
	resetPending bool
	inStatement  bool
	// statement are the table maps of the last statement.
	statement []*tableVersion
}

// add handles a table map event's body. wide is set if table ids have six bytes instead of four.
func (m *tableMaps) add(c cursor, wide bool) error {
	id := c.tableID(wide)
	if c.truncated {
		return errTruncated
	}
	if !m.inStatement {
		m.inStatement, m.statement = true, m.statement[:0]
		if m.byID == nil || m.resetPending || len(m.byRaw) > maxVersions {
			m.byID, m.byRaw = make(map[uint64]*tableVersion), make(map[string]*tableVersion)
			m.resetPending = false
		} else if len(m.byID) > maxVersions {
			clear(m.byID)
		}
	}
	v := m.byID[id]
	if v == nil || !bytes.Equal(v.raw, c.b) {
		if v = m.byRaw[string(c.b)]; v == nil {
			var err error
			if v, err = m.compile(c.b); err != nil {
				return err
			}
			m.byRaw[string(v.raw)] = v
		}
		m.byID[id] = v
	}
	m.statement = append(m.statement, v)
	return nil
}

// StatementTables returns the tables, as database.table, whose rows the last statement has changed.
// It returns nil between transactions, and within a transaction that is read without being yielded.
func (p *Parser) StatementTables() []string {
	if p.transaction.state != stateOpen || p.discarding() {
		return nil
	}
	var names []string
	for _, v := range p.maps.statement {
		if name := v.database + "." + v.name; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// compile parses a table map's bytes after the table id.
func (m *tableMaps) compile(raw []byte) (*tableVersion, error) {
	v := &tableVersion{raw: bytes.Clone(raw)}
	c := cursor{b: v.raw}
	c.bytes(2) // flags
	v.database = string(c.name())
	v.name = string(c.name())
	columns := c.lengthEncodedInt()
	types := c.bytes(columns)
	meta := c.bytes(c.lengthEncodedInt())
	nullable := c.bytes((columns + 7) / 8)
	if c.truncated {
		return nil, errTruncated
	}
	v.columns = int(columns)
	t, err := m.tables.Table(v.database, v.name)
	if err != nil {
		return nil, fmt.Errorf("look up table %s.%s: %w", v.database, v.name, err)
	}
	if s, ok := m.tables.(Supplier); ok && t != nil {
		logged, err := m.readLogged(v, types, meta, nullable, c.b)
		if err != nil {
			return nil, fmt.Errorf("read the metadata of %s.%s: %w", v.database, v.name, err)
		}
		if t, err = s.Supply(t, logged); err != nil {
			return nil, fmt.Errorf("look up table %s.%s: %w", v.database, v.name, err)
		}
	}
	if t == nil {
		return v, nil
	}
	layout, err := binlog.NewImageLayout(t, types, meta, m.mariaDB)
	if err == nil {
		err = m.verifyMetadata(t, types, meta, c.b)
	}
	if errors.Is(err, errTruncated) {
		return nil, err
	}
	if err != nil {
		return v, m.tables.Mismatch(t, withTable(t.FullName(), reject(
			"table %s differs from the table that the binlog was written for: %w; "+
				"it was altered by a statement that is not in the binlog",
			t.FullName(), err)))
	}
	v.layout, v.isWatched = layout, t.IsWatched
	return v, nil
}

// withTable adds the table's name to a *binlog.RefusedError. Other errors are returned unchanged.
func withTable(name string, err error) error {
	var r *binlog.RefusedError
	if errors.As(err, &r) {
		return &binlog.RefusedError{Table: name, Err: err}
	}
	return err
}

// The fields of a table map's optional metadata that are compared with the schema.
// binlog_row_metadata decides which fields a server writes. MySQL always writes the signs;
// MariaDB's NO_LOG writes nothing.
const (
	metaSignedness     = 1
	metaDefaultCharset = 2
	metaColumnCharsets = 3
	metaNames          = 4
	metaSetValues      = 5
	metaEnumValues     = 6
	metaPrimaryKey     = 8
)

// verifyMetadata compares a schema with the optional metadata of a table map. The number of columns
// was compared before. A table with more columns than are logged is not compared.
func (m *tableMaps) verifyMetadata(t *binlog.Table, types, meta, fields []byte) error {
	if len(types) != len(t.Columns) {
		return nil
	}
	wires, err := binlog.ParseWireTypes(types, meta)
	if err != nil {
		return err
	}
	c := cursor{b: fields}
	for len(c.b) > 0 {
		field := c.byte()
		value := cursor{b: c.bytes(c.lengthEncodedInt())}
		if c.truncated {
			return errTruncated
		}
		var err error
		switch field {
		case metaSignedness:
			err = verifySigns(t, wires, value)
		case metaNames:
			err = verifyNames(t, value)
		case metaSetValues:
			err = m.verifyValues(t, wires, binlog.WireType.IsSet, value)
		case metaEnumValues:
			err = m.verifyValues(t, wires, binlog.WireType.IsEnum, value)
		case metaDefaultCharset:
			err = m.verifyCharsets(t, wires, value, true)
		case metaColumnCharsets:
			err = m.verifyCharsets(t, wires, value, false)
		case metaPrimaryKey:
			err = verifyPrimary(t, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// verifySigns compares the signs of numeric columns: one bit per column, from each byte's highest
// bit down.
func verifySigns(t *binlog.Table, wires []binlog.WireType, c cursor) error {
	n := 0
	for i, w := range wires {
		if !w.HasSign() {
			continue
		}
		if n/8 >= len(c.b) {
			return errTruncated
		}
		unsigned := c.b[n/8]&(0x80>>(n%8)) != 0
		n++
		// YEAR is always unsigned, whether or not the schema marks it so.
		if col := &t.Columns[i]; col.Unsigned != unsigned && !w.IsYear() {
			return fmt.Errorf("column %s is %s in the schema and has the other sign in the binlog",
				col.Name, col.SQLType)
		}
	}
	return nil
}

func verifyNames(t *binlog.Table, c cursor) error {
	for i := range t.Columns {
		name := c.bytes(c.lengthEncodedInt())
		if c.truncated {
			return errTruncated
		}
		if col := &t.Columns[i]; !strings.EqualFold(col.Name, string(name)) {
			return fmt.Errorf("column %d is named %s in the schema and %s in the binlog",
				i+1, col.Name, binlog.Clip(name, maxQuoted))
		}
	}
	return nil
}

// verifyValues compares the labels of ENUM or SET columns. The binlog holds them in the column's
// character set, the schema in UTF-8.
func (m *tableMaps) verifyValues(
	t *binlog.Table, wires []binlog.WireType, is func(binlog.WireType) bool, c cursor,
) error {
	for i, w := range wires {
		if !is(w) {
			continue
		}
		col := &t.Columns[i]
		count := c.lengthEncodedInt()
		same := count == uint64(len(col.Values))
		decoder, known := charset.Find(col.Charset, charset.ServerOf(m.mariaDB))
		for j := uint64(0); j < count; j++ {
			v := c.bytes(c.lengthEncodedInt())
			if c.truncated {
				return errTruncated
			}
			if decoder != nil {
				v = decoder.Append(nil, v)
			}
			if same && known && col.Values[j] != string(v) && col.Charset != "binary" {
				same = false
			}
		}
		if c.truncated {
			return errTruncated
		}
		if !same {
			return fmt.Errorf("column %s is %s in the schema and has other members in the binlog",
				col.Name, col.SQLType)
		}
	}
	return nil
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// verifyCharsets compares the character sets of columns. The metadata hold one collation per
// column, or (byDefault) a default collation and pairs of a column and its collation. Columns are
// counted among those with a collation.
func (m *tableMaps) verifyCharsets(
	t *binlog.Table, wires []binlog.WireType, c cursor, byDefault bool,
) error {
	var defaultCollation, nextAt, next uint64
	if byDefault {
		defaultCollation = c.lengthEncodedInt()
		nextAt, next = c.lengthEncodedIntOr(math.MaxUint64), c.lengthEncodedIntOr(0)
	}
	n := uint64(0)
	for i, w := range wires {
		if !w.HasCollation(m.mariaDB) {
			continue
		}
		collation := defaultCollation
		switch {
		case !byDefault:
			collation = c.lengthEncodedInt()
		case n == nextAt:
			collation = next
			nextAt, next = c.lengthEncodedIntOr(math.MaxUint64), c.lengthEncodedIntOr(0)
		}
		n++
		if c.truncated {
			return errTruncated
		}
		col := &t.Columns[i]
		now, then := col.LoggedCharset(), charsetOf(collation)
		if now != "" && then != "" && now != then {
			return fmt.Errorf("column %s has character set %s in the schema and %s in the binlog",
				col.Name, now, then)
		}
	}
	return nil
}

// verifyPrimary compares the primary key. For a table without one, servers write the first unique
// key without NULLs, which is not compared. A primary key with a prefix of a column is not in
// Table.Primary.
func verifyPrimary(t *binlog.Table, c cursor) error {
	if len(t.Primary) == 0 {
		return nil
	}
	n := 0
	for ; len(c.b) > 0; n++ {
		column := c.lengthEncodedInt()
		if c.truncated {
			return errTruncated
		}
		if n >= len(t.Primary) || uint64(t.Primary[n]) != column {
			return fmt.Errorf("the primary key has other columns in the schema than in the binlog")
		}
	}
	if n != len(t.Primary) {
		return fmt.Errorf("the primary key has other columns in the schema than in the binlog")
	}
	return nil
}
