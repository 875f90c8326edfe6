package transform_test

import (
	"errors"
	"testing"

	"rowfall/transform"
)

// FuzzTemplate checks that every template compiles or is rejected with a message. A template that
// compiles must print each row, and must not print the same key for two rows.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{
		"u:{id}", "{a}:{b}", "{{x}}{pk...}", "{a|hex|upper}-{b|urlencode}", "{name|lower}{id}",
		"{", "}", "{|}",
	} {
		f.Add(s, "x", "y", "z:%")
	}
	f.Fuzz(func(t *testing.T, template, a, b, c string) {
		table := parseTable(t,
			"shop.t: id int; a varchar(99) pk; b varchar(99) pk; name varchar(9) null")
		p, err := transform.Compile(&transform.Mapping{Tables: []transform.TableRule{{
			Pattern: "shop.t", Write: []transform.Output{{Kind: transform.Hash, Key: template}},
		}}}, table)
		if err != nil {
			var e *transform.MappingError
			if !errors.As(err, &e) || e.Message == "" {
				t.Fatalf("%q: %v", template, err)
			}
			return
		}
		keys := map[string]string{}
		for _, cells := range [][][]byte{
			{[]byte("1"), []byte(a), []byte(b), nil},
			{[]byte("2"), []byte(b), []byte(c), []byte(a)},
			{[]byte("3"), []byte(a + ":"), []byte(c), []byte(b)},
		} {
			row := textRow(table, cells)
			id, _ := p.AppendRowKey(nil, row)
			err := p.Expect(row, func(e transform.Expectation) error {
				if other, ok := keys[string(e.Key)]; ok && other != string(id) {
					t.Errorf("template %q gives %q to two rows", template, e.Key)
				}
				keys[string(e.Key)] = string(id)
				return nil
			})
			var re *transform.RowError
			if err != nil && !errors.As(err, &re) {
				t.Fatal(err)
			}
		}
	})
}
