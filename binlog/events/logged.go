package events

import (
	"math"

	"rowfall/binlog"
	"rowfall/binlog/charset"
)

// Supplier is implemented by Tables that may not know the schema of a table at the stream's
// position.
type Supplier interface {
	// Supply returns the schema for the rows of a table map whose table has the schema t. logged is
	// what the table map describes; nil if it has no names of columns (binlog_row_metadata is not
	// FULL). Supply returns nil and no error if the rows must be skipped.
	Supply(t *binlog.Table, logged *binlog.LoggedTable) (*binlog.Table, error)
}

// Fields of a table map's optional metadata that only readLogged reads.
const (
	metaPrimaryPrefix   = 9
	metaEnumSetDefault  = 10
	metaEnumSetCharsets = 11
	metaVisibility      = 12
)

// readLogged returns the table that a table map with full metadata describes, or nil if the
// metadata have no names of columns.
func (m *tableMaps) readLogged(
	v *tableVersion, types, meta, nullable, fields []byte,
) (*binlog.LoggedTable, error) {
	wires, err := binlog.ParseWireTypes(types, meta)
	if err != nil {
		return nil, nil // a layout cannot be made either, which reports the fault
	}
	t := &binlog.LoggedTable{
		Database: v.database, Name: v.name, Columns: make([]binlog.LoggedColumn, len(wires)),
		IsMariaDB: m.mariaDB,
	}
	for i, w := range wires {
		t.Columns[i].Wire = w
		t.Columns[i].Nullable = nullable[i/8]&(1<<(i%8)) != 0
	}
	r := loggedReader{t: t, mariaDB: m.mariaDB}
	for c := (cursor{b: fields}); len(c.b) > 0; {
		field := c.byte()
		value := cursor{b: c.bytes(c.lengthEncodedInt())}
		if c.truncated {
			return nil, errTruncated
		}
		if r.read(field, &value); value.truncated {
			return nil, errTruncated
		}
	}
	if !r.hasNames || !r.convertLabels() {
		return nil, nil
	}
	return t, nil
}

// loggedReader fills in a LoggedTable.
type loggedReader struct {
	t        *binlog.LoggedTable
	mariaDB  bool
	hasNames bool
	// labels are those of ENUM and SET columns, by column, in the columns' character sets.
	labels map[int][]string
}

// read reads one field of the metadata.
func (r *loggedReader) read(field byte, c *cursor) {
	columns := r.t.Columns
	isText := func(w binlog.WireType) bool { return w.HasCollation(r.mariaDB) }
	hasLabels := func(w binlog.WireType) bool { return w.IsEnum() || w.IsSet() }
	switch field {
	case metaSignedness:
		n := 0
		for i := range columns {
			if !columns[i].Wire.HasSign() {
				continue
			}
			if n%8 == 0 && len(c.b) <= n/8 {
				c.truncated = true
				return
			}
			columns[i].Unsigned = c.b[n/8]&(0x80>>(n%8)) != 0
			n++
		}
	case metaNames:
		r.hasNames = true
		for i := range columns {
			columns[i].Name = string(c.bytes(c.lengthEncodedInt()))
		}
	case metaSetValues:
		r.readLabels(c, binlog.WireType.IsSet)
	case metaEnumValues:
		r.readLabels(c, binlog.WireType.IsEnum)
	case metaDefaultCharset:
		r.readCharsets(c, isText, true)
	case metaColumnCharsets:
		r.readCharsets(c, isText, false)
	case metaEnumSetDefault:
		r.readCharsets(c, hasLabels, true)
	case metaEnumSetCharsets:
		r.readCharsets(c, hasLabels, false)
	case metaPrimaryKey:
		for len(c.b) > 0 && !c.truncated {
			r.addKeyColumn(c.lengthEncodedInt())
		}
	case metaPrimaryPrefix:
		// The whole column is the key if the prefix is 0. A key with a prefix identifies no row.
		isWhole := true
		for len(c.b) > 0 && !c.truncated {
			r.addKeyColumn(c.lengthEncodedInt())
			isWhole = isWhole && c.lengthEncodedInt() == 0
		}
		if !isWhole {
			r.t.Primary = nil
		}
	case metaVisibility:
		for i := range columns {
			if i/8 >= len(c.b) {
				c.truncated = true
				return
			}
			columns[i].Invisible = c.b[i/8]&(0x80>>(i%8)) == 0
		}
	}
}

func (r *loggedReader) addKeyColumn(i uint64) {
	if i < uint64(len(r.t.Columns)) {
		r.t.Primary = append(r.t.Primary, int(i))
	}
}

func (r *loggedReader) readLabels(c *cursor, is func(binlog.WireType) bool) {
	if r.labels == nil {
		r.labels = make(map[int][]string)
	}
	for i := range r.t.Columns {
		if !is(r.t.Columns[i].Wire) {
			continue
		}
		list := []string{}
		for n := c.lengthEncodedInt(); n > 0 && !c.truncated; n-- {
			list = append(list, string(c.bytes(c.lengthEncodedInt())))
		}
		r.labels[i] = list
	}
}

// readCharsets reads the collations of some columns in the form that verifyCharsets reads.
func (r *loggedReader) readCharsets(
	c *cursor, is func(binlog.WireType) bool, byDefault bool,
) {
	var defaultCollation, nextAt, next uint64
	if byDefault {
		defaultCollation = c.lengthEncodedInt()
		nextAt, next = c.lengthEncodedIntOr(math.MaxUint64), c.lengthEncodedIntOr(0)
	}
	n := uint64(0)
	for i := range r.t.Columns {
		if !is(r.t.Columns[i].Wire) {
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
		r.t.Columns[i].Charset = charsetOf(collation)
	}
}

// convertLabels sets the labels as UTF-8. It returns false if a character set is not known.
func (r *loggedReader) convertLabels() bool {
	for i, list := range r.labels {
		column := &r.t.Columns[i]
		decoder, known := charset.Find(column.Charset, charset.ServerOf(r.mariaDB))
		for k, label := range list {
			switch {
			case decoder != nil:
				list[k] = string(decoder.Append(nil, []byte(label)))
			case known && column.Charset != "binary", isASCII([]byte(label)):
			default:
				return false
			}
		}
		column.Labels = list
	}
	return true
}
