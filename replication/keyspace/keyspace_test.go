package keyspace_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
)

// unit encodes commands that are given as lines of words.
func unit(lines ...string) (u []byte) {
	for _, l := range lines {
		u = resp.AppendCommand(u, strings.Fields(l)...)
	}
	return u
}

func TestStageRejects(t *testing.T) {
	const arity = "ERR wrong number of arguments for '"
	for _, c := range []struct {
		unit []byte
		want string
	}{
		{
			unit("SET a 1", "SPOP a"),
			`stage command 3, "SPOP" "a": ERR unknown or unsupported write command`,
		},
		{unit("SET a"), arity + "set' command"},
		{unit("hset h f"), arity + "hset' command"},
		{unit("HSET h f v g"), arity + "hset' command"},
		{unit("HSET s f v"), "WRONGTYPE "},
		{unit("SET x 1", "SADD x m"), "WRONGTYPE "},
		{unit("ZADD z nan m"), "ERR value is not a valid float"},
		{unit("ZADD z 1_0 m"), "ERR value is not a valid float"},
		{unit("ZADD z NX XX 1 m"), "ERR XX and NX options at the same time are not compatible"},
		{
			unit("ZADD z GT LT 1 m"),
			"ERR GT, LT, and/or NX options at the same time are not compatible",
		},
		{unit("ZADD z INCR 1 m 2 n"), "ERR INCR option supports a single increment-element pair"},
		{unit("ZADD z inf m", "ZINCRBY z -inf m"), "ERR resulting score is not a number (NaN)"},
		{unit("ZADD z 1 m 2"), "ERR syntax error"},
		{unit("SET a 1 NX XX"), "ERR syntax error"},
		{unit("SET a 1 EXAT 0"), "ERR invalid expire time in 'set' command"},
		{unit("SET a 1 EXAT 9223372036854775807"), "ERR invalid expire time in 'set' command"},
		{unit("SET a 1 EXAT 1 PXAT 1"), "ERR syntax error"},
		{unit("SET a 1 EXAT"), "ERR syntax error"},
		// A replay would count the time from another moment, so that the key would live longer.
		{
			unit("SET a 1 EX 10"),
			"send the time itself (PEXPIREAT, EXAT, PXAT), as servers since Redis 7.0 do",
		},
		{unit("SET a 1 PX 10"), "send the time itself"},
		{unit("MSETEX 1 a 1 PX 10"), "send the time itself"},
		{unit("EXPIRE s 10"), "send the time itself"},
		{unit("pexpire s 10"), "send the time itself"},
		{unit("SETEX s 10 v"), "send the time itself"},
		{unit("PSETEX s 10 v"), "send the time itself"},
		{unit("GETEX s EX 10"), "unknown or unsupported"},
		{unit("RESTORE r 10 x"), "unknown or unsupported"},
		{unit("PEXPIREAT s 01"), "ERR value is not an integer or out of range"},
		{unit("EXPIREAT s 9223372036854775807"), "ERR invalid expire time in 'expireat' command"},
		{unit("RENAME none a"), "ERR no such key"},
		{unit("SELECT 1"), "ERR only database 0 is supported"},
		{unit("FLUSHALL NOW"), "ERR syntax error"},
		{unit("MULTI", "MULTI"), "ERR MULTI calls can not be nested"},
		{unit("EXEC"), "ERR EXEC without MULTI"},
		{unit("MULTI", "SET a 1"), "stage unit: it ends between MULTI and EXEC"},
		{
			[]byte("SET a 1\r\n"),
			"stage command 2 at byte 32: Protocol error: expected '*', got 'S'",
		},
		{
			append(unit("SET a 1"), "*1\r\n$4\r\nPI"...),
			"stage command 3 at byte 59: incomplete command",
		},
	} {
		k := keyspace.New(keyspace.Options{})
		mustApply(t, k, unit("SET s text"))
		err := k.Stage(append(unit("SET before 1"), c.unit...))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.unit, err, c.want)
		}
		k.Publish()
		if _, ok := k.Get("before"); ok || k.Len() != 1 {
			t.Errorf("%q: a rejected unit has changed keys", c.unit)
		}
	}
}

func TestStageOnce(t *testing.T) {
	k := keyspace.New(keyspace.Options{})
	if err := k.Stage(unit("SET a 1")); err != nil {
		t.Fatal(err)
	}
	if _, ok := k.Get("a"); ok {
		t.Fatal("a staged key is visible")
	}
	if err := k.Stage(unit("SET b 1")); err == nil {
		t.Fatal("two units were staged")
	}
	k.Publish()
	if _, ok := k.Get("a"); !ok {
		t.Fatal("a published key is missing")
	}
}

func TestExpiry(t *testing.T) {
	now := int64(1000)
	k := keyspace.New(keyspace.Options{Now: func() int64 { return now }})
	mustApply(
		t, k,
		unit("SET a 1 PXAT 501", "SET b 1 PXAT 1001", "SET c 1 PXAT 700", "SET d 1", "HSET h f v",
			"PEXPIREAT h 600", "SET e 1", "EXPIREAT e -5", "MULTI", "PING", "SELECT 0",
			"REPLCONF GETACK *", "EXEC"),
	)
	for _, c := range []struct {
		at   int64
		live string
		due  string
	}{
		{2, "a b c d h", "e"},
		{501, "a b c d h", "e"},
		{502, "b c d h", "e a"},
		{601, "b c d", "e a h"},
		{5000, "d", "e a h c b"},
	} {
		now = c.at
		var live, due []string
		for _, key := range []string{"a", "b", "c", "d", "e", "h"} {
			if call(k, 2, "EXISTS", key) == ":1\r\n" {
				live = append(live, key)
			}
		}
		keys, _ := k.Expired(c.at, 100, 100)
		for _, key := range keys {
			due = append(due, string(key))
		}
		if strings.Join(live, " ") != c.live || strings.Join(due, " ") != c.due {
			t.Errorf("at %d: %q live, %q due; want %q, %q", c.at, live, due, c.live, c.due)
		}
	}
	got := call(k, 2, "KEYS", "*") + call(k, 2, "RANDOMKEY") + call(k, 2, "SCAN", "0")
	if got != "*1\r\n$1\r\nd\r\n"+"$1\r\nd\r\n"+"*2\r\n$1\r\n0\r\n*1\r\n$1\r\nd\r\n" {
		t.Errorf("expired keys are shown: %q", got)
	}
	if keys, expires, _ := k.Counts(); keys != 6 || expires != 5 {
		t.Errorf("Counts() = %d, %d", keys, expires)
	}
	mustApply(t, k, unit("DEL a b c e h"))
	if due, more := k.Expired(9999, 10, 10); due != nil || more || k.Len() != 1 {
		t.Errorf("still due: %q, more: %v", due, more)
	}
}

func TestHidden(t *testing.T) {
	k := keyspace.New(keyspace.Options{HiddenPrefix: "rowfall:state:"})
	mustApply(t, k, unit("SET rowfall:state:x 1"))
	for _, words := range []string{"KEYS *", "DBSIZE", "SCAN 0", "RANDOMKEY"} {
		want := map[string]string{
			"KEYS *": "*0\r\n", "DBSIZE": ":0\r\n", "SCAN 0": "*2\r\n$1\r\n0\r\n*0\r\n",
			"RANDOMKEY": "$-1\r\n",
		}[words]
		if got := call(k, 2, strings.Fields(words)...); got != want {
			t.Errorf("%s: %q", words, got)
		}
	}
	if got := call(k, 2, "GET", "rowfall:state:x"); got != "$1\r\n1\r\n" {
		t.Errorf("GET: %q", got)
	}
	n := 0
	k.Each("rowfall:", func(string) { n++ })
	mustApply(t, k, unit("SET seen 1", "RENAME rowfall:state:x also"))
	if k.Len() != 2 || n != 1 {
		t.Errorf("Len() = %d after a rename, Each saw %d", k.Len(), n)
	}
}

func TestFlushInsideUnit(t *testing.T) {
	k := keyspace.New(keyspace.Options{})
	mustApply(t, k, unit("SET a 1 PXAT 5", "SET b 1"))
	before := k.Snapshot()
	if err := k.Stage(unit("MULTI", "SET c 1", "FLUSHALL", "SET b 2", "EXEC")); err != nil {
		t.Fatal(err)
	}
	k.Discard()
	if k.Len() != 2 {
		t.Fatal("a discarded flush has changed keys")
	}
	mustApply(t, k, unit("MULTI", "SET c 1", "FLUSHALL", "SET b 2", "EXEC"))
	due, _ := k.Expired(9, 9, 9)
	if b, _ := k.Get("b"); k.Len() != 1 || string(b) != "2" || len(due) != 0 {
		t.Fatalf("after the flush: %d keys, b = %s", k.Len(), b)
	}
	if keys, expires := before.Len(); keys != 2 || expires != 1 {
		t.Fatalf("the snapshot has %d keys", keys)
	}
	if err := before.Each(func(keyspace.Entry) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := before.Each(func(keyspace.Entry) error { return nil }); err == nil {
		t.Fatal("a snapshot was read twice")
	}
	before.Close()
	before.Close()
}

func TestLoader(t *testing.T) {
	k := keyspace.New(keyspace.Options{})
	l := k.Loader()
	wide := make([][]byte, 1000)
	scores := make([]float64, len(wide))
	for i := range wide {
		wide[i], scores[i] = fmt.Appendf(nil, "m%d", i), float64(-i)
	}
	for name, err := range map[string]error{
		"string": l.String([]byte("s"), []byte("text"), 50),
		"hash":   l.Hash([]byte("h"), args("f", "v", "g", "w"), 0),
		"big":    l.Hash([]byte("bh"), wide, 0),
		"set":    l.Set([]byte("set"), wide, 0),
		"zset":   l.SortedSet([]byte("z"), wide, scores, 0),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for want, err := range map[string]error{
		`load key "s": duplicate key`:    l.Set([]byte("s"), wide, 0),
		`load key "a": duplicate field`:  l.Hash([]byte("a"), args("f", "v", "f", "w"), 0),
		`load key "b": duplicate member`: l.Set([]byte("b"), args("m", "m"), 0),
		`load key "c": duplicate member`: l.SortedSet([]byte("c"), args("m", "m"), scores[:2], 0),
		`load key "d": empty set`:        l.Set([]byte("d"), nil, 0),
	} {
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	got := call(k, 2, "ZRANGE", "z", "0", "0") + call(k, 2, "HLEN", "bh") + call(k, 2, "DBSIZE")
	if got != "*1\r\n$4\r\nm999\r\n:500\r\n:5\r\n" {
		t.Errorf("loaded: %q", got)
	}
	if got, more := k.Expired(51, 9, 9); len(got) != 1 || more {
		t.Errorf("Expired() = %q", got)
	}
	mustApply(t, k, unit("DEL set z", "HDEL bh m0"))
	if fields, ok := k.HashFields("h"); !ok || fields["g"] != "w" || len(fields) != 2 {
		t.Errorf("HashFields() = %v", fields)
	}
}

func TestAll(t *testing.T) {
	rows := maps.Collect(keyspace.All())
	for _, name := range []string{"SET", "INCR", "LPUSH", "XADD", "FLUSHALL", "EXPIRE"} {
		if r, ok := rows[name]; !ok || r.IsRead() {
			t.Errorf("%s is not a write command", name)
		}
	}
	for _, name := range []string{"GET", "SCAN"} {
		if !rows[name].IsRead() {
			t.Errorf("%s is not a read command", name)
		}
	}
	for _, name := range []string{"PING", "MULTI", "EXEC", "SELECT", ""} {
		if _, ok := rows[name]; ok {
			t.Errorf("%q is a command of the keyspace", name)
		}
	}
}

func TestParseInt(t *testing.T) {
	for s, want := range map[string]bool{
		"0": true, "-1": true, "9223372036854775807": true, "-9223372036854775808": true,
		"9223372036854775808": false, "-9223372036854775809": false,
		"-0": false, "": false, "-": false, "007": false,
		"1x": false, "99999999999999999999": false,
	} {
		if _, ok := keyspace.ParseInt([]byte(s)); ok != want {
			t.Errorf("%q: %v", s, ok)
		}
	}
}

// For arbitrary bytes: no panic, a rejected unit changes nothing, and the published keys equal
// those of a fresh keyspace that stages the same bytes.
func FuzzStage(f *testing.F) {
	for _, l := range []string{
		"SET a 1 PXAT 5", "HSET h f v f w g x", "HDEL h f g", "SADD s a b c", "SREM s a",
		"ZADD z 1 a -inf b", "ZREM z a",
		"DEL a s", "RENAME h i", "PERSIST a", "PEXPIREAT h 99 GT", "FLUSHALL", "MULTI", "EXEC",
		"SELECT 0", "COPY h i REPLACE",
		"INCRBY a 5", "APPEND a x", "SETRANGE a 9 x", "SETBIT a 99 1", "BITOP XOR b a a",
		"MSETEX 1 a b NX PXAT 9", "HSETEX h FNX FIELDS 1 f v",
		"HINCRBY h f 1", "HGETDEL h FIELDS 1 f", "SMOVE s t a", "SDIFFSTORE d s t",
		"ZADD z XX GT INCR 1 a", "ZPOPMIN z 2",
		"ZREMRANGEBYSCORE z (1 inf", "ZUNIONSTORE d 2 z s WEIGHTS 1 2 AGGREGATE MAX",
		"ZRANGESTORE d z [a + BYLEX REV LIMIT 0 1",
		"LPUSH l a b", "RPOP l 2", "LMOVE l l LEFT RIGHT", "LINSERT l BEFORE b x", "LREM l -1 a",
		"LSET l -1 b", "LTRIM l 1 -1",
		"XADD x NOMKSTREAM MAXLEN = 5 1-2 f v", "XADD x 1-1 f v g w", "XDEL x 1-1",
		"XTRIM x MINID 1-2", "XSETID x 9-9 ENTRIESADDED 7 MAXDELETEDID 1-1",
	} {
		f.Add(unit("SET a 1", l), unit(l, "HSET h f v", l))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		k, other := keyspace.New(keyspace.Options{}), keyspace.New(keyspace.Options{})
		if k.Stage(first) != nil {
			return
		}
		k.Publish()
		mustApply(t, other, first)
		if k.Stage(second) == nil {
			k.Discard()
		}
		if a, b := dump(t, k), dump(t, other); a != b {
			t.Fatalf("rejected units have changed keys:\n%s\nwant\n%s", a, b)
		}
	})
}

func dump(t *testing.T, k *keyspace.Keyspace) string {
	all := map[string]bool{}
	s := k.Snapshot()
	defer s.Close()
	var lines []string
	if err := s.Each(func(e keyspace.Entry) error {
		if all[string(e.Key)] {
			t.Fatalf("key %q comes twice", e.Key)
		}
		all[string(e.Key)] = true
		lines = append(lines, fmt.Sprintf("%q %s", e.Key, canonicalEntry(t, e)))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

// For arbitrary arguments of any read command: a single reply, no panic.
func FuzzExecute(f *testing.F) {
	for _, l := range []string{
		"GET s", "SCAN 5 MATCH [a-\\ COUNT 3 TYPE hash", "ZRANGE z 0 -1 REV LIMIT 1 2",
		"ZRANGE z (1 +inf BYSCORE WITHSCORES",
		"HSCAN big 77 COUNT 9", "SRANDMEMBER set -5", "ZRANK z a WITHSCORE", "OBJECT ENCODING h",
		"KEYS *[^", "GETRANGE s -5 9999999999",
	} {
		f.Add(unit(l), true)
	}
	k := keyspace.New(keyspace.Options{})
	u := unit("SET s text", "HSET h f v", "SADD set a b c", "ZADD z 1 a 2 b -inf c")
	for i := range 400 {
		u = resp.AppendCommand(u, "HSET", "big", fmt.Sprint(i), "v")
		u = resp.AppendCommand(u, "ZADD", "bigz", fmt.Sprint(i%7), fmt.Sprint(i))
	}
	mustApply(f, k, u)
	f.Fuzz(func(t *testing.T, command []byte, three bool) {
		words, _, err := resp.ParseCommand(command, nil)
		if err != nil {
			return
		}
		proto := 2
		if three {
			proto = 3
		}
		out, handled := keyspace.Reply(k, []byte("x"), proto, words)
		if out[0] != 'x' || handled != (len(out) > 1) ||
			handled && !strings.HasSuffix(string(out), "\r\n") {
			t.Fatalf("%q: %q %v", words, out, handled)
		}
	})
}

// A copy and its original change independently, also in the unit that copies, and if that unit
// changed the original before.
func TestCopy(t *testing.T) {
	many := func(name string, each func(i int) string) string {
		var b strings.Builder
		b.WriteString(name)
		for i := range 2000 {
			b.WriteString(" " + each(i))
		}
		return b.String()
	}
	entries := make([]string, 400)
	for i := range entries {
		entries[i] = fmt.Sprintf("XADD KEY %d-1 f value", i+1)
	}
	for kind, c := range map[string]struct {
		fill                  []string
		before, first, second string
	}{
		"string": {[]string{"SET KEY text"}, "APPEND KEY 1", "APPEND KEY 2", "APPEND KEY 3"},
		"hash": {
			[]string{many("HSET KEY", func(i int) string { return fmt.Sprintf("f%d v", i) })},
			"HSET KEY f7 before", "HSET KEY f7 first f8 first", "HDEL KEY f7 f9",
		},
		"set": {
			[]string{many("SADD KEY", func(i int) string { return fmt.Sprintf("m%d", i) })},
			"SADD KEY before", "SREM KEY m1 m2", "SADD KEY second",
		},
		"sorted set": {
			[]string{many("ZADD KEY", func(i int) string { return fmt.Sprintf("%d m%d", i%7, i) })},
			"ZADD KEY 9 m9", "ZADD KEY 8 m9 8 m10", "ZREMRANGEBYRANK KEY 0 9",
		},
		"list": {
			[]string{many("RPUSH KEY", func(i int) string { return fmt.Sprintf("i%d", i) })},
			"LPUSH KEY before", "LSET KEY 0 first", "LPOP KEY 3",
		},
		"stream": {
			entries, "XADD KEY 1000-0 f before", "XADD KEY 1000-1 f first", "XTRIM KEY MAXLEN 10",
		},
	} {
		t.Run(kind, func(t *testing.T) {
			on := func(key string, lines ...string) []byte {
				return unit(
					strings.Split(strings.ReplaceAll(strings.Join(lines, "\n"), "KEY", key),
						"\n")...)
			}
			k, plain := keyspace.New(keyspace.Options{}), keyspace.New(keyspace.Options{})
			mustApply(t, k, on("a", c.fill...))
			mustApply(
				t, k, slices.Concat(on("a", c.before), unit("COPY a b"), on("a", c.first),
					on("b", c.second)),
			)
			mustApply(t, k, slices.Concat(on("b", c.first), on("a", c.second)))
			mustApply(t, plain, slices.Concat(on("a", c.fill...), on("b", c.fill...)))
			mustApply(t, plain, slices.Concat(on("a", c.before), on("b", c.before)))
			mustApply(t, plain, slices.Concat(on("a", c.first), on("b", c.second)))
			mustApply(t, plain, slices.Concat(on("b", c.first), on("a", c.second)))
			if a, b := dump(t, k), dump(t, plain); a != b {
				t.Errorf("is   %.500s\nwant %.500s", a, b)
			}
		})
	}
}
