package file

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"rowfall/transform/suggest"
)

// Error is a fault of a pipeline file: its place and how to correct it.
type Error struct {
	File string
	Line int // from 1; 0 if the fault has no line
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

// document reads a YAML file strictly. Unknown keys are faults, and so are anchors, aliases, tags
// and merges, which are accidents in a pipeline file. Reading continues after a fault, so that one
// run reports all faults.
type document struct {
	file     string
	lookup   func(name string) (string, bool) // returns variables of the environment
	text     []string                         // the lines of the file
	lines    map[string]int                   // the line of each path that was read
	faults   []*Error
	warnings []*Error

	// asked is nil outside of tests. A test that compares the documentation with the reader makes
	// the map. It then has each path that get was called with, and the typed setting into which
	// read reads it, nil if the value is not read by read.
	asked map[string]Value
}

// errorf records a fault at the node n, or without a line if n is nil.
func (d *document) errorf(n *yaml.Node, path, format string, args ...any) {
	d.faults = append(d.faults, d.newError(n, path, format, args...))
}

func (d *document) newError(n *yaml.Node, path, format string, args ...any) *Error {
	line := 0
	if n != nil {
		line = n.Line
	}
	return &Error{d.file, line, path, fmt.Sprintf(format, args...)}
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

// parse parses the text of the file and returns its top mapping, or nil after a fault.
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
		d.errorf(nil, "", "want one YAML document with a pipeline, found %d", len(docs))
		return nil
	}
	return d.section(docs[0].Content[0], "")
}

// section is a mapping of the document. Its reader calls get for each key that exists, and
// rejectUnknown at the end.
type section struct {
	doc     *document
	node    *yaml.Node // nil if the section is absent
	path    string
	entries []entry
	keys    []string // of the entries
	known   []string // keys that get was called with
	// belongs returns the end of a message about an unknown key that belongs elsewhere; nil, or an
	// empty result, suggests the nearest known key.
	belongs func(key string) string
}

type entry struct{ key, value *yaml.Node }

// section reads a mapping. If n is another kind of node, section records a fault and returns an
// empty section.
func (d *document) section(n *yaml.Node, path string) *section {
	s := &section{doc: d, node: n, path: path}
	switch {
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			s.entries = append(s.entries, entry{n.Content[i], n.Content[i+1]})
		}
	case isNull(n):
	default:
		d.errorf(n, path, "want a mapping (name: value), found %s", kindOf(n))
	}
	s.rejoinCommas()
	kept := make([]entry, 0, len(s.entries)) // without the repeated keys
	for _, e := range s.entries {
		key := e.key.Value
		if !plain(e.key) || e.key.Tag == "!!merge" {
			// Without quotes *.* is an alias, !x is a tag, and <<: is a merge.
			written := e.key.Value
			if e.key.Anchor != "" {
				written = "&" + e.key.Anchor + written
			}
			d.errorf(e.key, path, "key %q is not plain text to YAML; quote it", written)
		}
		if i := slices.Index(s.keys, key); i >= 0 {
			d.errorf(e.key, join(path, key), "is given twice, first on line %d; merge the two",
				kept[i].key.Line)
			continue
		}
		s.keys, kept = append(s.keys, key), append(kept, e)
	}
	s.entries = kept
	return s
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// plain reports whether a node is a scalar without an anchor and without an explicit tag.
func plain(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Anchor == "" && n.Style&yaml.TaggedStyle == 0
}

// join appends a key to a path. A key that could be mistaken for several is quoted.
func join(path, key string) string {
	if strings.ContainsAny(key, ".* \"") {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// value is the value of a key, or an item of a list.
type value struct {
	doc     *document
	node    *yaml.Node // nil if the key is absent
	path    string
	keyLine int // 0 for an item of a list
	// columnForm is the format of a column's name in this value, such as "{%s}" in a template. It
	// is "" if the value cannot name a column.
	columnForm string
}

// withColumns returns v as a value in which columns are named in the given form. A message about
// ${id} then explains how to write the column id.
func (v value) withColumns(form string) value {
	v.columnForm = form
	return v
}

// get returns the value of a key, and makes the key known.
func (s *section) get(key string) value {
	v := s.find(key)
	if s.doc.asked != nil {
		s.doc.asked[v.path] = nil
	}
	return v
}

// find is get for keys that may not be implemented.
func (s *section) find(key string) value {
	s.known = append(s.known, key)
	v := value{doc: s.doc, path: join(s.path, key)}
	for i, k := range s.keys {
		if k == key {
			v.node, v.keyLine = s.entries[i].value, s.entries[i].key.Line
			s.doc.lines[v.path] = v.keyLine
		}
	}
	return v
}

// notYet rejects keys that are documented but not implemented, instead of calling them unknown.
func (s *section) notYet(keys ...string) {
	for _, key := range keys {
		if v := s.find(key); v.node != nil {
			s.doc.errorf(v.node, v.path, "is not available in this version yet; remove it")
		}
	}
}

// rejectUnknown records a fault for each key that get was not called with. The fault suggests the
// key of insteadOf, else the nearest known key.
func (s *section) rejectUnknown() {
	for i, key := range s.keys {
		if slices.Contains(s.known, key) {
			continue
		}
		path, hint := join(s.path, key), ""
		if near := suggest.Nearest(key, s.known); near != "" {
			hint = fmt.Sprintf("; did you mean %s?", near)
		}
		if s.belongs != nil {
			hint = cmp.Or(s.belongs(key), hint)
		}
		if instead := insteadOf[path]; instead != "" {
			hint = "; write " + instead
		}
		s.doc.errorf(s.entries[i].key, path, "is not a key here%s", hint)
	}
}

func (v value) errorf(format string, args ...any) {
	v.doc.errorf(v.node, v.path, format, args...)
}

// warnf records a warning, which does not reject the file.
func (v value) warnf(format string, args ...any) {
	v.doc.warnings = append(v.doc.warnings, v.doc.newError(v.node, v.path, format, args...))
}

// section returns the value as a mapping, which is empty if the key is absent.
func (v value) section() *section {
	if v.node == nil {
		return &section{doc: v.doc, path: v.path}
	}
	return v.doc.section(v.node, v.path)
}

// read parses the scalar into x. If the key is absent, x keeps its value, which is the default.
func (v value) read(x Value) {
	if v.doc.asked != nil {
		v.doc.asked[v.path] = x
	}
	if v.node == nil {
		return
	}
	faults := len(v.doc.faults)
	text := v.text()
	if len(v.doc.faults) > faults {
		return
	}
	if err := x.Set(text); err != nil {
		v.errorf("%v", err)
	}
}

// text returns a scalar as text, with ${VAR} and ${file:PATH} expanded. It returns "" if the key is
// absent and after a fault.
func (v value) text() string {
	if v.node == nil {
		return ""
	}
	return v.expand(v.scalarText())
}

// nonEmptyText is text for a key that may be absent but not empty.
func (v value) nonEmptyText() string {
	faults := len(v.doc.faults)
	s := v.text()
	if v.node != nil && strings.TrimSpace(s) == "" && len(v.doc.faults) == faults {
		v.errorf("is empty; write its value, or remove the key")
	}
	return s
}

// scalarText returns a scalar as it is written. Other nodes are faults.
func (v value) scalarText() string {
	if !plain(v.node) {
		v.errorf("want text, found %s", kindOf(v.node))
		return ""
	}
	if isNull(v.node) {
		return ""
	}
	return v.node.Value
}

// kindOf describes a node for a message, with a remedy if the node is probably an accident.
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

// expand replaces ${VAR} and ${file:PATH}, see expandVariables.
func (v value) expand(text string) string {
	return expandVariables(text, v.doc.lookup, func(err error) {
		hint := ""
		if missing := new(missingVariableError); errors.As(err, &missing) && v.columnForm != "" {
			spelled := fmt.Sprintf(v.columnForm, missing.name)
			hint = fmt.Sprintf("; for the column %s write %s, without the $", missing.name, spelled)
		}
		v.errorf("%v%s", err, hint)
	})
}

// reread returns a function that expands the value again, with what its files then contain. It
// returns nil for a value without ${file:PATH}.
func (v value) reread() func() (string, error) {
	if v.node == nil || !plain(v.node) || !strings.Contains(v.node.Value, filePrefix) {
		return nil
	}
	text, lookup := v.node.Value, v.doc.lookup
	return func() (string, error) {
		var faults []error
		s := expandVariables(text, lookup, func(err error) { faults = append(faults, err) })
		return s, errors.Join(faults...)
	}
}

// oneOf reads one of a few words. The first word is the default.
func (v value) oneOf(words ...string) string {
	s := words[0]
	v.read(word{&s, words})
	return s
}

// boolean reads true or false; absent means false.
func (v value) boolean() bool {
	if v.node == nil {
		return false
	}
	if plain(v.node) && v.node.Tag == "!!bool" {
		return v.node.Value[0] == 't' || v.node.Value[0] == 'T'
	}
	v.errorf("want true or false")
	return false
}

// list returns the items of a list, which is empty if the key is absent.
func (v value) list() []value {
	if v.node == nil {
		return nil
	}
	if v.node.Kind != yaml.SequenceNode {
		v.rejectNonList()
		return nil
	}
	items := make([]value, len(v.node.Content))
	for i, n := range v.node.Content {
		items[i] = value{doc: v.doc, node: n, path: fmt.Sprintf("%s[%d]", v.path, i)}
		v.doc.lines[items[i].path] = n.Line
	}
	return items
}

// rejectNonList records that a value is not a list, with the way to write it as one.
func (v value) rejectNonList() {
	switch n := v.node; {
	case n.Kind == yaml.MappingNode && plainMapping(n) && n.Style&yaml.FlowStyle != 0:
		v.errorf("want a list, found a mapping; put [ ] around it: [{...}]")
	case n.Kind == yaml.MappingNode && plainMapping(n):
		v.errorf("want a list, found a mapping; put \"- \" before the first key of each item")
	case plain(n) && !isNull(n):
		v.errorf("want a list, found text; write [%s]", n.Value)
	default:
		v.errorf("want a list ([a, b]), found %s", kindOf(n))
	}
}

// plainMapping reports whether a mapping has neither an anchor nor an explicit tag.
func plainMapping(n *yaml.Node) bool { return n.Anchor == "" && n.Style&yaml.TaggedStyle == 0 }

// item returns an item of a list. list must have returned it before.
func (v value) item(i int) value {
	return value{doc: v.doc, node: v.node.Content[i], path: fmt.Sprintf("%s[%d]", v.path, i)}
}

// texts returns a list of texts.
func (v value) texts() []string {
	var out []string
	for _, item := range v.list() {
		out = append(out, item.text())
	}
	return out
}

// line returns the line of the key or of the list's item; 0 if the key is absent.
func (v value) line() int {
	if v.node == nil || v.keyLine > 0 {
		return v.keyLine
	}
	return v.node.Line
}
