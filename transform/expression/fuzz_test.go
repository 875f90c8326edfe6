package expression_test

import (
	"errors"
	"slices"
	"testing"

	"rowfall/binlog"
	"rowfall/transform/columns"
	"rowfall/transform/expression"
)

// FuzzCompile checks that every text compiles or is rejected with a message. An expression that
// compiles must evaluate without a panic, for a row with any texts in its columns, and before it
// for any other row.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		`i + 1 > 2`, `ns ?? "x"`, `s in ["a"]`, `unix(at) * 2.5`, `max(i, d)`, `-10 < i < 0`,
		`"x" in flags`, `a ? b : c`, `if i > 1 {2} else {3}`, `old.s != s ? old.i : ni`,
		`format(at, "%Y-%m-%d %W %x-%v")`, `format(nat ?? "0000-00-00", "%M") ?? ""`,
		`s[i:-2] + s[:3]`, `padLeft(s, 20, "é")`, `split(csv, ",")[i] ?? ""`,
		`"b" in split(s, trim(" "))`,
		`len(split(csv, s))`, `regexFind(s, "(a|b)*(c)?", 2)`, `regexReplace(s, "(.)", "$1$1$$")`,
		`sha256(d) + md5(at) + crc32(s)`, `hex(toBase64(s))`, `uuid(raw)`, `"admin" in roles`,
		`status == "padi"`, `decimal(json(doc, "$.a[last-1].b") ?? "0")`, `json(s, "$")`,
		`indexOf(s, csv) + lastIndexOf(s, "x")`, `bitxor(i, 3)`, `old["two words"] ?? 0`,
		"`status` == 'it''s'", `doc->"$.a"`, `i & 1 | 2`,
	} {
		f.Add(s, []byte("2024-05-01 10:00:00"), []byte(`{"a": [1, "\u00e9"]}`), 3)
	}
	f.Add(`i`, []byte{0xff, 0xc3}, []byte("-"), 0)
	f.Fuzz(func(t *testing.T, source string, a, b []byte, shift int) {
		syntax := expression.CheckSyntax(source)
		p, err := expression.Compile(source, columns.New(table), expression.AllowOld)
		if err != nil {
			var e *expression.CompileError
			if !errors.As(err, &e) || e.Message == "" || e.Line < 1 || e.Column < 1 {
				t.Fatalf("%q: %v", source, err)
			}
			return
		}
		if syntax != nil {
			t.Fatalf("%q compiles, and its syntax is rejected: %v", source, syntax)
		}
		evaluate := func(s *expression.Scratch, r *binlog.Row) {
			_, null, err := p.AppendText(nil, s, r)
			if err == nil && null && !p.Nullable() {
				t.Fatalf("%q: nil, and not nullable", source)
			}
			_, _ = p.AppendJSON(nil, s, r)
		}
		var s expression.Scratch
		evaluate(&s, row())
		// Columns get the texts of other columns, and any text.
		texts := [][]byte{a, b, nil}
		random := make([][]byte, len(cells))
		for i := range random {
			random[i] = slices.Concat(cells, texts)[(uint(i)*7+uint(shift))%uint(len(cells)+3)]
			if random[i] == nil && !table.Columns[i].Nullable {
				random[i] = a
			}
			if random[i] == nil && !table.Columns[i].Nullable {
				random[i] = []byte{}
			}
		}
		r := new(binlog.Row)
		r.SetText(binlog.NewTextLayout(table), random)
		s.SetOld(r)
		evaluate(&s, row())
		evaluate(&s, r)
	})
}
