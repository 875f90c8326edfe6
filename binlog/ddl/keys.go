package ddl

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"rowfall/binlog"
	"rowfall/binlog/charset"
)

// alterKeys computes the keys: existing ones without those that are dropped, then the new ones.
func (a *alteration) alterKeys() error {
	if err := a.dropKeys(); err != nil {
		return err
	}
	a.followColumns()
	a.forgetHashes()
	if err := a.alterPeriods(); err != nil {
		return err
	}
	var added []Key
	for _, c := range a.changes {
		if c.Kind != AddKey {
			continue
		}
		k, err := a.newKey(c.Key)
		if err != nil {
			return err
		}
		added = append(added, k)
	}
	for i := range added {
		k := added[i]
		if k.Foreign && (a.covered(a.new.Keys, k) || a.covered(added[:i], k) ||
			a.covered(added[i+1:], k)) {
			continue
		}
		if err := a.addKey(k); err != nil {
			return err
		}
	}
	a.requirePrimary()
	a.findHashes()
	a.sortKeys()
	a.findHidden()
	return nil
}

// sortKeys brings the keys into the order in which they are read from information_schema: by name,
// and those with a hash index last, because that does not order the rows.
func (a *alteration) sortKeys() {
	fold := strings.ToUpper
	if !a.o.MariaDB && !a.o.mysqlBefore(80000) {
		fold = strings.ToLower // which sorts the underscore before the letters
	}
	slices.SortStableFunc(a.new.Keys, func(x, y Key) int {
		if x.Hash != y.Hash {
			if x.Hash {
				return 1
			}
			return -1
		}
		return strings.Compare(fold(x.Name), fold(y.Name))
	})
}

// dropKeys removes and renames existing keys.
func (a *alteration) dropKeys() error {
	for _, c := range a.changes {
		name := c.Name
		switch c.Kind {
		case DropPrimaryKey:
			name = "PRIMARY"
		case DropKey, RenameKey, DropConstraint:
		default:
			continue
		}
		i := a.new.key(name)
		if i < 0 {
			if a.old.Partial && c.Kind != DropConstraint {
				return fmt.Errorf("%s: the keys of table %s are not known", c.Text,
					a.old.TableName())
			}
			if t := a.old.Table(); a.old.Partial && len(t.Unique)+len(t.NullableUnique) > 0 {
				return fmt.Errorf("%s: the unique keys of table %s are not known", c.Text,
					a.old.TableName())
			}
			if c.Kind == DropConstraint || c.IfExists {
				continue // a CHECK or a foreign key
			}
			return fmt.Errorf("%s: table %s has no key %s", c.Text, a.old.TableName(), name)
		}
		switch {
		case c.Kind == RenameKey:
			a.new.Keys[i].Name = c.NewName
		case c.Kind == DropConstraint && a.new.Keys[i].Kind == IndexKey:
			// The constraint is a foreign key, whose index stays.
		default:
			a.new.Keys = slices.Delete(a.new.Keys, i, i+1)
		}
	}
	return nil
}

// followColumns changes the parts of keys whose columns were renamed, dropped or resized.
func (a *alteration) followColumns() {
	a.new.Keys = slices.DeleteFunc(a.new.Keys, func(k Key) bool { return len(k.Parts) == 0 })
	for i := range a.new.Keys {
		k := &a.new.Keys[i]
		parts := k.Parts[:0]
		for _, part := range k.Parts {
			if !part.Expression {
				at := slices.Index(a.origins, a.old.column(part.Column))
				if at < 0 {
					continue // the column was dropped
				}
				now := &a.new.Columns[at]
				part.Column = now.Name
				if part.Length == 0 && !a.o.MariaDB {
					part.Length = labelPrefix(&a.old.Columns[a.origins[at]], now)
				}
				part.Length = prefixLength(now, part.Length)
			}
			parts = append(parts, part)
		}
		k.Parts = parts
	}
	a.new.Keys = slices.DeleteFunc(a.new.Keys, func(k Key) bool { return len(k.Parts) == 0 })
}

// prefixLength returns the length of a key's prefix, 0 where the prefix is the whole column.
func prefixLength(c *Column, length int) int {
	switch c.Type {
	case binlog.TypeChar, binlog.TypeVarchar, binlog.TypeBinary, binlog.TypeVarbinary:
		if length >= c.Length {
			return 0
		}
	}
	return length
}

// labelPrefix returns the length of the prefix that a key of a whole column gets when an ENUM or
// SET becomes a string: MySQL keeps the size of the old value, in characters. 0 means that the key
// still has the whole column.
func labelPrefix(old, now *Column) int {
	if !old.HasLabels() || now.HasLabels() {
		return 0
	}
	longest := 0 // the characters of the longest value
	for _, label := range old.Values {
		n := utf8.RuneCountInString(label)
		if old.Type == binlog.TypeSet {
			longest += n + 1 // with a comma
		} else {
			longest = max(longest, n)
		}
	}
	if old.Type == binlog.TypeSet {
		longest--
	}
	width, size := max(charset.Width(old.Charset), 1), fixedSize(&old.Column)
	if longest*width == size {
		return 0
	}
	switch now.Type {
	case binlog.TypeChar, binlog.TypeVarchar, binlog.TypeBinary, binlog.TypeVarbinary,
		binlog.TypeText, binlog.TypeBlob:
		return size / width
	}
	return 0
}

// alterPeriods adds and removes application-time periods. The columns of a period are NOT NULL.
func (a *alteration) alterPeriods() error {
	for _, c := range a.changes {
		switch c.Kind {
		case addPeriod:
			a.new.periods = append(a.new.periods,
				period{Name: c.Name, Start: c.value, End: c.NewName})
			for _, name := range []string{c.value, c.NewName} {
				i := a.new.column(name)
				if i < 0 {
					return fmt.Errorf("%s: table %s has no column %s", c.Text,
						a.old.TableName(), name)
				}
				a.new.Columns[i].Nullable = false
			}
		case dropPeriod:
			a.new.periods = slices.DeleteFunc(a.new.periods, func(p period) bool {
				return sameName(p.Name, c.Name)
			})
		}
	}
	return nil
}

// newKey returns the key that a definition makes in this table.
func (a *alteration) newKey(d *KeyDef) (Key, error) {
	k := Key{Name: d.Name, Kind: d.Kind, Hash: d.hash, Foreign: d.foreign}
	for _, part := range d.Parts {
		if !part.Expression {
			i := a.new.column(part.Column)
			if i < 0 {
				return k, fmt.Errorf("key %q: table %s has no column %s", d.Name,
					a.old.TableName(), part.Column)
			}
			part.Column = a.new.Columns[i].Name
			part.Length = prefixLength(&a.new.Columns[i], part.Length)
		}
		k.Parts = append(k.Parts, part)
	}
	if d.period != "" {
		i := slices.IndexFunc(a.new.periods, func(p period) bool {
			return sameName(p.Name, d.period)
		})
		if i < 0 {
			return k, fmt.Errorf("key %q: table %s has no period %s", d.Name,
				a.old.TableName(), d.period)
		}
		// Servers list the end of the period before its start.
		for _, name := range []string{a.new.periods[i].End, a.new.periods[i].Start} {
			k.Parts = append(k.Parts, KeyPart{Column: a.new.Columns[a.new.column(name)].Name})
		}
	}
	if a.hasHashIndexes() {
		k.Hash = !d.btree
	} else {
		k.Hash = k.Hash && a.o.MariaDB && k.Kind == UniqueKey
	}
	return k, nil
}

// hasHashIndexes reports whether indexes of the table's engine are hash indexes by default.
func (a *alteration) hasHashIndexes() bool {
	return slices.Contains([]string{"MEMORY", "HEAP", "NDB", "NDBCLUSTER"}, a.engine())
}

// forgetHashes makes the existing keys ordinary ones: MariaDB forgets USING HASH at the next ALTER,
// and decides by a key's length again.
func (a *alteration) forgetHashes() {
	onlyRenames := len(a.changes) == 1 && a.changes[0].Kind == RenameTo
	if !a.o.MariaDB || a.hasHashIndexes() || onlyRenames {
		return
	}
	for i := range a.new.Keys {
		a.new.Keys[i].Hash = false
	}
}

// findHashes finds the unique keys that are too long for an index.
func (a *alteration) findHashes() {
	if !a.o.MariaDB || a.hasHashIndexes() {
		return
	}
	for i := range a.new.Keys {
		k := &a.new.Keys[i]
		k.Hash = k.Hash || k.Kind == UniqueKey && a.isLong(*k)
	}
}

// Texts around the name of a key in NotFollowed; binlog/query has the same.
const (
	hashBefore = "its UNIQUE key "
	hashBehind = " is a hash in a hidden column, which is not supported yet"
)

// findHidden sets NotFollowed if a unique key is a hash in a hidden column, and clears the field if
// such a key was dropped.
func (a *alteration) findHidden() {
	if strings.HasPrefix(a.new.NotFollowed, hashBefore) {
		a.new.NotFollowed = ""
	}
	if !a.o.MariaDB || a.hasHashIndexes() {
		return
	}
	for _, k := range a.new.Keys {
		if k.Hash && k.Kind == UniqueKey {
			a.new.NotFollowed = hashBefore + k.Name + hashBehind
		}
	}
}

// engine returns the engine of the table after the statement.
func (a *alteration) engine() string {
	engine := a.old.Engine
	for _, c := range a.changes {
		if c.Kind == SetEngine {
			engine = strings.ToUpper(c.value)
		}
	}
	return engine
}

// longestKeys holds the most bytes of a key in MariaDB's engines. A unique key that is longer is a
// hash in a hidden column.
var longestKeys = map[string]int{"MYISAM": 1000, "ARIA": 2300}

// isLong reports whether MariaDB stores a hash in place of a unique key.
func (a *alteration) isLong(k Key) bool {
	const longestInnoDB = 3072
	longest := longestKeys[a.engine()]
	if longest == 0 {
		longest = longestInnoDB
	}
	total := 0
	for _, part := range k.Parts {
		i := a.new.column(part.Column)
		if i < 0 {
			continue
		}
		c := &a.new.Columns[i]
		length := c.Length
		switch c.Type {
		case binlog.TypeText, binlog.TypeBlob, binlog.TypeGeometry, binlog.TypeJSON:
			if part.Length == 0 {
				return true
			}
		case binlog.TypeChar, binlog.TypeVarchar, binlog.TypeBinary, binlog.TypeVarbinary:
		default:
			total += fixedSize(&c.Column)
			continue
		}
		if part.Length > 0 {
			length = part.Length
		}
		total += length * max(charset.Width(c.Charset), 1)
	}
	return total > longest
}

// fixedSize returns the bytes of a column's value in a key, for types that are no strings.
func fixedSize(c *binlog.Column) int {
	switch c.Type {
	case binlog.TypeDecimal:
		return digitsSize(c.Length-c.Decimals) + digitsSize(c.Decimals)
	case binlog.TypeBit:
		return (c.Length + 7) / 8
	case binlog.TypeEnum:
		if len(c.Values) > 255 {
			return 2
		}
		return 1
	case binlog.TypeSet:
		if n := (len(c.Values) + 7) / 8; n <= 4 {
			return n
		}
		return 8
	}
	return c.Type.FixedSize() + (c.Decimals+1)/2
}

// digitsSize returns the bytes of so many digits of a DECIMAL: nine take four bytes.
func digitsSize(digits int) int {
	return digits/9*4 + [...]int{0, 1, 1, 2, 2, 3, 3, 4, 4}[digits%9]
}

// covered reports whether another key begins with the columns of the index of a foreign key.
func (a *alteration) covered(keys []Key, foreign Key) bool {
	return slices.ContainsFunc(keys, func(k Key) bool {
		if k.Foreign || len(k.Parts) < len(foreign.Parts) {
			return false
		}
		for i, part := range foreign.Parts {
			if k.Parts[i].Length > 0 || !sameName(k.Parts[i].Column, part.Column) {
				return false
			}
		}
		return true
	})
}

// addKey appends a key, with the name that the server chooses if the key has no name.
func (a *alteration) addKey(k Key) error {
	if k.Name == "" {
		k.Name = a.chooseName(k)
	} else if a.new.key(k.Name) >= 0 {
		if k.Foreign {
			return nil
		}
		return fmt.Errorf("table %s has a key %s already", a.old.TableName(), k.Name)
	}
	if a.old.Partial && k.Kind == UniqueKey && len(a.old.Table().Unique) > 0 {
		return fmt.Errorf("the names of the unique keys of table %s are not known",
			a.old.TableName())
	}
	// The server drops its own index of a foreign key when another key can serve.
	a.new.Keys = slices.DeleteFunc(a.new.Keys, func(other Key) bool {
		return other.Foreign && a.covered([]Key{k}, other)
	})
	a.new.Keys = append(a.new.Keys, k)
	return nil
}

// chooseName returns the name that the server gives to a key: that of its first column, with a
// number if the name is taken.
func (a *alteration) chooseName(k Key) string {
	base := k.Parts[0].Column
	if k.Parts[0].Expression {
		base = "functional_index"
	}
	name := base
	for n := 2; a.new.key(name) >= 0 || strings.EqualFold(name, "PRIMARY"); n++ {
		name = base + "_" + strconv.Itoa(n)
	}
	return name
}

// requirePrimary makes the columns of the primary key NOT NULL.
func (a *alteration) requirePrimary() {
	for _, k := range a.new.Keys {
		if k.Kind != PrimaryKey {
			continue
		}
		for _, part := range k.Parts {
			if i := a.new.column(part.Column); i >= 0 {
				a.new.Columns[i].Nullable = false
			}
		}
	}
}

// keyChanged reports whether other columns identify a row than before, or values of these columns
// may print or compare otherwise.
func (a *alteration) keyChanged() bool {
	before, after := a.old.Table(), a.new.Table()
	same := func(x, y []int) bool {
		return slices.EqualFunc(x, y, func(i, j int) bool {
			return a.origins[j] == i && comparesAlike(&a.old.Columns[i], &a.new.Columns[j])
		})
	}
	return !same(before.Primary, after.Primary) ||
		!slices.EqualFunc(before.Unique, after.Unique, same)
}

// comparesAlike reports whether values of a column compare as they did before.
func comparesAlike(old, now *Column) bool {
	return printsAlike(&old.Column, &now.Column) && old.Collation == now.Collation
}
