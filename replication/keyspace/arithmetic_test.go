package keyspace_test

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
)

// cacheKinds are the servers whose arithmetic the keyspace must match.
var cacheKinds = []servers.Kind{
	servers.Redis, servers.RedisStable, servers.Valkey,
	servers.ValkeyStable,
}

// A SET value far below a field's least value saturates at the greatest value, because the distance
// that Redis and Valkey compute wraps around.
func TestBitfieldSaturatesAsRedis(t *testing.T) {
	for _, c := range []struct{ kind, value, want string }{
		{"i8", "-9223372036854775808", "\x7f"},
		{"i8", "-9223372036854775681", "\x7f"}, // the distance is 1<<63
		{"i8", "-9223372036854775680", "\x80"}, // the distance is 1<<63 - 1
		{"i8", "-129", "\x80"},
		{"i8", "9223372036854775807", "\x7f"},
		{"i64", "-9223372036854775808", "\x80\x00\x00\x00\x00\x00\x00\x00"},
		{"u8", "-1", "\xff"},
	} {
		k := keyspace.New(keyspace.Options{})
		unit := resp.AppendCommand(nil, "BITFIELD", "k", "OVERFLOW", "SAT", "SET", c.kind, "0",
			c.value)
		if err := k.Stage(unit); err != nil {
			t.Fatal(err)
		}
		k.Publish()
		want := string(resp.AppendBulkString(nil, c.want))
		if got := call(k, 2, "GET", "k"); got != want {
			t.Errorf("SET %s %s stores %q, want %q", c.kind, c.value, got, want)
		}
	}
}

// edgesOf returns the integers around the limits of a field, and around those of 64 bits.
func edgesOf(signed bool, bits int) (edges []int64) {
	least, greatest := int64(0), int64(1)<<bits-1
	if signed {
		greatest = int64(1)<<(bits-1) - 1
		least = -greatest - 1
	}
	seen := map[int64]bool{}
	for _, around := range []int64{
		0, least, greatest, math.MinInt64, math.MinInt64 + greatest, math.MaxInt64,
		math.MaxInt64 + least,
	} {
		for d := range int64(3) {
			if v := around + d - 1; !seen[v] { // wraps around at both ends
				seen[v] = true
				edges = append(edges, v)
			}
		}
	}
	return edges
}

// BITFIELD stores the same bytes here and on real servers, for each width, sign and overflow mode,
// with values and increments at all limits.
func TestBitfieldEqualsServers(t *testing.T) {
	for _, kind := range cacheKinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			c := dial(t, servertest.Cache(t, kind, servers.CacheOptions{}).Addr())
			for bits := 1; bits <= 64; bits++ {
				compareField(t, c, fmt.Sprintf("i%d", bits), edgesOf(true, bits))
				if bits < 64 {
					compareField(t, c, fmt.Sprintf("u%d", bits), edgesOf(false, bits))
				}
			}
		})
	}
}

// compareField compares one type of field. Each pair of value and increment has a field of its own,
// so that one command covers all pairs.
func compareField(t *testing.T, c *connection, kind string, edges []int64) {
	t.Helper()
	for _, mode := range []string{"WRAP", "SAT", "FAIL"} {
		words := []string{"BITFIELD", "k", "OVERFLOW", mode}
		add := func(op string, at int, v int64) {
			words = append(words, op, kind, "#"+strconv.Itoa(at), strconv.FormatInt(v, 10))
		}
		at := 0
		for _, from := range edges {
			add("SET", at, from)
			at++
			for _, by := range edges {
				words = append(words, "OVERFLOW", "WRAP")
				add("SET", at, from)
				words = append(words, "OVERFLOW", mode)
				add("INCRBY", at, by)
				at++
			}
		}
		k := keyspace.New(keyspace.Options{})
		c.call("DEL", "k")
		if reply := c.call(words...); reply[0] == '-' {
			t.Fatal(reply)
		}
		if err := k.Stage(resp.AppendCommand(nil, words...)); err != nil {
			t.Fatal(err)
		}
		k.Publish()
		if got, want := call(k, 2, "GET", "k"), c.call("GET", "k"); got != want {
			t.Errorf("%s %s: %s", kind, mode, firstDifference(words, c, kind))
		}
	}
}

// firstDifference returns the first operation after which the servers disagree.
func firstDifference(words []string, c *connection, kind string) string {
	k := keyspace.New(keyspace.Options{})
	c.call("DEL", "k")
	mode := "WRAP"
	for i := 2; i < len(words); {
		if words[i] == "OVERFLOW" {
			mode = words[i+1]
			i += 2
			continue
		}
		one := []string{
			"BITFIELD", "k", "OVERFLOW", mode, words[i], words[i+1], words[i+2],
			words[i+3],
		}
		c.call(one...)
		if err := k.Stage(resp.AppendCommand(nil, one...)); err != nil {
			return err.Error()
		}
		k.Publish()
		got, want := call(k, 2, "GET", "k"), c.call("GET", "k")
		if got != want {
			return fmt.Sprintf("%q: got %q, want %q", one, got[max(0, len(got)-40):],
				want[max(0, len(want)-40):])
		}
		i += 4
	}
	return "only together, " + kind
}

// Other commands take integers and offsets, too. A command with limits of 64 bits, or of the
// server's own types, that a real server accepts gives the same value here.
func TestArithmeticEqualsServers(t *testing.T) {
	edges := []string{
		"-9223372036854775809", "-9223372036854775808", "-9223372036854775807", "-4294967297",
		"-4294967296", "-2147483649", "-6", "-1",
		"0", "1", "5", "2147483648", "4294967295", "4294967296", "9223372036854775806",
		"9223372036854775807", "9223372036854775808", "+1", " 1", "",
	}
	reads := []string{
		"GETRANGE t @ @", "LRANGE l @ @", "LINDEX l @", "LPOS l b COUNT @", "LPOS l b MAXLEN @",
		"ZRANGE z @ @", "ZRANGE z @ @ REV", "ZRANGEBYSCORE z @ @",
		"ZRANGEBYSCORE z -inf +inf LIMIT 0 @", "ZRANGEBYSCORE z -inf +inf LIMIT 1 @",
		"ZREVRANGEBYSCORE z +inf -inf LIMIT 1 @", "XRANGE s @ @", "XRANGE s - + COUNT @",
	}
	writes := []string{
		"SET n @|INCRBY n @", "SET n @|DECRBY n @", "SET n @|INCR n", "SET n @|DECR n",
		"HSET h f @|HINCRBY h f @",
		"LTRIM l @ 3", "LTRIM l 1 @", "LSET l @ x", "LREM l @ b", "ZREMRANGEBYRANK z @ 2",
		"ZREMRANGEBYSCORE z @ 2", "ZREMRANGEBYSCORE z ( @",
		"XTRIM s MAXLEN @", "XTRIM s MINID @", "XDEL s @-1", "SETBIT n @ 0", "SETBIT n 1 @",
		"SETRANGE n @ ",
	}
	for _, kind := range cacheKinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			c := dial(t, servertest.Cache(t, kind, servers.CacheOptions{}).Addr())
			k := keyspace.New(keyspace.Options{})
			prepared := strings.Split(
				"DEL~n~h~l~z~s|SET~t~abcdef|RPUSH~l~a~b~c~b~d~b|ZADD~z~-1~a~1~b~3~c~4~d|"+
					"XADD~s~1-1~f~v|XADD~s~2-1~f~v|XADD~s~3-1~f~v",
				"|",
			)
			prepare := func() {
				for _, line := range prepared {
					compareWrite(t, c, k, line)
				}
			}
			prepare()
			eachFilled(reads, edges, func(line string) { compareRead(t, c, k, line, line) })
			eachFilled(writes, edges, func(lines string) {
				prepare()
				for line := range strings.SplitSeq(lines, "|") {
					compareWrite(t, c, k, line)
				}
				for _, read := range []string{
					"GET~n", "HGETALL~h", "LRANGE~l~0~-1", "ZRANGE~z~0~-1~WITHSCORES",
					"XRANGE~s~-~+",
				} {
					compareRead(t, c, k, read, lines)
				}
			})
		})
	}
}

// eachFilled puts all limits, and all pairs of limits, into the placeholders of the templates.
// Words are separated by "~", because a limit may contain a space.
func eachFilled(templates, edges []string, do func(line string)) {
	for _, template := range templates {
		template = strings.ReplaceAll(template, " ", "~")
		if strings.Count(template, "@") < 2 {
			for _, e := range edges {
				do(strings.Replace(template, "@", e, 1))
			}
			continue
		}
		for _, e := range edges {
			for _, f := range edges {
				do(strings.Replace(strings.Replace(template, "@", e, 1), "@", f, 1))
			}
		}
	}
}

// compareWrite executes a command on the server, and here if the server accepted it, as a replica
// does.
func compareWrite(t *testing.T, c *connection, k *keyspace.Keyspace, line string) {
	t.Helper()
	words := strings.Split(line, "~")
	if reply := c.call(words...); reply[0] == '-' {
		return
	}
	if err := k.Stage(resp.AppendCommand(nil, words...)); err != nil {
		t.Errorf("%q is accepted by the server: %v", line, err)
	}
	k.Publish()
}

// compareRead compares the replies to a command after setup commands, unless the server rejects it.
func compareRead(t *testing.T, c *connection, k *keyspace.Keyspace, line, after string) {
	t.Helper()
	words := strings.Split(line, "~")
	if got, want := call(k, 2, words...), c.call(words...); got != want && want[0] != '-' {
		t.Errorf("%q, then %q: got %q, want %q", after, line, got, want)
	}
}
