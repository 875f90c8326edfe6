package transform_test

import (
	"strconv"
	"strings"
	"testing"

	"rowfall/transform"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]string{
		"30d": "30d", "720h": "30d", "7d": "1w", "1d12h": "36h", "90s": "90s", "60s": "1m",
		"500ms": "500ms", "2w": "2w", "1h30m": "90m", "1s5ms": "1005ms", "0s": "",
	} {
		if d, err := transform.ParseDuration(text); err != nil || d.String() != want {
			t.Errorf("%s: got %q, %v, want %q", text, d, err, want)
		}
	}
	for _, text := range []string{
		"", "30", "d", "30 d", "-1s", "1.5h", "1y", "1M", "1h1h", "9999999999999d", "1us", "3d4",
	} {
		if d, err := transform.ParseDuration(text); err == nil {
			t.Errorf("%q is accepted as %s", text, d)
		}
	}
}

// lines returns the commands of a change, a line for each.
func lines(
	t *testing.T, p *transform.Plan, change string, m transform.Mode, o transform.Origin,
) string {
	t.Helper()
	var u transform.Commands
	if err := p.Append(&u, parseChange(t, p.Table(), change), m, o); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range commands(t, u.Bytes) {
		out = append(out, readable(c))
	}
	return strings.Join(out, "; ")
}

// A ttl counts from the commit; for a row that was read, from the present time. A replayed change
// gives a key that rows share no earlier expiry than a later change did.
func TestExpiryByOrigin(t *testing.T) {
	p := compile(t, `shop.t: {write: [
		{hash: "h:{id}", ttl: 1s}, {set: s, member: "{id}", ttl: 1s},
		{hash: f, field: "{id}", value: "{v}", ttl: 1s}]}`, "shop.t: id int pk; v int")
	const row = "HSET h:1 id 1 v 2; PEXPIREAT h:1 %H; SADD s 1; PEXPIREAT s %S; HSET f 1 2; " +
		`ZADD rowfall:state:test:field_expiry %F "\x01f1"`
	want := func(hash, set, field string) string {
		return strings.NewReplacer("%H", hash, "%S", set, "%F", field).Replace(row)
	}
	for _, c := range []struct {
		name   string
		origin transform.Origin
		want   string
	}{
		{"stream", transform.Origin{Time: 5_000_999, Now: 5.9e6}, want("6000", "6000", "6000")},
		{"load", transform.Origin{Load: true, Now: 9e6}, want("10000", "10000", "10000")},
		{
			"replay",
			transform.Origin{Time: 5e6, Now: 9e6, Replay: true},
			want("6000", "10000", "6000"),
		},
		{
			"after a long interruption",
			transform.Origin{Time: 5e6, Now: 6e6},
			want("6000", "7000", "6000"),
		},
		{"unknown time", transform.Origin{Now: 9e6}, want("10000", "10000", "10000")},
	} {
		got := lines(t, p, "insert 1 2", transform.Delta, c.origin)
		if got != c.want {
			t.Errorf("%s: got\n%s, want\n%s", c.name, got, c.want)
		}
	}
}

// Mode Replace removes the entry of a field, too.
func TestExpiryOfReplacedRow(t *testing.T) {
	p := compile(t, `shop.t: {write: [{hash: f, field: "{id}", value: "{v}", ttl: 1s}]}`,
		"shop.t: id int pk; v int null")
	got := lines(t, p, "update 1 2 -> 1 NULL", transform.Replace, transform.Origin{Time: 5e6})
	const want = `HDEL f 1; ZREM rowfall:state:test:field_expiry "\x01f1"`
	if got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	var u transform.Commands
	p.Remove(&u, transform.Location{Key: []byte("f"), Member: []byte("1")})
	if all := commands(t, u.Bytes); len(all) != 2 || all[1][0] != "ZREM" {
		t.Errorf("Remove appends %q", all)
	}
}

// ttl_jitter shortens the ttl of each key by less than its part, the same in every run.
func TestJitter(t *testing.T) {
	const mapping = `shop.t: {write: [{string: "k:{id}", value: x, ttl: 100s, ttl_jitter: 10%}]}`
	p := compile(t, mapping, "shop.t: id int pk")
	again := compile(t, mapping, "shop.t: id int pk")
	distinct := map[int]bool{}
	least, most := 1<<62, 0
	for id := range 1000 {
		change := "insert " + strconv.Itoa(id)
		got := lines(t, p, change, transform.FullRow, transform.Origin{Time: 1e6})
		other := lines(t, again, change, transform.FullRow, transform.Origin{Time: 1e6})
		if other != got {
			t.Fatalf("%s, then %s", got, other)
		}
		at, err := strconv.Atoi(got[strings.LastIndexByte(got, ' ')+1:])
		if err != nil {
			t.Fatal(err)
		}
		distinct[at] = true
		least, most = min(least, at), max(most, at)
	}
	if least <= 91_000-1 || most > 101_000 || most-least < 9_000 || len(distinct) < 800 {
		t.Errorf("%d times of expiry from %d to %d", len(distinct), least, most)
	}
	if at := lines(t, p, "insert 1", transform.FullRow, transform.Origin{Time: 1e6}); at !=
		"SET k:1 x; PEXPIREAT k:1 96581" {
		t.Errorf("the jitter of a key has changed: %s", at)
	}
}

// What the sink must hold includes when it expires, also in the form that is kept as bytes.
func TestExpectedExpiry(t *testing.T) {
	p := compile(t, `shop.t: {write: [
		{hash: "h:{id}", ttl: 1s}, {string: "s:{id}", value: x, expire_at: v},
		{hash: f, field: "{id}", value: x, expire_at: v + 1}, {hash: "n:{id}"}]}`,
		"shop.t: id int pk; v int")
	p2 := compile(t, `shop.t: {write: [{string: "s:{id}", value: x, expire_at: v}]}`,
		"shop.t: id int pk; v int null")
	var got []transform.Expiry
	visit := func(e transform.Expectation) error {
		var parsed transform.Expectation
		transform.ParseExpectation(&parsed, e.AppendTo(nil))
		if parsed.Expiry != e.Expiry || string(parsed.Key) != string(e.Key) {
			t.Errorf("%+v is kept as %+v", e, parsed)
		}
		got = append(got, e.Expiry)
		return nil
	}
	for plan, cells := range map[*transform.Plan]string{p: "1 20", p2: "1 NULL"} {
		got = nil
		if err := plan.Expect(textRow(plan.Table(), parseCells(t, plan.Table(), cells)),
			visit); err != nil {
			t.Fatal(err)
		}
		want := []transform.Expiry{
			{Rule: transform.ExpiresAfter, Milliseconds: 1000},
			{Rule: transform.ExpiresAt, Milliseconds: 20000},
			{Rule: transform.ExpiresAt, Milliseconds: 21000},
			{},
		}
		if plan == p2 {
			want = []transform.Expiry{{Rule: transform.NeverExpires}}
		}
		if len(got) != len(want) {
			t.Fatalf("got %v", got)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("output %d: %v, want %v", i, got[i], want[i])
			}
		}
	}
	e := transform.Expiry{Rule: transform.ExpiresAt, Milliseconds: 20000}
	if !e.IsPast(20000) || e.IsPast(19999) || e.Time(5) != 20000 {
		t.Errorf("%v is past or not", e)
	}
}

// Which fields expire decides what the loop may remove.
func TestKeepsField(t *testing.T) {
	p := compile(t, `shop.t: {write: [
		{hash: "f:{v}", field: "{id}", ttl: 1s}, {hash: "g:{v}", field: "x:{id}"},
		{hash: "h:{id}"}]}`, "shop.t: id int pk; v int")
	for _, c := range []struct {
		key, field string
		want       bool
	}{
		{"f:1", "2", false},
		{"g:1", "x:2", true},
		{"g:1", "y", false},
		{"h:1", "any", true},
		{"other", "x", false},
	} {
		if got := p.KeepsField([]byte(c.key), []byte(c.field)); got != c.want {
			t.Errorf("%s %s: got %v", c.key, c.field, got)
		}
	}
	if !p.Expires() || !p.ExpiresFields() {
		t.Error("the plan is taken as one without expiry")
	}
	key, field, ok := transform.ParseFieldEntry(
		transform.AppendFieldEntry(nil, []byte("a\x00b"), []byte("")))
	if string(key) != "a\x00b" || string(field) != "" || !ok {
		t.Errorf("parsed %q, %q", key, field)
	}
	for _, bad := range []string{"", "\x05ab", "\xff"} {
		if _, _, ok := transform.ParseFieldEntry([]byte(bad)); ok {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// Outputs that share a key must give it one expiry. The expiry of fields is not that of their key.
func TestExpiryConflicts(t *testing.T) {
	plan := func(name, write string) *transform.Plan {
		return compile(t, "shop."+name+": {write: ["+write+"]}",
			"shop."+name+": id int pk; d datetime")
	}
	conflict := func(a, b string) string {
		err := transform.Conflicts([]*transform.Plan{plan("a", a), plan("b", b)})
		if err == nil {
			return ""
		}
		return err.Error()
	}
	const a, b = `{set: s, member: "a:{id}"%s}`, `{set: s, member: "b:{id}"%s}`
	of := func(format, settings string) string { return strings.Replace(format, "%s", settings, 1) }
	for _, c := range []struct{ a, b, want string }{
		{"", "", ""},
		{", ttl: 24h", ", ttl: 1d", ""},
		{", expire_at: d", ", expire_at: d", ""},
		{", ttl: 1d", "", "have ttl: 1d and no ttl; give both the same, or different keys"},
		{", ttl: 1d", ", ttl: 2d", "have ttl: 1d and ttl: 2d"},
		{", ttl: 1d", ", ttl: 1d, ttl_jitter: 50%", "and ttl: 1d, shortened by up to 12h"},
		{", ttl: 1d", ", expire_at: d", "have ttl: 1d and expire_at: d"},
	} {
		got := conflict(of(a, c.a), of(b, c.b))
		if !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%q and %q: got %q", c.a, c.b, got)
		}
	}
	const expiring = `{hash: h, field: "a:{id}", ttl: 1d}`
	if got := conflict(expiring, `{hash: h, field: "b:{id}"}`); got != "" {
		t.Errorf("fields: %s", got)
	}
}

// Without the key of the sorted set, the expiry of a field would be lost.
func TestFieldExpiryWithoutKey(t *testing.T) {
	m := parseMapping(t, `shop.t: {write: [{hash: f, field: "{id}", ttl: 1s}]}`)
	m.FieldExpiry = ""
	p, err := transform.Compile(m, parseTable(t, "shop.t: id int pk"))
	if err != nil {
		t.Fatal(err)
	}
	var u transform.Commands
	c := parseChange(t, p.Table(), "insert 1")
	if err := p.Append(&u, c, transform.FullRow, transform.Origin{}); err == nil {
		t.Errorf("appended %q", u.Bytes)
	}
	if err := p.Expect(c.After, func(transform.Expectation) error { return nil }); err != nil {
		t.Error(err)
	}
}
