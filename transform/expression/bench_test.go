package expression_test

import (
	"slices"
	"testing"

	"rowfall/internal/race"
	"rowfall/transform/columns"
	"rowfall/transform/expression"
)

// typical are expressions as users write them, by group. None of them allocates for a row.
var typical = map[string][]string{
	"Comparison": {`status != "sent" and i < 5`, `status in ["new", "paid"] or ns == nil`},
	"Arithmetic": {`i * 2 + 1`, `i % 7`},
	"Exact":      {`d * 1.19`, `d > 5 and d < 100`, `round(d * 1.19)`},
	"Float":      {`f * 2`, `float(d) / 3`},
	"Text":       {`s + " " + (ns ?? "")`, `upper(s)`, `trim(s)`, `replace(s, "r", "x")`},
	"Part": {
		`s[0:3]`, `s[-2:]`, `split(csv, ",")[1]`, `"bb" in split(csv, ",")`,
		`padLeft(string(i), 8)`, `indexOf(s, "g")`,
	},
	"Pattern": {`s matches "^Ä.*r$"`, `regexFind(s, "r.")`},
	"Date": {
		`unix(at)`, `format(at, "%Y-%m-%d %H:%i")`, `at > "2024-01-01"`, `format(at, "%x-%v")`,
	},
	"Time":   {`clock > "10:00:00"`},
	"Digest": {`sha256(s)`, `md5(s)`, `crc32(s)`},
	"Bytes":  {`hex(raw)`, `uuid(raw)`, `toBase64(raw)`},
	"JSON": {
		`json(doc, "$.a[0].b")`, `json(doc, "$.o.p") == "true"`,
		`decimal(json(doc, "$.a[2]") ?? "0")`,
	},
	"Old": {`status != old.status`, `i - (old.i ?? 0)`},
}

// allocating are the expressions whose result needs memory of its own for each row.
var allocating = []string{`u + 1 > 5`, `regexFind(s, "(.)r")`, `regexReplace(s, "r(.)", "<$1>")`}

// groups returns the names of the groups in order.
func groups() []string {
	var names []string
	for name := range typical {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// BenchmarkEval evaluates the typical expressions for one row. The limit is 1 us for each.
func BenchmarkEval(b *testing.B) {
	for _, group := range append(groups(), "Allocating") {
		sources := typical[group]
		if sources == nil {
			sources = allocating
		}
		for _, source := range sources {
			b.Run(group+"/"+source, func(b *testing.B) {
				p, err := expression.Compile(source, columns.New(table), expression.AllowOld)
				if err != nil {
					b.Fatal(err)
				}
				r, old := row(), row()
				var s expression.Scratch
				var dst []byte
				b.ReportAllocs()
				for b.Loop() {
					s.SetOld(old)
					if dst, _, err = p.AppendText(dst[:0], &s, r); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestNoAllocation checks that the typical expressions do not allocate.
func TestNoAllocation(t *testing.T) {
	if race.Enabled {
		t.Skip("with the race detector, package regexp allocates: sync.Pool drops values at random")
	}
	r, old := row(), row()
	for _, group := range groups() {
		for _, source := range typical[group] {
			p, err := expression.Compile(source, columns.New(table), expression.AllowOld)
			if err != nil {
				t.Fatal(err)
			}
			var s expression.Scratch
			var dst []byte
			n := testing.AllocsPerRun(100, func() {
				s.SetOld(old)
				if dst, _, err = p.AppendText(dst[:0], &s, r); err != nil {
					t.Fatal(err)
				}
			})
			if n != 0 {
				t.Errorf("%s: %v allocations", source, n)
			}
		}
	}
}
