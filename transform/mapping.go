package transform

import "strings"

// Mapping is the tables section of a pipeline file.
type Mapping struct {
	Tables []TableRule
}

// TableRule is one entry of the tables section.
type TableRule struct {
	// Pattern is "database.table" as binlog.ParseTablePattern reads it: * stands for any run of
	// characters and ? for one, in either part, and text in backquotes is literal.
	Pattern string
	// Path and Line say where the entry stands, for messages: tables."shop.*".
	Path string
	Line int
	// Lines has the lines of single keys of the entry, by their path in it:
	// where, columns.add.name. Those that are missing stand at Line.
	Lines map[string]int `json:"-"`

	Ignore     bool
	KeyColumns []string
	// IgnoreCascades lets rows differ that a foreign key changes and the server
	// does not log. It makes no other commands, so it is no part of what the data
	// was built with.
	IgnoreCascades bool `json:"-"`
	// Where is an expression; empty takes every row.
	Where   string
	Columns Columns
	// Write are the outputs; none means one hash at {table}:{pk...}.
	Write []Output
}

// line returns where a part of the entry stands: its own line, or that of the
// nearest part around it.
func (r *TableRule) line(part string) int {
	for part != "" {
		if line, ok := r.Lines[part]; ok {
			return line
		}
		part = part[:max(0, strings.LastIndexByte(part, '.'))]
	}
	return r.Line
}

// Columns says which columns leave and under which names.
type Columns struct {
	Include []string
	Exclude []string
	Rename  map[string]string
	Add     []Addition
}

// Addition is a computed field.
type Addition struct {
	Name string
	Expr string
}

// OutputKind is what an output writes.
type OutputKind uint8

// The kinds of output. Their numbers are part of what a mapping is known by when it is
// met again, so new ones come last.
const (
	Hash OutputKind = iota + 1
	JSON
	String
	Set
	SortedSet
)

var kindNames = [...]string{"", "hash", "json", "string", "set", "sorted_set"}

// String returns the kind as a pipeline file spells it.
func (k OutputKind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return ""
}

// WhenNull says what a NULL in a key, field, member or score does.
type WhenNull uint8

// The two policies; the zero value is the default.
const (
	// NullError refuses the row with a RowError.
	NullError WhenNull = iota
	// NullSkip leaves the row out of the output.
	NullSkip
)

// Output is one entry of a table's write list.
type Output struct {
	Kind OutputKind
	// Key is the key's template; required.
	Key string
	// Field is the template of a hash's field; empty makes the row a whole hash.
	Field string
	// Value is the template of a string's or a field's value; empty is the row
	// as JSON for a field.
	Value string
	// Member is the template of a set's or sorted set's member.
	Member string
	// Score is a column or an expression.
	Score    string
	WhenNull WhenNull
	// Path and Line say where the output stands: tables."shop.users".write[1].
	Path string
	Line int
}
