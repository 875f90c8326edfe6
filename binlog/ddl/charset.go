package ddl

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"rowfall/binlog"
	"rowfall/binlog/charset"
)

// Charset is a character set and one of its collations.
type Charset struct {
	// Name is the character set: "utf8mb4". It is "utf8mb3" where servers print "utf8".
	Name string `json:"n,omitempty"`
	// Collation is empty for the character set's default collation, which depends on the server.
	Collation string `json:"c,omitempty"`
}

// contextual is the beginning of MariaDB's collation names that leave the character set out.
const contextual = "uca1400_"

// charsetName returns the name of a character set in the form that Charset has.
func charsetName(name string) (string, error) {
	name = strings.ToLower(name)
	if name == "utf8" {
		name = "utf8mb3"
	}
	if charset.Width(name) == 0 {
		return "", fmt.Errorf("character set %q is not known", name)
	}
	return name, nil
}

// charsetOfCollation returns the character set of a collation. base is the character set for
// collations whose names leave it out.
func charsetOfCollation(collation, base string) (Charset, error) {
	collation = strings.ToLower(collation)
	if collation == "binary" {
		return Charset{Name: "binary"}, nil
	}
	if strings.HasPrefix(collation, contextual) && base != "" {
		collation = base + "_" + collation
	}
	if rest, found := strings.CutPrefix(collation, "utf8_"); found {
		collation = "utf8mb3_" + rest
	}
	prefix, _, found := strings.Cut(collation, "_")
	if !found || charset.Width(prefix) == 0 {
		return Charset{}, fmt.Errorf("collation %q is not known", collation)
	}
	return Charset{Name: prefix, Collation: collation}, nil
}

// charsetClause is the CHARACTER SET and COLLATE of a column, table or database. Empty fields were
// not written.
type charsetClause struct {
	charset, collation string
	// isDefault is set for CHARACTER SET DEFAULT or COLLATE DEFAULT.
	isDefault bool
	// binary is set for the attribute BINARY, which chooses the collation that compares bytes.
	binary bool
}

// resolve returns the character set that the clause chooses; base applies where the clause has
// none.
func (c *charsetClause) resolve(base Charset) (Charset, error) {
	chosen := base
	if c.charset != "" {
		name, err := charsetName(c.charset)
		if err != nil {
			return Charset{}, err
		}
		chosen = Charset{Name: name}
	}
	switch {
	case c.collation != "":
		collation, err := charsetOfCollation(c.collation, chosen.Name)
		if err != nil {
			return Charset{}, err
		}
		if c.charset != "" && collation.Name != chosen.Name {
			return Charset{}, fmt.Errorf("collation %q is not one of character set %s",
				c.collation, chosen.Name)
		}
		chosen = collation
	case c.binary && chosen.Name != "" && chosen.Name != "binary":
		chosen.Collation = chosen.Name + "_bin"
	}
	return chosen, nil
}

// hasCharset reports whether values of a type have a character set.
func hasCharset(t dataType) bool {
	switch binlog.TypeByName(t.base) {
	case binlog.TypeChar, binlog.TypeVarchar, binlog.TypeText, binlog.TypeEnum, binlog.TypeSet:
		return true
	}
	return false
}

// normalCharset returns the name of a character set as Charset has it.
func normalCharset(name string) string {
	if name == "utf8" {
		return "utf8mb3"
	}
	return name
}

// spellCharset returns the name of a character set as the server's information_schema has it.
func (o *Options) spellCharset(name string) string {
	old := o.MariaDB && o.version() < 100600 || o.mysqlBefore(80029)
	if name == "utf8mb3" && old {
		return "utf8"
	}
	return name
}

// keepsLabels reports whether labels are the same in another character set. CONVERT TO CHARACTER
// SET keeps the bytes of labels, so that characters beyond ASCII become others.
func keepsLabels(labels []string, before, after string) bool {
	if len(labels) == 0 {
		return true
	}
	return charset.IsASCIISuperset(before) && charset.IsASCIISuperset(after) &&
		!slices.ContainsFunc(labels, func(label string) bool {
			return strings.ContainsFunc(label, func(r rune) bool { return r >= utf8.RuneSelf })
		})
}

// convertCharset applies CONVERT TO CHARACTER SET to all columns that have a character set.
func (a *alteration) convertCharset() error {
	if !slices.ContainsFunc(a.changes, func(c *Change) bool { return c.Kind == ConvertCharset }) {
		return nil
	}
	cs := a.new.Charset
	for i := range a.new.Columns {
		c := &a.new.Columns[i]
		before := normalCharset(c.Charset)
		if before == "" || before == "binary" {
			continue
		}
		if cs.Name == "binary" {
			return fmt.Errorf("column %s is converted to character set binary", c.Name)
		}
		t, err := parseSQLType(c.SQLType)
		if err != nil {
			return fmt.Errorf("column %s: %w", c.Name, err)
		}
		if before != cs.Name && !keepsLabels(t.labels, before, cs.Name) {
			return fmt.Errorf("column %s has labels that change with the character set", c.Name)
		}
		if c.Type == binlog.TypeText && charset.Width(cs.Name) > charset.Width(before) {
			characters := textSize(c.SQLType) / charset.Width(before)
			if wider := sizedType(min(characters*charset.Width(cs.Name), 1<<32-1), true); t.base !=
				"longtext" && textSize(wider) > textSize(t.base) {
				t.base = wider
			}
		}
		a.o.resolveCharset(&t, cs)
		c.setType(&t, a.o.spellCharset(cs.Name))
		c.Collation = cs.Collation
	}
	return nil
}
