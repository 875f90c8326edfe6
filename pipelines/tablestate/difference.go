package tablestate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"rowfall/transform"
)

// Difference is a place where two mappings differ.
type Difference struct {
	// Path is the place, as a path of the pipeline file.
	Path string
	// What completes the sentence "the old mapping ...".
	What string
}

// Compare returns the places where two canonical forms differ, sorted by path. If either form
// cannot be parsed, it returns nil.
func Compare(old, current []byte) []Difference {
	var a, b struct {
		Tables     []map[string]any
		SaltDigest string
	}
	if json.Unmarshal(old, &a) != nil || json.Unmarshal(current, &b) != nil {
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
	if a.SaltDigest != b.SaltDigest && a.SaltDigest != "" && b.SaltDigest != "" {
		c.found = append(c.found, Difference{"salt", "has another salt"})
	}
	tablePath := func(path, pattern string) string { return path + "." + strconv.Quote(pattern) }
	c.compareObjects("tables", byPattern(a.Tables), byPattern(b.Tables), tablePath)
	return c.found
}

// comparison collects the differences between two canonical forms.
type comparison struct{ found []Difference }

func (c *comparison) add(path string, old, current any) {
	what := "has " + format(old) + " here"
	_, isObject := old.(map[string]any)
	switch {
	case old == nil:
		what = "does not have this"
	case current == nil && isObject:
		what = "has this, too"
	}
	c.found = append(c.found, Difference{path, what})
}

// format returns a value in about the form that a pipeline file would have, cut to 300 bytes.
func format(v any) string {
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

// compareObjects compares two objects field by field. pathOf returns the path of a field.
func (c *comparison) compareObjects(
	path string, old, current map[string]any, pathOf func(path, name string) string,
) {
	names := slices.Sorted(maps.Keys(old))
	for name := range current {
		if _, both := old[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if name == "WhereSeesMasks" {
			if old[name] == nil && old["Where"] == current["Where"] {
				c.found = append(c.found, Difference{
					fieldPath(path, "Where"),
					"evaluates the condition on values before the mask, as earlier versions did",
				})
			}
			continue
		}
		c.compareValues(pathOf(path, name), name, old[name], current[name])
	}
}

// compareValues compares two values of a field. A missing value is nil.
func (c *comparison) compareValues(path, name string, old, current any) {
	a, oldIsObject := old.(map[string]any)
	b, currentIsObject := current.(map[string]any)
	x, oldIsList := old.([]any)
	y, currentIsList := current.([]any)
	switch {
	case name == "Columns" && (oldIsObject || old == nil) && (currentIsObject || current == nil):
		c.compareObjects(path, a, b, fieldPath)
	case name == "Rename", name == "Mask", name == "MaxBytes":
		c.compareObjects(path, a, b, namePath)
	case oldIsObject && currentIsObject:
		c.compareObjects(path, a, b, fieldPath)
	case name == "Add" && (oldIsList || old == nil) && (currentIsList || current == nil):
		c.compareObjects(path, computedFields(x), computedFields(y), namePath)
	case name == "Write" && oldIsList && currentIsList:
		for i := range max(len(x), len(y)) {
			c.compareOutputs(fmt.Sprintf("%s[%d]", path, i), elementAt(x, i), elementAt(y, i))
		}
	case !equalOnCommonFields(old, current) || (old == nil) != (current == nil):
		c.add(path, old, current)
	}
}

func elementAt(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// compareOutputs compares two outputs. In a pipeline file the key of an output stands under the
// name of the output's kind, such as hash.
func (c *comparison) compareOutputs(path string, old, current any) {
	a, oldIsObject := old.(map[string]any)
	b, currentIsObject := current.(map[string]any)
	kind := func(o map[string]any) string {
		n, _ := o["Kind"].(float64)
		return transform.OutputKind(n).String()
	}
	if !oldIsObject || !currentIsObject || kind(a) != kind(b) {
		if oldIsObject {
			key, _ := a["Key"].(string)
			old = kind(a) + ": " + key
		}
		c.add(path, old, current)
		return
	}
	c.compareObjects(path, a, b, func(path, name string) string {
		if name == "Key" {
			return path + "." + kind(a)
		}
		return fieldPath(path, name)
	})
}

// computedFields returns the expressions of computed fields by the fields' names.
func computedFields(list []any) map[string]any {
	all := make(map[string]any, len(list))
	for _, item := range list {
		if a, ok := item.(map[string]any); ok {
			name, _ := a["Name"].(string)
			all[name] = a["Expr"]
		}
	}
	return all
}

// namePath adds the name of a column or field to a path.
func namePath(path, name string) string { return path + "." + name }

// fieldPath adds a setting to a path, in the file's spelling: KeyColumns becomes key_columns.
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
