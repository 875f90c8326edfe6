package pipelines

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"rowfall/binlog"
	"rowfall/pipelines/file"
	"rowfall/sink"
	"rowfall/transform"
)

// meaning returns what a mapping does as JSON that can be compared: entries in the order of their
// patterns, without the places of lines, and without what has its zero value, so that a version
// with more settings finds old mappings unchanged.
func meaning(m *transform.Mapping) ([]byte, error) {
	bare := transform.Mapping{Tables: slices.Clone(m.Tables)}
	for i := range bare.Tables {
		t := &bare.Tables[i]
		t.Path, t.Line = "", 0
		if p, err := binlog.ParseTablePattern(t.Pattern); err == nil {
			t.Pattern = p.String() // quotes that change nothing mean nothing
		}
		t.Write = slices.Clone(t.Write)
		for j := range t.Write {
			t.Write[j].Path, t.Write[j].Line = "", 0
		}
	}
	slices.SortFunc(bare.Tables, func(a, b transform.TableRule) int {
		return strings.Compare(a.Pattern, b.Pattern)
	})
	text, err := json.Marshal(bare)
	if err != nil {
		return nil, fmt.Errorf("write mapping: %w", err)
	}
	var full any
	if err := json.Unmarshal(text, &full); err != nil {
		return nil, fmt.Errorf("write mapping: %w", err)
	}
	if text, err = json.Marshal(dropZeroes(full)); err != nil {
		return nil, fmt.Errorf("write mapping: %w", err)
	}
	return text, nil
}

// fingerprint is the short form of a meaning: two mappings with one fingerprint build the same
// data.
func fingerprint(meaning []byte) []byte {
	sum := sha256.Sum256(meaning)
	return []byte("v1:" + hex.EncodeToString(sum[:]))
}

// dropZeroes drops the fields of objects that have their zero values, at any depth.
func dropZeroes(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, field := range v {
			switch field = dropZeroes(field); f := field.(type) {
			case nil:
				delete(v, name)
			case map[string]any:
				if len(f) == 0 {
					delete(v, name)
				}
			case []any:
				if len(f) == 0 {
					delete(v, name)
				}
			default:
				if f == "" || f == false || f == 0.0 {
					delete(v, name)
				}
			}
		}
	case []any:
		for i := range v {
			v[i] = dropZeroes(v[i])
		}
	}
	return v
}

// saveMapping puts the mapping's fingerprint and meaning into a unit.
func saveMapping(u *sink.Unit, pipeline string, m *transform.Mapping) error {
	text, err := meaning(m)
	if err != nil {
		return err
	}
	u.SetState(pipeline, mappingState, fingerprint(text))
	u.SetState(pipeline, meaningState, text)
	return nil
}

// checkMapping stops where another mapping than the file's built the data. The error names the
// first place that differs, if the data hold the meaning of their mapping; an older version stored
// only the fingerprint.
func checkMapping(c *file.Config, state map[string][]byte) error {
	now, err := meaning(&c.Mapping)
	if err != nil {
		return err
	}
	if bytes.Equal(state[mappingState], fingerprint(now)) {
		return nil
	}
	const (
		what   = "the data was built with another mapping than this file's"
		remedy = "put the old mapping back, or build the data again with --from snapshot"
	)
	then := state[meaningState]
	var found []difference
	if bytes.Equal(state[mappingState], fingerprint(then)) {
		found = compareMeanings(then, now)
	}
	if len(found) == 0 {
		return stop("%s: %s; %s", c.Path, what, remedy)
	}
	d := found[0]
	more := ""
	if len(found) > 1 {
		const most = 10
		var paths []string
		for _, d := range found[1:min(len(found), most)] {
			paths = append(paths, d.path)
		}
		more = " (other places that differ: " + strings.Join(paths, ", ")
		if len(found) > most {
			more += fmt.Sprintf(" and %d more", len(found)-most)
		}
		more += ")"
	}
	return &StopError{c.Fault(d.path, "%s, which %s; %s%s", what, d.what, remedy, more)}
}

// difference is a place where two mappings differ. what continues "another mapping, which".
type difference struct{ path, what string }

// compareMeanings returns the places where two meanings differ; none where one cannot be read.
func compareMeanings(then, now []byte) []difference {
	var was, is struct{ Tables []map[string]any }
	if json.Unmarshal(then, &was) != nil || json.Unmarshal(now, &is) != nil {
		return nil
	}
	byPattern := func(tables []map[string]any) map[string]any {
		all := make(map[string]any, len(tables))
		for _, t := range tables {
			pattern, _ := t["Pattern"].(string)
			all[pattern] = t
		}
		return all
	}
	var c comparison
	c.each("tables", byPattern(was.Tables), byPattern(is.Tables), func(path, pattern string) string {
		return path + "." + strconv.Quote(pattern)
	})
	return c.found
}

// comparison gathers what differs between two meanings.
type comparison struct{ found []difference }

func (c *comparison) add(path string, was, is any) {
	what := "has " + show(was) + " here"
	switch {
	case was == nil:
		what = "does not have this"
	case is == nil && isComposite(was):
		what = "has this, too"
	}
	c.found = append(c.found, difference{path, what})
}

func isComposite(v any) bool {
	_, object := v.(map[string]any)
	return object
}

// show prints a value as a pipeline file would have it, more or less.
func show(v any) string {
	text, err := json.Marshal(v)
	if s, ok := v.(string); ok {
		text, err = []byte(strconv.Quote(s)), nil
	}
	if err != nil {
		return "something else"
	}
	const most = 300
	if len(text) > most {
		return strings.ToValidUTF8(string(text[:most]), "") + "..."
	}
	return string(text)
}

// each compares two objects field by field; pathOf names a field as the file does.
func (c *comparison) each(
	path string, was, is map[string]any, pathOf func(path, name string) string,
) {
	names := slices.Sorted(maps.Keys(was))
	for name := range is {
		if _, both := was[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		c.value(pathOf(path, name), name, was[name], is[name])
	}
}

// value compares two values of a field. A missing one is nil.
func (c *comparison) value(path, name string, was, is any) {
	a, wasObject := was.(map[string]any)
	b, isObject := is.(map[string]any)
	x, wasList := was.([]any)
	y, isList := is.([]any)
	switch {
	case name == "Columns" && (wasObject || was == nil) && (isObject || is == nil):
		c.each(path, a, b, fieldPath)
	case name == "Rename":
		c.each(path, a, b, plainPath)
	case wasObject && isObject:
		c.each(path, a, b, fieldPath)
	case name == "Add" && (wasList || was == nil) && (isList || is == nil):
		c.each(path, additions(x), additions(y), plainPath)
	case name == "Write" && wasList && isList:
		for i := range max(len(x), len(y)) {
			c.output(fmt.Sprintf("%s[%d]", path, i), at(x, i), at(y, i))
		}
	case !equalOnCommonFields(was, is) || (was == nil) != (is == nil):
		c.add(path, was, is)
	}
}

func at(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// output compares two outputs, whose key stands under the name of their kind.
func (c *comparison) output(path string, was, is any) {
	a, wasObject := was.(map[string]any)
	b, isObject := is.(map[string]any)
	kind := func(o map[string]any) string {
		n, _ := o["Kind"].(float64)
		return transform.OutputKind(n).String()
	}
	if !wasObject || !isObject || kind(a) != kind(b) {
		if wasObject {
			key, _ := a["Key"].(string)
			was = kind(a) + ": " + key
		}
		c.add(path, was, is)
		return
	}
	c.each(path, a, b, func(path, name string) string {
		if name == "Key" {
			return path + "." + kind(a)
		}
		return fieldPath(path, name)
	})
}

// additions returns computed fields by name.
func additions(list []any) map[string]any {
	all := make(map[string]any, len(list))
	for _, item := range list {
		if a, ok := item.(map[string]any); ok {
			name, _ := a["Name"].(string)
			all[name] = a["Expr"]
		}
	}
	return all
}

// plainPath adds the name of a column or field to a path.
func plainPath(path, name string) string { return path + "." + name }

// fieldPath adds a field to a path in the file's spelling: KeyColumns is key_columns.
func fieldPath(path, name string) string {
	var b strings.Builder
	for i, r := range name {
		if 'A' <= r && r <= 'Z' {
			if i > 0 {
				b.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return path + "." + b.String()
}
