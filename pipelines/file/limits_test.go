package file_test

import (
	"strings"
	"testing"

	"rowfall/pipelines/file"
)

// The limits of atomic units are at the top of the file. Below sink.node, where former versions
// had them, they are read with a warning.
func TestLimits(t *testing.T) {
	want := file.Limits{MaxAtomicRows: 7, MaxAtomicBytes: 5 << 20}
	const keys = "max_atomic_rows: 7, max_atomic_bytes: 5MiB"
	atTop := minimal + "limits: {" + keys + "}\n"
	belowNode := strings.Replace(minimal, "dir: data/shop", "dir: data/shop, "+keys, 1)
	for _, test := range []struct {
		name, text string
		warnings   []string
	}{
		{"at the top", atTop, nil},
		{"below sink.node", belowNode, []string{
			"x.yaml:7: sink.node.max_atomic_rows: has moved; write it below limits",
			"x.yaml:7: sink.node.max_atomic_bytes: has moved; write it below limits",
		}},
	} {
		c, err := file.Parse("x.yaml", []byte(test.text), environment)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if c.Limits != want {
			t.Errorf("%s: read as %+v", test.name, c.Limits)
		}
		if len(c.Warnings) != len(test.warnings) {
			t.Errorf("%s: warnings %v, want %q", test.name, c.Warnings, test.warnings)
			continue
		}
		for i, w := range test.warnings {
			if got := c.Warnings[i].Error(); !strings.HasPrefix(got, w) {
				t.Errorf("%s: warning %s, want %s", test.name, got, w)
			}
		}
	}
	for text, want := range map[string]string{
		belowNode + "limits: {max_atomic_rows: 8}\n": "x.yaml:7: sink.node.max_atomic_rows: " +
			"is given below limits, too; remove it here",
		minimal + "limits: {max_atomic_rows: 0}\n": "x.yaml:8: limits.max_atomic_rows: " +
			`"0": want a whole number from 1`,
		minimal + "limits: {max_atomic_bytes: 513MiB}\n": "x.yaml:8: limits.max_atomic_bytes: " +
			`"513MiB": want a size of at most 512MiB`,
		minimal + "limits: {max_rows: 1}\n": "x.yaml:8: limits.max_rows: is not a key here",
	} {
		if _, err := file.Parse("x.yaml", []byte(text), environment); err == nil ||
			!strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
