package transform_test

import (
	"reflect"
	"testing"

	"rowfall/transform"
)

// Expectations that were kept as bytes are equal to those of the row.
func TestExpectationBytes(t *testing.T) {
	for _, mapping := range propertyMappings {
		p := compile(t, mapping,
			"shop.t: a int pk; b varchar(200) pk; x int null; note varchar(200) null; word text")
		row := textRow(p.Table(), parseCells(t, p.Table(), `1 "" 5 "a b" word`))
		var kept []byte
		var n int
		err := p.Expect(row, func(e transform.Expectation) error {
			n++
			kept = e.AppendTo(kept)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var got transform.Expectation
		rest := kept
		err = p.Expect(row, func(e transform.Expectation) error {
			rest = transform.ParseExpectation(&got, rest)
			if len(got.Pairs) == 0 {
				got.Pairs = nil
			}
			if !reflect.DeepEqual(got, e) || got.HasField() != e.HasField() {
				t.Errorf("kept as %+v, want %+v", got, e)
			}
			return nil
		})
		if err != nil || len(rest) > 0 || n == 0 {
			t.Errorf("%d expectations, %d bytes left, %v", n, len(rest), err)
		}
	}
}
