package pipelines

import (
	"strings"
	"testing"

	"rowfall/transform"
)

// When a table goes into quarantine, its commands of the open transaction leave the unit, deferred
// ones included. Those of other tables keep their place.
func TestSpansWithDeferredCommands(t *testing.T) {
	var l loop
	a, b := new(mappedTable), new(mappedTable)
	c := &l.unit.Commands
	event := func(t *mappedTable, word string) {
		before := c.Mark()
		c.Defer(&transform.Deferred{Key: []byte(word)})
		c.Append([]byte("SET"), []byte(word))
		c.Defer(&transform.Deferred{Key: []byte(word + "!")})
		l.addSpan(t, before)
	}
	event(a, "committed")
	l.endSpans()
	end := c.Mark()
	event(a, "a1")
	event(b, "b1")
	event(b, "b2")
	event(a, "a2")
	event(b, "b3")
	if len(l.spans) != 4 {
		t.Fatalf("%d spans, want 4: neighbours of one table are one", len(l.spans))
	}
	// The committed part is applied, as flushCommitted does.
	var tail transform.Commands
	tail.AppendRange(c, end, c.Mark())
	c.Reset()
	l.shiftSpans(end)
	c.MoveRange(&tail, transform.Mark{}, tail.Mark())
	l.cutSpans(a)
	if len(l.spans) != 2 || l.spans[1].to != c.Mark() || c.Count != 9 {
		t.Errorf("spans %+v of %d commands, the end is %+v", l.spans, c.Count, c.Mark())
	}
	err := c.Resolve(func(d *transform.Deferred, out *transform.Commands) error {
		out.Append([]byte("NOW"), d.Key)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var want transform.Commands
	for _, word := range []string{"b1", "b2", "b3"} {
		want.Append([]byte("NOW"), []byte(word))
		want.Append([]byte("SET"), []byte(word))
		want.Append([]byte("NOW"), []byte(word+"!"))
	}
	if string(c.Bytes) != string(want.Bytes) {
		t.Errorf("commands %s", strings.ReplaceAll(string(c.Bytes), "\r\n", " "))
	}
}
