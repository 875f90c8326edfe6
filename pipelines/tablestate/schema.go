package tablestate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"rowfall/binlog"
)

// EncodeSchema returns the JSON form of a table's schema.
func EncodeSchema(t *binlog.Table) ([]byte, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("encode schema of %s: %w", t.FullName(), err)
	}
	return text, nil
}

// MatchesStored reports whether a table still has the schema that storedJSON describes. Fields
// that only one of the two forms has are ignored, because another version may have written
// storedJSON.
func MatchesStored(storedJSON []byte, now *binlog.Table) bool {
	text, err := json.Marshal(now)
	if err != nil {
		return false
	}
	var stored, current any
	if json.Unmarshal(storedJSON, &stored) != nil || json.Unmarshal(text, &current) != nil {
		return false
	}
	return equalOnCommonFields(stored, current)
}

// equalOnCommonFields compares two JSON values. Fields that only one object has are ignored, and
// a missing list equals an empty one.
func equalOnCommonFields(a, b any) bool {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		for name, field := range x {
			other, both := y[name]
			field, other = normalizeField(name, field), normalizeField(name, other)
			if both && !equalOnCommonFields(field, other) {
				return false
			}
		}
		return ok
	case []any:
		y, ok := b.([]any)
		return (ok || b == nil) && slices.EqualFunc(x, y, equalOnCommonFields)
	case nil:
		y, ok := b.([]any)
		return b == nil || ok && len(y) == 0
	}
	return a == b
}

// normalizeField returns a field of a schema without the details that differ between server
// versions for the same column: an integer's display width, renamed types and character sets.
func normalizeField(name string, field any) any {
	text, ok := field.(string)
	if !ok {
		return field
	}
	switch name {
	case "SQLType":
		text = binlog.WithoutStorage(text)
		base, rest, _ := strings.Cut(text, "(")
		switch base {
		case "tinyint", "smallint", "mediumint", "int", "bigint", "year":
			if _, after, found := strings.Cut(rest, ")"); found {
				return base + after
			}
		case "geometrycollection":
			return "geomcollection"
		}
	case "Charset":
		if text == "utf8" {
			return "utf8mb3"
		}
	}
	return text
}

// ChangedSchemas returns the names whose schemas differ between two sets, which this process has
// read, in their order. A name that only one set has is among them.
func ChangedSchemas(a, b map[string]*binlog.Table) []string {
	var changed []string
	for name, t := range a {
		if !sameSchema(t, b[name]) {
			changed = append(changed, name)
		}
	}
	for name := range b {
		if a[name] == nil {
			changed = append(changed, name)
		}
	}
	slices.Sort(changed)
	return changed
}

func sameSchema(a, b *binlog.Table) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
