package template

import (
	"fmt"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/transform/suggest"
)

// maxSource is the longest text of a template, in bytes. Overlap needs time and memory in
// proportion to the product of two lengths.
const maxSource = 1024

// Scope holds what the templates of a table may refer to.
type Scope struct {
	Table *binlog.Table
	// Key holds the indexes of the columns that {pk...} represents.
	Key []int
	// Excluded[i] is set if no template may name column i. It has an entry for each column.
	Excluded []bool
	// Value is set for the template of a value, whose parts are printed unchanged. In the template
	// of a key, field or member with several parts, % and : of a part are escaped.
	Value bool
}

// Parse compiles a template. An error is one sentence about the fault and its remedy; the caller
// adds the place in the file.
func (sc *Scope) Parse(source string) (*Template, error) {
	t := &Template{Source: source}
	var literal []byte
	flush := func() {
		if len(literal) > 0 {
			t.segments = append(t.segments, segment{literal: literal, column: -1})
			literal = nil
		}
	}
	reference := func(name string, chain []filter) error {
		text, columns, err := sc.resolve(name, source)
		if err != nil {
			return err
		}
		literal = append(literal, text...)
		for i, c := range columns {
			if i > 0 {
				literal = append(literal, ':')
			}
			flush()
			s, err := sc.segment(c, chain)
			if err != nil {
				return err
			}
			t.segments = append(t.segments, s)
		}
		return nil
	}
	if err := scan(source, func(c byte) { literal = append(literal, c) }, reference); err != nil {
		return nil, err
	}
	flush()
	sc.separate(t)
	return t, nil
}

// CheckSyntax returns the faults of a template that show without a table: those of its braces, its
// filters and its length. The errors are those of Parse.
func CheckSyntax(source string) error {
	return scan(source, func(byte) {}, func(string, []filter) error { return nil })
}

// scan calls literal for each literal byte of a template, and reference for each {name|filter}.
func scan(
	source string, literal func(byte), reference func(name string, chain []filter) error,
) error {
	if len(source) > maxSource {
		return fmt.Errorf("the template %.40q... is longer than %d bytes", source, maxSource)
	}
	for rest := source; rest != ""; {
		switch {
		case strings.HasPrefix(rest, "{{"), strings.HasPrefix(rest, "}}"):
			literal(rest[0])
			rest = rest[2:]
		case rest[0] == '}':
			return fmt.Errorf("the template %q has a } without a {; write }} for a brace", source)
		case rest[0] == '{':
			inside, after, ok := strings.Cut(rest[1:], "}")
			if !ok {
				return fmt.Errorf("the template %q has a { without a }; "+
					"write {{ for a brace", source)
			}
			rest = after
			name, chain, err := splitFilters(inside, source)
			if err != nil {
				return err
			}
			if len(chain) > 0 && (name == "table" || name == "database") {
				return fmt.Errorf("{%s} in the template %q takes no filter", name, source)
			}
			if err := reference(name, chain); err != nil {
				return err
			}
		default:
			literal(rest[0])
			rest = rest[1:]
		}
	}
	return nil
}

// splitFilters parses the text between braces: name|filter|filter.
func splitFilters(inside, source string) (string, []filter, error) {
	parts := strings.Split(inside, "|")
	var chain []filter
	for _, p := range parts[1:] {
		i := slices.Index(filterNames(), strings.TrimSpace(p))
		if i < 0 {
			return "", nil, fmt.Errorf("the template %q has no filter %q%s; "+
				"the filters are urlencode, lower, upper, hex, base64 and uuid",
				source, p, suggest.DidYouMean(p, filterNames()))
		}
		chain = append(chain, filters[i])
	}
	return strings.TrimSpace(parts[0]), chain, nil
}

// resolve returns what a name in braces represents: literal text or columns.
func (sc *Scope) resolve(name, source string) (string, []int, error) {
	switch name {
	case "table":
		return sc.Table.Name, nil, nil
	case "database":
		return sc.Table.Database, nil, nil
	case "pk...":
		if len(sc.Key) == 0 {
			return "", nil, fmt.Errorf("%s has no primary key and no unique NOT NULL key "+
				"for {pk...}; set key_columns", sc.Table.FullName())
		}
		return "", sc.Key, nil
	}
	c := sc.Table.Column(name)
	if c < 0 {
		names := append(sc.Table.ColumnNames(), "table", "database", "pk...")
		return "", nil, fmt.Errorf("%s has no column %q for the template %q%s",
			sc.Table.FullName(), name, source, suggest.DidYouMean(name, names))
	}
	return "", []int{c}, nil
}

// segment returns the part of a template that prints a column through a chain of filters.
func (sc *Scope) segment(column int, chain []filter) (segment, error) {
	col := &sc.Table.Columns[column]
	if sc.Excluded[column] {
		return segment{}, fmt.Errorf("the column %s is excluded and must not be published, "+
			"so a template cannot name it; take it out of exclude, or list the fields with include",
			col.Name)
	}
	s := segment{column: column, filters: chain, injective: true}
	s.alphabet, s.tail = columnAlphabet(col)
	for _, f := range chain {
		switch f.name {
		case "urlencode":
			s.alphabet, s.tail = urlencoded, urlencoded
		case "hex":
			s.alphabet, s.tail = lowerHex, lowerHex
		case "base64":
			s.alphabet, s.tail = base64Bytes, base64Bytes
		case "uuid":
			if !col.HoldsBytes() {
				return segment{}, fmt.Errorf("|uuid takes 16 bytes of BINARY and %s is %s",
					col.Name, col.SQLType)
			}
			s.alphabet, s.tail = uuidBytes, uuidBytes
		case "lower", "upper":
			if s.alphabet.intersects(letters) || s.alphabet.has(0x80) {
				// Digits a to f remain distinct in the other case. Of text, a and A become equal.
				s.injective = s.injective && (s.alphabet == lowerHex || s.alphabet == uuidBytes)
				s.alphabet, s.tail = s.alphabet.union(letters), s.tail.union(letters)
			}
		}
	}
	return s, nil
}

// separate marks the parts to escape: in the template of a key, field or member with several parts,
// those that can print the separator.
func (sc *Scope) separate(t *Template) {
	if sc.Value || len(t.Columns(nil)) < 2 {
		return
	}
	for i := range t.segments {
		s := &t.segments[i]
		if s.column >= 0 && s.alphabet.has(':') {
			s.escape = true
			s.alphabet = s.alphabet.without(':').union(escaped)
			s.tail = s.tail.without(':').union(escaped)
		}
	}
}
