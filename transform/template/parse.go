package template

import (
	"fmt"
	"slices"
	"strings"

	"rowfall/transform/columns"
	"rowfall/transform/suggest"
)

// maxSource is the longest text of a template, in bytes. Overlap needs time and memory in
// proportion to the product of two lengths.
const maxSource = 1024

// Syntax is a parsed template, before its names are bound to the columns of a table. It is
// immutable.
type Syntax struct {
	source string
	parts  []part
}

// part is a part of a template as it is written: literal text, or a name with its filters.
type part struct {
	literal string
	name    string // "" for literal text
	filters []filter
}

// Parse parses a template. It finds the faults that show without a table: those of the braces, the
// filters and the length. An error is one sentence about the fault and its remedy; the caller adds
// the place in the file.
func Parse(source string) (*Syntax, error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("the template %.40q... is longer than %d bytes", source, maxSource)
	}
	s := &Syntax{source: source}
	var literal []byte
	flush := func() {
		if len(literal) > 0 {
			s.parts = append(s.parts, part{literal: string(literal)})
			literal = literal[:0]
		}
	}
	for rest := source; rest != ""; {
		switch {
		case strings.HasPrefix(rest, "{{"), strings.HasPrefix(rest, "}}"):
			literal = append(literal, rest[0])
			rest = rest[2:]
		case rest[0] == '}':
			return nil, fmt.Errorf("the template %q has a } without a {; "+
				"write }} for a brace", source)
		case rest[0] == '{':
			inside, after, ok := strings.Cut(rest[1:], "}")
			if !ok {
				return nil, fmt.Errorf("the template %q has a { without a }; "+
					"write {{ for a brace", source)
			}
			rest = after
			flush()
			p, err := parseReference(inside, source)
			if err != nil {
				return nil, err
			}
			s.parts = append(s.parts, p)
		default:
			literal = append(literal, rest[0])
			rest = rest[1:]
		}
	}
	flush()
	return s, nil
}

// parseReference parses the text between braces: name|filter|filter.
func parseReference(inside, source string) (part, error) {
	name, chain, err := splitFilters(inside, source)
	switch {
	case err != nil:
		return part{}, err
	case name == "":
		return part{}, fmt.Errorf("the template %q has braces without a name; "+
			"write the name of a column between them", source)
	case len(chain) > 0 && (name == "table" || name == "database"):
		return part{}, fmt.Errorf("{%s} in the template %q takes no filter", name, source)
	}
	return part{name: name, filters: chain}, nil
}

// Scope holds what the templates of a table may refer to.
type Scope struct {
	// Columns are the columns as they may leave.
	Columns *columns.View
	// Key holds the indexes of the columns that {pk...} represents.
	Key []int
	// Value is set for the template of a value, whose parts are printed unchanged. In the template
	// of a key, field or member with several parts, % and : of a part are escaped.
	Value bool
}

// Bind finds the columns that a template names. An error is one sentence, as that of Parse.
func (sc *Scope) Bind(s *Syntax) (*Template, error) {
	t := &Template{Source: s.source, view: sc.Columns}
	var literal []byte
	flush := func() {
		if len(literal) > 0 {
			t.segments = append(t.segments, segment{literal: literal, column: -1})
			literal = nil
		}
	}
	for i := range s.parts {
		p := &s.parts[i]
		if p.name == "" {
			literal = append(literal, p.literal...)
			continue
		}
		text, found, err := sc.resolve(p.name, s.source)
		if err != nil {
			return nil, err
		}
		literal = append(literal, text...)
		for i, c := range found {
			if i > 0 {
				literal = append(literal, ':')
			}
			flush()
			segment, err := sc.segment(c, p.filters)
			if err != nil {
				return nil, err
			}
			t.segments = append(t.segments, segment)
		}
	}
	flush()
	sc.separate(t)
	return t, nil
}

// Parse parses and binds a template.
func (sc *Scope) Parse(source string) (*Template, error) {
	s, err := Parse(source)
	if err != nil {
		return nil, err
	}
	return sc.Bind(s)
}

// splitFilters parses the text between braces: name|filter|filter.
func splitFilters(inside, source string) (string, []filter, error) {
	parts := strings.Split(inside, "|")
	var chain []filter
	for _, p := range parts[1:] {
		i := slices.Index(FilterNames(), strings.TrimSpace(p))
		if i < 0 {
			return "", nil, fmt.Errorf("the template %q has no filter %q%s; "+
				"the filters are urlencode, lower, upper, hex, base64 and uuid",
				source, p, suggest.DidYouMean(p, FilterNames()))
		}
		chain = append(chain, filters[i])
	}
	return strings.TrimSpace(parts[0]), chain, nil
}

// resolve returns what a name in braces represents: literal text or columns.
func (sc *Scope) resolve(name, source string) (string, []int, error) {
	table := sc.Columns.Table()
	switch name {
	case "table":
		return table.Name, nil, nil
	case "database":
		return table.Database, nil, nil
	case "pk...":
		if len(sc.Key) == 0 {
			return "", nil, fmt.Errorf("%s has no primary key and no unique NOT NULL key "+
				"for {pk...}; set key_columns", table.FullName())
		}
		return "", sc.Key, nil
	}
	c := table.Column(name)
	if c < 0 {
		hint := sc.Columns.Hint(name, "table", "database", "pk...")
		if column, path, ok := strings.Cut(name, "."); ok && table.Column(column) >= 0 {
			hint = fmt.Sprintf("; a template prints whole columns, and only an expression reads "+
				"a part of a JSON document: json(%s, %q)", column, "$."+path)
		}
		return "", nil, fmt.Errorf("%s has no column %q for the template %q%s",
			table.FullName(), name, source, hint)
	}
	return "", []int{c}, nil
}

// segment returns the part of a template that prints a column through a chain of filters.
func (sc *Scope) segment(column int, chain []filter) (segment, error) {
	col := sc.Columns.Column(column)
	if err := sc.Columns.Check(column); err != nil {
		return segment{}, err
	}
	s := segment{column: column, filters: chain, injective: sc.Columns.IsOneToOne(column)}
	s.alphabet, s.tail = columnAlphabet(col)
	if sc.Columns.PrintsHex(column) {
		s.alphabet, s.tail = lowerHex, lowerHex
	}
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
