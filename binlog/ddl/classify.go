package ddl

import (
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/charset"
)

// classify compares the columns before and after the statement.
func (a *alteration) classify() {
	last := -1
	for i := range a.new.Columns {
		c := &a.new.Columns[i]
		origin := a.origins[i]
		if origin < 0 {
			a.classifyAdded(c)
			continue
		}
		old := &a.old.Columns[origin]
		if origin < last {
			a.raise(ColumnsChanged, "column "+c.Name+" moves")
		}
		last = max(last, origin)
		if c.Name != old.Name {
			a.raise(ColumnsChanged, "column "+old.Name+" is renamed")
		}
		if c.Invisible != old.Invisible {
			a.raise(ColumnsChanged, "visibility of column "+c.Name)
		}
		if why := a.valuesChange(old, c); why != "" {
			a.raise(ValuesChanged, "column "+c.Name+": "+why)
		}
	}
	for i := range a.old.Columns {
		if !slices.Contains(a.origins, i) {
			a.raise(ColumnsChanged, "column "+a.old.Columns[i].Name+" is dropped")
		}
	}
}

// classifyAdded decides whether existing rows show a value in an added column.
func (a *alteration) classifyAdded(c *Column) {
	switch {
	case a.old.column(c.Name) >= 0:
		a.raise(ValuesChanged, "column "+c.Name+" is replaced by a new one")
	case c.Generated:
		a.raise(ValuesChanged, "added column "+c.Name+" is generated")
	case !c.Nullable:
		a.raise(ValuesChanged, "added column "+c.Name+" is NOT NULL")
	case !isNull(c.Default):
		a.raise(ValuesChanged, "added column "+c.Name+" has a default")
	default:
		a.raise(ColumnsChanged, "column "+c.Name+" is added")
	}
}

// valuesChange returns why values of existing rows may print otherwise than before, or "".
func (a *alteration) valuesChange(old, now *Column) string {
	switch {
	case old.Generated != now.Generated || old.Stored != now.Stored && !a.old.Partial,
		now.Generated && (a.old.Partial || old.Expression != now.Expression):
		if a.untouched(now) {
			return ""
		}
		return "its expression changes"
	case now.AutoIncrement && !old.AutoIncrement && !a.untouched(now):
		return "AUTO_INCREMENT replaces zeros"
	case old.Nullable && !now.Nullable && (!a.o.isStrict() || now.Type == binlog.TypeTimestamp):
		// A strict session rejects NULLs, but in a TIMESTAMP they become the current time.
		return "NOT NULL replaces NULLs"
	case !printsAlike(&old.Column, &now.Column):
		return "its type changes from " + old.SQLType + " to " + now.SQLType
	}
	return ""
}

// untouched reports whether no clause defines the column anew.
func (a *alteration) untouched(c *Column) bool {
	return !slices.ContainsFunc(a.changes, func(change *Change) bool {
		return change.Kind == ModifyColumn && sameName(change.Column.Name, c.Name)
	})
}

// printsAlike reports whether every value that the old column can hold prints the same in the new
// one. It is false where that is not certain.
func printsAlike(old, now *binlog.Column) bool {
	if normalCharset(old.Charset) != normalCharset(now.Charset) {
		return false
	}
	if old.Type.IsInteger() && now.Type.IsInteger() {
		// An unsigned column fits a wider signed one.
		o, n := old.Type.FixedSize(), now.Type.FixedSize()
		return o <= n && old.Unsigned == now.Unsigned || o < n && old.Unsigned
	}
	switch now.Type {
	case binlog.TypeText, binlog.TypeBlob:
		shorter := binlog.TypeVarchar
		if now.Type == binlog.TypeBlob {
			shorter = binlog.TypeVarbinary
		}
		return old.Type == now.Type && textSize(old.SQLType) <= textSize(now.SQLType) ||
			old.Type == shorter &&
				old.Length*max(charset.Width(old.Charset), 1) <= textSize(now.SQLType)
	}
	if old.Type != now.Type {
		return false
	}
	switch now.Type {
	case binlog.TypeDecimal:
		return old.Decimals == now.Decimals && old.Length <= now.Length &&
			(old.Unsigned == now.Unsigned || !now.Unsigned)
	case binlog.TypeChar, binlog.TypeVarchar, binlog.TypeVarbinary, binlog.TypeBit:
		return old.Length <= now.Length
	case binlog.TypeTime, binlog.TypeDatetime, binlog.TypeTimestamp:
		return old.Decimals == now.Decimals
	case binlog.TypeEnum, binlog.TypeSet:
		return len(old.Values) <= len(now.Values) &&
			slices.Equal(old.Values, now.Values[:len(old.Values)])
	case binlog.TypeDate, binlog.TypeJSON:
		return true
	}
	return old.SQLType == now.SQLType
}

// textSize returns the most bytes of a TEXT or BLOB type.
func textSize(sqlType string) int {
	switch {
	case strings.HasPrefix(sqlType, "tiny"):
		return 1<<8 - 1
	case strings.HasPrefix(sqlType, "medium"):
		return 1<<24 - 1
	case strings.HasPrefix(sqlType, "long"):
		return 1<<32 - 1
	}
	return 1<<16 - 1
}
