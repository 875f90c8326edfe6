package tablestate

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/transform"
)

// Canonical returns the canonical form of a mapping, as JSON. Two mappings that build the same
// data have the same form: entries are sorted by pattern, and line numbers are omitted. Zero
// values are omitted too, so that a version with new settings still recognizes an old mapping.
func Canonical(m *transform.Mapping) ([]byte, error) {
	bare := transform.Mapping{Tables: slices.Clone(m.Tables)}
	if m.NeedsSalt() {
		bare.SaltDigest = m.Salt.Digest()
	}
	for i := range bare.Tables {
		t := &bare.Tables[i]
		t.Path, t.Line = "", 0
		t.WhereSeesMasks = m.ReadsMasked(t)
		t.Columns.TooLong = t.Columns.TooLong.Stored()
		if len(t.Columns.MaxBytes) == 0 {
			t.Columns.TooLong = 0 // it has no effect
		}
		if p, err := binlog.ParseTablePattern(t.Pattern); err == nil {
			t.Pattern = p.String() // without needless quotes
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
		return nil, fmt.Errorf("encode mapping: %w", err)
	}
	var full any
	if err := json.Unmarshal(text, &full); err != nil {
		return nil, fmt.Errorf("encode mapping: %w", err)
	}
	if text, err = json.Marshal(dropZeroes(full)); err != nil {
		return nil, fmt.Errorf("encode mapping: %w", err)
	}
	return text, nil
}

// Fingerprint returns the hash of a canonical form. Mappings with equal fingerprints build the
// same data.
func Fingerprint(canonical []byte) []byte {
	sum := sha256.Sum256(canonical)
	return []byte("v1:" + hex.EncodeToString(sum[:]))
}

// dropZeroes removes the fields of objects that have their zero value, at any depth.
func dropZeroes(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, field := range v {
			if field = dropZeroes(field); isZero(field) {
				delete(v, name)
			}
		}
	case []any:
		for i := range v {
			v[i] = dropZeroes(v[i])
		}
	}
	return v
}

func isZero(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return v == nil || v == "" || v == false || v == 0.0
}
