package events

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"

	"rowfall/binlog"
)

// maxVersions bounds how many table versions, and table ids, are remembered.
const maxVersions = 4096

// Tables tells a Parser which tables are mapped and what they look like.
type Tables interface {
	// Table returns the schema of a table, or nil and no error where the table
	// is not mapped. It is asked once per version of the table that the binlog
	// shows (see Parser.Forget) and its answer must fit that version; an error
	// ends the parser's work.
	Table(database, name string) (*binlog.Table, error)
}

// version is what one table map said: the table as it was when its rows were
// logged. It is immutable.
type tableVersion struct {
	// raw is the event's body after the table id, which the server gives anew
	// whenever it opens the table: equal bytes are the same version.
	raw            []byte
	database, name string
	columns        int
	// layout is nil where the table is not mapped.
	layout *binlog.Layout
}

// tableMaps finds the version that a rows event refers to.
type tableMaps struct {
	tables  Tables
	mariaDB bool
	byID    map[uint64]*tableVersion
	byRaw   map[string]*tableVersion
	// forget clears both when the next statement begins: the table maps of a
	// statement stand before all its rows.
	resetPending bool
	inStatement  bool
}

// define handles a table map event's body; wide says that table ids have six
// bytes instead of four.
func (m *tableMaps) add(c cursor, wide bool) error {
	id := c.tableID(wide)
	if c.truncated {
		return errTruncated
	}
	if !m.inStatement {
		m.inStatement = true
		if m.byID == nil || m.resetPending || len(m.byRaw) > maxVersions {
			m.byID, m.byRaw = make(map[uint64]*tableVersion), make(map[string]*tableVersion)
			m.resetPending = false
		} else if len(m.byID) > maxVersions {
			clear(m.byID)
		}
	}
	if v := m.byID[id]; v != nil && bytes.Equal(v.raw, c.b) {
		return nil
	}
	v := m.byRaw[string(c.b)]
	if v == nil {
		var err error
		if v, err = m.compile(c.b); err != nil {
			return err
		}
		m.byRaw[string(v.raw)] = v
	}
	m.byID[id] = v
	return nil
}

// compile builds a version from a table map's bytes after the table id.
func (m *tableMaps) compile(raw []byte) (*tableVersion, error) {
	v := &tableVersion{raw: bytes.Clone(raw)}
	c := cursor{b: v.raw}
	c.bytes(2) // flags
	v.database = string(c.name())
	v.name = string(c.name())
	columns := c.lengthEncodedInt()
	types := c.bytes(columns)
	meta := c.bytes(c.lengthEncodedInt())
	c.bytes((columns + 7) / 8) // which columns may be NULL
	if c.truncated {
		return nil, errTruncated
	}
	v.columns = int(columns)
	t, err := m.tables.Table(v.database, v.name)
	if err != nil {
		return nil, fmt.Errorf("look up table %s.%s: %w", v.database, v.name, err)
	}
	if t == nil {
		return v, nil
	}
	if v.layout, err = binlog.NewImageLayout(t, types, meta); err != nil {
		return nil, withTable(t.FullName(), reject("read table map of %s: %w", t.FullName(), err))
	}
	if err = m.verifyMetadata(t, types, meta, c.b); errors.Is(err, errTruncated) {
		return nil, err
	} else if err != nil {
		return nil, withTable(t.FullName(), reject("table %s is not as it was when the binlog was written: %w; "+
			"it was altered since, or by statements that are not in the binlog: start again with --from snapshot", t.FullName(), err))
	}
	return v, nil
}

// inTable says which table an error is about, if it is one that refuses.
func withTable(name string, err error) error {
	var r *binlog.RefusedError
	if errors.As(err, &r) {
		return &binlog.RefusedError{Table: name, Err: err}
	}
	return err
}

// The fields of a table map's optional metadata that say what a table must
// agree with. Which of them there are is binlog_row_metadata's doing; signedness
// is there even when that is MINIMAL (MySQL), none when it is NO_LOG (MariaDB).
const (
	metaSignedness     = 1
	metaDefaultCharset = 2
	metaColumnCharsets = 3
	metaNames          = 4
	metaSetValues      = 5
	metaEnumValues     = 6
	metaPrimaryKey     = 8
)

// verifyMetadata compares a table with the optional metadata of a table map.
// The column count was compared before; tables with columns that are never
// logged are compared by what is counted alike.
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
			err = verifyValues(t, wires, binlog.WireType.IsSet, value)
		case metaEnumValues:
			err = verifyValues(t, wires, binlog.WireType.IsEnum, value)
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

// verifySigns reads a bit per numeric column, from the highest of a byte down.
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
		// A YEAR has no other sign; schemas need not call it unsigned.
		if col := &t.Columns[i]; col.Unsigned != unsigned && !w.IsYear() {
			return fmt.Errorf("column %s is %s now and had another sign then", col.Name, col.SQLType)
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
			return fmt.Errorf("column %d is named %s now and was %s then", i+1, col.Name, binlog.Clip(name, maxQuoted))
		}
	}
	return nil
}

// verifyValues compares the members of ENUM or SET columns. The binlog has them
// in the column's own character set; what is not ASCII is compared only where
// that is UTF-8 as ours.
func verifyValues(t *binlog.Table, wires []binlog.WireType, is func(binlog.WireType) bool, c cursor) error {
	for i, w := range wires {
		if !is(w) {
			continue
		}
		col := &t.Columns[i]
		count := c.lengthEncodedInt()
		same := count == uint64(len(col.Values))
		for j := uint64(0); j < count; j++ {
			v := c.bytes(c.lengthEncodedInt())
			if c.truncated {
				return errTruncated
			}
			comparable := strings.HasPrefix(col.Charset, "utf8") || isASCII(v)
			if same && comparable && col.Values[j] != string(v) && col.Charset != "binary" {
				same = false
			}
		}
		if c.truncated {
			return errTruncated
		}
		if !same {
			return fmt.Errorf("column %s is %s now and had other members then", col.Name, col.SQLType)
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

// verifyCharsets compares the character sets of columns. Their collations stand
// one by one, or as a default and the columns that differ, counted among those
// that have one.
func (m *tableMaps) verifyCharsets(t *binlog.Table, wires []binlog.WireType, c cursor, byDefault bool) error {
	var usual, nextAt, next uint64
	if byDefault {
		usual, nextAt, next = c.lengthEncodedInt(), c.lengthEncodedIntOr(math.MaxUint64), c.lengthEncodedIntOr(0)
	}
	n := uint64(0)
	for i, w := range wires {
		if !w.HasCollation(m.mariaDB) {
			continue
		}
		collation := usual
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
			return fmt.Errorf("column %s is of character set %s now and was of %s then", col.Name, now, then)
		}
	}
	return nil
}

// verifyPrimary compares the primary key. A server has one in the binlog also
// where the table has none but a unique key without NULLs, and then what it has
// of that is not ours to compare; one with a prefix of a column is no key to us.
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
			return fmt.Errorf("the primary key has other columns now than then")
		}
	}
	if n != len(t.Primary) {
		return fmt.Errorf("the primary key has other columns now than then")
	}
	return nil
}
