package transform_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"rowfall/transform"
)

const masksTable = "shop.users: id int pk; email varchar(80); note text null; doc json null"

// Masks and exclusions of every entry that matches apply, and the strongest of several masks.
// max_bytes is that of the most specific entry.
func TestMasksAccumulate(t *testing.T) {
	for _, c := range []struct{ mapping, want string }{
		{
			`{"*.*": {columns: {mask: {email: redact}}}, "shop.*": {columns: {mask: {EMAIL: ` +
				`"truncate:1"}}}, shop.users: {columns: {mask: {email: "truncate:3"}}}}`,
			"HSET users:1 id 1 email *** note text",
		},
		{
			`{"*.*": {columns: {mask: {email: "truncate:1"}}}, ` +
				`shop.users: {columns: {mask: {email: "truncate:3"}}}}`,
			"HSET users:1 id 1 email a note text",
		},
		{
			`{"*.*": {columns: {mask: {other: redact}, exclude: [email]}}, ` +
				`shop.users: {columns: {mask: {email: "truncate:3", note: redact}}}}`,
			"HSET users:1 id 1 note ***",
		},
		{
			`{"*.*": {columns: {max_bytes: {note: 1}}}, shop.users: {}}`,
			"HSET users:1 id 1 email a@b note text",
		},
		{
			`{"shop.*": {columns: {max_bytes: {note: 1, id: 1, other: 1}, too_long: omit}}}`,
			"HSET users:1 id 1 email a@b",
		},
	} {
		p := compile(t, c.mapping, masksTable)
		got := runChange(t, p, `insert 1 a@b text NULL`, transform.Delta)
		if got != c.want+"\n" {
			t.Errorf("%s:\n%swant %s", c.mapping, got, c.want)
		}
	}
}

// A row that is rejected names its reaction, and its message shows no value that must not leave.
func TestReactionToRow(t *testing.T) {
	for _, c := range []struct {
		mapping, table string
		onError        transform.OnError
		want           transform.OnError
		message        string
	}{
		{
			`{shop.users: {columns: {max_bytes: {note: 1}}}}`, masksTable,
			transform.StopAtError, transform.Quarantine, "row \"1\", column note: the value has",
		},
		{
			`{shop.users: {columns: {max_bytes: {note: 1}, too_long: dead_letter}}}`, masksTable,
			transform.StopAtError, transform.DeadLetter, "max_bytes allows 1",
		},
		{
			`{shop.users: {columns: {max_bytes: {doc: 9}, too_long: stop}}}`, masksTable,
			transform.DeadLetter, transform.StopAtError, "column doc: the value has 13 bytes",
		},
		{
			`{shop.users: {columns: {add: {n: int(email)}}}}`, masksTable,
			transform.DeadLetter, transform.DeadLetter, `secret`,
		},
		{
			`{shop.users: {where: "int(email) > 1", columns: {mask: {email: redact}}}}`, masksTable,
			transform.DeadLetter, transform.DeadLetter, `"***" is not a 64-bit integer`,
		},
		{
			`{shop.users: {where: "int(email) > 1", columns: {exclude: [email]}}}`, masksTable,
			transform.DeadLetter, transform.DeadLetter, "the cause is not shown",
		},
		{
			`{shop.users: {columns: {add: {n: 'int(note ?? "x")'}, exclude: [email]}, ` +
				`write: [{hash: "u:{id}"}]}}`,
			"shop.users: email varchar(9) pk; id int u0; note text null; doc json null",
			transform.Quarantine, transform.Quarantine, `row "(excluded)"`,
		},
		{
			`{shop.users: {columns: {add: {n: 'int(note ?? "x")'}, mask: {email: "truncate:1"}}, ` +
				`write: [{hash: "u:{id}"}]}}`,
			"shop.users: email varchar(9) pk; id int u0; note text null; doc json null",
			transform.Quarantine, transform.Quarantine, `row "s"`,
		},
	} {
		m := parseMapping(t, c.mapping)
		m.Tables[0].OnError = c.onError
		table := parseTable(t, c.table)
		p, err := transform.Compile(m, table)
		if err != nil {
			t.Errorf("%s: %v", c.mapping, err)
			continue
		}
		line := `insert 1 secret text "{\"a\": \"long\"}"`
		if strings.HasPrefix(c.table, "shop.users: email") {
			line = `insert secret 1 text "{\"a\": \"long\"}"`
		}
		var u transform.Commands
		err = p.Append(&u, parseChange(t, table, line), transform.Delta, transform.Origin{})
		var e *transform.RowError
		if !errors.As(err, &e) || e.OnError != c.want || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %v (%+v)\nwant %s", c.mapping, err, e, c.message)
		}
		if !strings.Contains(c.message, "secret") && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the message shows the value: %v", c.mapping, err)
		}
	}
}

// A mask sha256 without a salt is a fault, found without a table.
func TestMaskNeedsSalt(t *testing.T) {
	m := parseMapping(t, `{shop.users: {columns: {mask: {email: sha256, note: nope}}}}`)
	if faults := m.Validate(); len(faults) != 1 || !strings.Contains(faults[0].Error(), "nope") {
		t.Errorf("with a salt: %v", faults)
	}
	m.Salt = ""
	faults := m.Validate()
	if len(faults) != 2 || faults[0].Path != `tables."shop.users".columns.mask.email` ||
		!strings.Contains(faults[0].Message, "write salt: ${VARIABLE}") {
		t.Errorf("without a salt: %v", faults)
	}
	if _, err := transform.Compile(m, parseTable(t, masksTable)); err == nil {
		t.Error("a mask without a salt was compiled")
	}
}

// A key with a masked column still belongs to its output, and leads to its row by the columns that
// are not masked. A sweep relies on both.
func TestLocationsOfMaskedColumns(t *testing.T) {
	p := compile(t, `{shop.users: {columns: {mask: {email: sha256, note: "truncate:2"}}, `+
		`write: [{hash: "u:{email}:{id}:{note}"}]}}`, masksTable)
	row := textRow(p.Table(), [][]byte{[]byte("7"), []byte("a@b"), []byte("x:y"), nil})
	n := 0
	err := p.Locations(row, func(at transform.Location) {
		n++
		values, ok := p.Values(at)
		if !ok || len(values) != 1 || values[0].Column != 0 || string(values[0].Text) != "7" ||
			!p.OwnsKey(0, at.Key) {
			t.Errorf("%s: %v, %v", at.Key, values, ok)
		}
	})
	if err != nil || n != 1 {
		t.Errorf("%d locations, %v", n, err)
	}
	if got := p.LocationColumns()[0]; !slices.Equal(got, []int{0}) {
		t.Errorf("located by %v", got)
	}
	if p.OwnsKey(0, []byte("u:not hex:7:x")) {
		t.Error("a key without a mask is the output's")
	}
}
