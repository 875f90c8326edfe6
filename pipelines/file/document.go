package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"rowfall/transform/suggest"
)

// Error is a fault of a pipeline file: where it is and how to mend it.
type Error struct {
	File string
	Line int // from 1; 0 where the fault has no line
	// Path is the place in the document: sink.node.listen, tables."shop.*".
	Path    string
	Message string
}

// Error returns "file:line: path: message".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Message)
	return b.String()
}

// document reads a YAML file strictly: what no reader asked for is a fault, and
// so is every feature of YAML that nobody means to use in a pipeline file.
// Readers go on after a fault, so that one run shows all of them.
type document struct {
	file   string
	lookup func(string) (string, bool)
	text   []string       // its lines
	lines  map[string]int // where each path that was read stands
	faults []*Error
}

func (d *document) fault(n *yaml.Node, path, format string, args ...any) {
	line := 0
	if n != nil {
		line = n.Line
	}
	d.faults = append(d.faults, &Error{d.file, line, path, fmt.Sprintf(format, args...)})
}

// err returns the faults in the order of their lines.
func (d *document) err() error {
	slices.SortStableFunc(d.faults, func(a, b *Error) int { return a.Line - b.Line })
	faults := make([]error, len(d.faults))
	for i, f := range d.faults {
		faults[i] = f
	}
	return errors.Join(faults...)
}

// parse returns the document's top mapping, or nil after a fault.
func (d *document) parse(text []byte) *section {
	d.text = strings.Split(string(text), "\n")
	var docs []*yaml.Node
	for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
		n := new(yaml.Node)
		err := decoder.Decode(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			d.faults = append(d.faults, d.syntaxError(err))
			return nil
		}
		docs = append(docs, n)
	}
	if len(docs) != 1 || len(docs[0].Content) != 1 {
		d.fault(nil, "", "want one YAML document with a pipeline, found %d", len(docs))
		return nil
	}
	return d.section(docs[0].Content[0], "")
}

// section is a mapping of the document; done reports the keys nobody asked for.
type section struct {
	doc     *document
	node    *yaml.Node
	path    string
	entries []entry
	keys    []string
	asked   []string
}

type entry struct{ key, value *yaml.Node }

// section reads a mapping, or notes a fault and returns an empty one.
func (d *document) section(n *yaml.Node, path string) *section {
	s := &section{doc: d, node: n, path: path}
	switch {
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			s.entries = append(s.entries, entry{n.Content[i], n.Content[i+1]})
		}
	case isNull(n):
	default:
		d.fault(n, path, "want a mapping (name: value), found %s", kindOf(n))
	}
	s.mendCommas()
	for _, e := range s.entries {
		key := e.key.Value
		if !plain(e.key) || e.key.Tag == "!!merge" {
			// *.* unquoted is an alias, !x a tag, <<: a merge.
			said := e.key.Value
			if e.key.Anchor != "" {
				said = "&" + e.key.Anchor + said
			}
			d.fault(e.key, path, "key %q is not plain text to YAML; quote it", said)
		}
		if slices.Contains(s.keys, key) {
			d.fault(e.key, join(path, key), "is given twice")
		}
		s.keys = append(s.keys, key)
	}
	return s
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// plain reports whether a node is a scalar without an anchor or a tag of its own.
func plain(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Anchor == "" && n.Style&yaml.TaggedStyle == 0
}

func join(path, key string) string {
	if strings.ContainsAny(key, ".* \"") {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// value is the value of a key; node is nil where the key is absent.
type value struct {
	doc  *document
	node *yaml.Node
	path string
	at   int // the line of its key; 0 for an item of a list
	// column is how this value names a column of the table, as in {id}; empty where it names none.
	column string
}

// naming returns v as a value that names columns in the given way, for messages.
func (v value) naming(column string) value {
	v.column = column
	return v
}

func (s *section) get(key string) value {
	s.asked = append(s.asked, key)
	v := value{doc: s.doc, path: join(s.path, key)}
	for i, k := range s.keys {
		if k == key {
			v.node, v.at = s.entries[i].value, s.entries[i].key.Line
			s.doc.lines[v.path] = v.at
		}
	}
	return v
}

// later refuses keys of a pipeline file that a later version is to know: whoever has
// read of them hears that, not that they are misspelt.
func (s *section) later(keys ...string) {
	for _, key := range keys {
		if v := s.get(key); v.node != nil {
			s.doc.fault(v.node, v.path, "is not available in this version yet; remove it")
		}
	}
}

// done reports the keys that nobody asked for, with the nearest one that exists.
func (s *section) done() {
	for i, key := range s.keys {
		if slices.Contains(s.asked, key) {
			continue
		}
		hint := ""
		if near := suggest.Nearest(key, s.asked); near != "" {
			hint = fmt.Sprintf("; did you mean %s?", near)
		}
		s.doc.fault(s.entries[i].key, join(s.path, key), "is not a key here%s", hint)
	}
}

func (v value) fault(format string, args ...any) { v.doc.fault(v.node, v.path, format, args...) }

func (v value) section() *section {
	if v.node == nil {
		return &section{doc: v.doc, path: v.path}
	}
	return v.doc.section(v.node, v.path)
}

// text reads a scalar as text, with ${VAR} and ${file:PATH} put in.
func (v value) text(standard string) string {
	if v.node == nil {
		return standard
	}
	raw, ok := v.raw()
	if !ok {
		return standard
	}
	return v.expand(raw)
}

// said reads the text of a key whose absence means something else than any text:
// given with nothing behind it, or with an empty variable, it is a fault.
func (v value) said() string {
	faults := len(v.doc.faults)
	s := v.text("")
	if v.node != nil && strings.TrimSpace(s) == "" && len(v.doc.faults) == faults {
		v.fault("is empty; write its value, or remove the key")
	}
	return s
}

// scalar reads the text of a number, a size or a time.
func (v value) scalar() (string, bool) {
	if v.node == nil {
		return "", false
	}
	faults := len(v.doc.faults)
	s := v.text("")
	return s, len(v.doc.faults) == faults
}

func (v value) raw() (string, bool) {
	if !plain(v.node) {
		v.fault("want text, found %s", kindOf(v.node))
		return "", false
	}
	if isNull(v.node) {
		return "", true
	}
	return v.node.Value, true
}

// kindOf names a node as its author would want to hear of it.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.AliasNode:
		return `an alias (* begins one; put the value in quotes if it is text)`
	case n.Anchor != "":
		return `an anchor (& begins one; put the value in quotes if it is text)`
	case n.Style&yaml.TaggedStyle != 0:
		return `a tag (! begins one; put the value in quotes if it is text)`
	case n.Kind == yaml.MappingNode:
		return `a mapping ({...} begins one; put the value in quotes if it is text)`
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "nothing"
	}
	return "text"
}

// expand puts in ${VAR} and ${file:PATH}. It works on the parsed text, so that
// what is put in may hold any character.
func (v value) expand(text string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "${")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			v.fault("${ without }; close it")
			return text
		}
		if path, ok := strings.CutPrefix(name, "file:"); ok {
			secret, err := os.ReadFile(path)
			if err != nil {
				v.fault("read ${file:%s}: %v", path, err)
			}
			b.WriteString(strings.TrimRight(string(secret), "\r\n"))
		} else if s, ok := v.doc.lookup(name); ok {
			b.WriteString(s)
		} else {
			hint := ""
			if v.column != "" {
				spelled := fmt.Sprintf(v.column, name)
				hint = fmt.Sprintf("; for the column %s write %s, without the $", name, spelled)
			}
			v.fault("the environment has no %s; set it, or write the value here%s", name, hint)
		}
		text = after
	}
}

func (v value) oneOf(standard string, words ...string) string {
	s := v.text(standard)
	if v.node != nil && !slices.Contains(words, s) {
		v.fault("%q: want %s", s, strings.Join(words, ", "))
		return standard
	}
	return s
}

func (v value) flag(standard bool) bool {
	if v.node == nil {
		return standard
	}
	if plain(v.node) && v.node.Tag == "!!bool" {
		return v.node.Value[0] == 't' || v.node.Value[0] == 'T'
	}
	v.fault("want true or false")
	return standard
}

func (v value) number(standard, least, most int) int {
	s, ok := v.scalar()
	if !ok {
		return standard
	}
	n, err := strconv.Atoi(strings.ReplaceAll(s, "_", ""))
	if err != nil || n < least || n > most {
		v.fault("%q: want a whole number from %d to %d", s, least, most)
		return standard
	}
	return n
}

// size reads bytes: 512, 64KiB, 64MiB, 10GiB. 0 is a size only where it is the
// standard.
func (v value) size(standard int64) int64 {
	s, ok := v.scalar()
	if !ok {
		return standard
	}
	number, unit := s, int64(1)
	for suffix, factor := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40} {
		if n, ok := strings.CutSuffix(s, suffix); ok {
			number, unit = n, factor
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil || n < 0 || n == 0 && standard != 0 || n > 1<<62/unit {
		v.fault("%q: want a size such as 64MiB or 10GiB", s)
		return standard
	}
	return n * unit
}

// duration reads 500ms, 10s, 5m, 2h or 30d.
func (v value) duration(standard time.Duration) time.Duration {
	s, ok := v.scalar()
	if !ok {
		return standard
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n < 100_000 {
			return time.Duration(n) * 24 * time.Hour
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		v.fault("%q: want a time such as 500ms, 10s, 5m, 2h or 30d", s)
		return standard
	}
	return d
}

func (v value) list() []value {
	if v.node == nil {
		return nil
	}
	if v.node.Kind != yaml.SequenceNode {
		v.fault("want a list ([a, b]), found %s", kindOf(v.node))
		return nil
	}
	items := make([]value, len(v.node.Content))
	for i, n := range v.node.Content {
		items[i] = value{doc: v.doc, node: n, path: fmt.Sprintf("%s[%d]", v.path, i)}
		v.doc.lines[items[i].path] = n.Line
	}
	return items
}

// item returns an item of a list that was read.
func (v value) item(i int) value {
	return value{doc: v.doc, node: v.node.Content[i], path: fmt.Sprintf("%s[%d]", v.path, i)}
}

func (v value) texts() []string {
	var out []string
	for _, item := range v.list() {
		out = append(out, item.text(""))
	}
	return out
}

// line is where a key stands, or an item of a list.
func (v value) line() int {
	if v.node == nil || v.at > 0 {
		return v.at
	}
	return v.node.Line
}
