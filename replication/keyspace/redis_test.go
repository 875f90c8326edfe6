package keyspace_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
)

// connection is a connection to a real server.
type connection struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func dial(t testing.TB, addr string) *connection {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &connection{t, c, bufio.NewReader(c)}
}

func (c *connection) call(words ...string) string {
	c.t.Helper()
	if _, err := c.conn.Write(resp.AppendCommand(nil, words...)); err != nil {
		c.t.Fatal(err)
	}
	return readReply(c.t, c.r)
}

// readReply returns the bytes of one reply of either protocol.
func readReply(t testing.TB, r *bufio.Reader) string {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	var b strings.Builder
	b.WriteString(line)
	switch line[0] {
	case '$', '=':
		if n >= 0 {
			body := make([]byte, n+2)
			if _, err := io.ReadFull(r, body); err != nil {
				t.Fatal(err)
			}
			b.Write(body)
		}
	case '%':
		n *= 2
		fallthrough
	case '*', '~', '>':
		for range n {
			b.WriteString(readReply(t, r))
		}
	}
	return b.String()
}

// anyKey reports whether a reply contains a key that a server has.
func anyKey(reply string, c *connection) string {
	name := strings.Split(reply, "\r\n")
	return name[0][:1] + c.call("EXISTS", name[len(name)-2])
}

// roughly removes the part below an hour of a time in milliseconds.
func roughly(reply string) string {
	ms, err := strconv.ParseInt(strings.TrimSpace(reply[1:]), 10, 64)
	if err != nil || ms < 0 {
		return reply
	}
	return fmt.Sprint((ms + 1_800_000) / 3_600_000)
}

// scanned is the start of a reply of a completed scan.
const scanned = "*2\r\n$1\r\n0\r\n"

// unordered sorts the elements of a reply, in groups of size elements that belong together.
func unordered(t testing.TB, reply string, size int) string {
	t.Helper()
	r := bufio.NewReader(strings.NewReader(reply))
	head, _ := r.ReadString('\n')
	if strings.HasPrefix(reply, scanned) {
		r.Discard(len(scanned) - len(head)) //nolint:errcheck // the bytes were read above
		line, _ := r.ReadString('\n')
		head = scanned + line
	}
	var all []string
	for _, err := r.Peek(1); err == nil; _, err = r.Peek(1) {
		var one string
		for range size {
			one += readReply(t, r)
		}
		all = append(all, one)
	}
	slices.Sort(all)
	return head + strings.Join(all, "")
}

// questions returns reads of everything in one key, with random bounds.
func questions(r *rand.Rand, key string, wide int) [][]string {
	m := func() string { return fmt.Sprintf("member-%d", r.IntN(wide)) }
	rank := func() string { return fmt.Sprint(r.IntN(20) - 10) }
	score := func() string {
		s := fmt.Sprint(float64(r.IntN(41)-20) / 4)
		return []string{s, "(" + s, "-inf", "+inf", "(inf", s, "x"}[r.IntN(7)]
	}
	lex := func() string {
		return []string{"-", "+", "[" + m(), "(" + m(), "[", "(", m()}[r.IntN(7)]
	}
	// No negative offset, because Redis treats it differently by encoding and version.
	limit := []string{"LIMIT", fmt.Sprint(r.IntN(6)), fmt.Sprint(r.IntN(6) - 1)}
	with := func(words ...string) []string {
		if r.IntN(2) == 0 {
			words = append(words, limit...)
		}
		if r.IntN(3) == 0 {
			words = append(words, "WITHSCORES")
		}
		return words
	}
	return [][]string{
		{"GET", key},
		{"MGET", key, key + "1", "k:1"},
		{"STRLEN", key},
		{"GETRANGE", key, rank(), rank()},
		{"EXISTS", key, key, "k:1"},
		{"TYPE", key},
		{"TTL", key},
		{"PTTL", key},
		{"TOUCH", key, key, "k:1", "nobody"},
		{"EXPIRETIME", key},
		{"PEXPIRETIME", key},
		{"HGET", key, m()},
		{"HMGET", key, m(), m(), m()},
		{"HGETALL", key},
		{"HKEYS", key},
		{"HVALS", key},
		{"HLEN", key},
		{"HEXISTS", key, m()},
		{"HSTRLEN", key, m()},
		{"SMEMBERS", key},
		{"SISMEMBER", key, m()},
		{"SMISMEMBER", key, m(), m(), m()},
		{"SCARD", key},
		with("ZRANGE", key, rank(), rank()), with("ZRANGE", key, rank(), rank(), "REV"),
		with("ZRANGE", key, score(), score(),
			"BYSCORE"), with("ZRANGE", key, score(), score(), "BYSCORE", "REV"),
		with("ZRANGE", key, lex(), lex(), "BYLEX", "LIMIT", "0"),
		with("ZREVRANGE", key, rank(), rank()), with("ZRANGEBYSCORE", key, score(), score()),
		with("ZREVRANGEBYSCORE", key, score(), score()),
		{"ZSCORE", key, m()},
		{"ZMSCORE", key, m(), m()},
		{"ZCARD", key},
		{"ZRANK", key, m()},
		{"ZREVRANK", key, m()},
		{"ZCOUNT", key, score(), score()},
		{"DBSIZE"},
		{"KEYS", "k:[1-3^]*"},
		{"GET"},
		{"HGET", key},
		{"ZRANGE", key, "0"},
		{"ZRANGE", key, "0", "1", "WAT"},
		{"GETRANGE", key, "a", "1"},
		{"SRANDMEMBER", key, "x"},
		{"HSCAN", key, "x"},
		{"SSCAN", key, "0", "COUNT", "0"},
		{"SCAN", "0", "COUNT", "x"},
		{"ZSCAN", key, "0", "MATCH"},
		{"RANDOMKEY"},
		// With such a count a scan ends after one call.
		{"SCAN", "0", "COUNT", "100000"},
		{"SCAN", "0", "COUNT", "100000", "TYPE", "hash"},
		{"SCAN", "0", "MATCH", "k:[1-3]*", "COUNT", "100000"},
		{"HSCAN", key, "0", "COUNT", "100000"},
		{"HSCAN", key, "0", "COUNT", "100000", "MATCH", "member-1*"},
		{"SSCAN", key, "0", "COUNT", "100000"},
		{"SSCAN", key, "0", "COUNT", "100000", "MATCH", "*[02468]"},
		{"ZSCAN", key, "0", "COUNT", "100000"},
		{"ZSCAN", key, "0", "COUNT", "100000", "MATCH", "member-??"},
		{"SCAN", "0", "WAT", "1"},
		{"SCAN", "0", "TYPE"},
		{"HSCAN", key, "0", "COUNT", "0"},
		{"HGETALL", key, "x"},
		{"HMGET", key},
		{"HSTRLEN", key},
		{"SMISMEMBER", key},
		{"ZMSCORE", key},
		{"ZCOUNT", key, "x", "1"},
		{"ZRANGE", key, "0", "-1", "WITHSCORES"},
		{"ZRANGE", key, "a", "1"},
		{"ZRANGE", key, "0", "1", "LIMIT", "0", "1"},
		{"ZRANGE", key, "0", "1", "BYSCORE", "LIMIT", "0"},
		{"ZRANGE", key, "0", "1", "BYSCORE", "LIMIT", "a", "1"},
		{"ZRANGE", key, "0", "1", "BYSCORE", "BYLEX"},
		{"ZRANGE", key, "[a", "[b", "BYLEX", "WITHSCORES"},
		{"ZRANGE", key, "0", "1", "REV", "REV"},
		{"ZREVRANGE", key, "0", "1", "REV"},
		{"ZREVRANGE", key, "0", "1", "LIMIT", "0", "1"},
		{"ZRANGEBYSCORE", key, "0", "1", "REV"},
		{"ZRANGEBYLEX", key, "a", "b"},
		{"SRANDMEMBER", key, "0"},
		{"SRANDMEMBER", key, "1", "2"},
		{"TTL"},
		{"ZRANGEBYLEX", "flat", lex(), lex()},
		{"ZREVRANGEBYLEX", "flat", lex(), lex()},
		{"ZLEXCOUNT", "flat", lex(), lex()},
		append([]string{"ZRANGE", "flat", lex(), lex(), "BYLEX", "REV"}, limit...),
	}
}

// After the same units, a real server gives the same reply to every read command, byte for byte
// where Redis defines an order, in protocols 2 and 3.
func TestRepliesEqualRedis(t *testing.T) {
	for _, kind := range []servers.Kind{servers.Redis, servers.RedisStable, servers.Valkey} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			server := servertest.Cache(t, kind, servers.CacheOptions{})
			c2, c3 := dial(t, server.Addr()), dial(t, server.Addr())
			c3.call("HELLO", "3")
			for round := range uint64(3) {
				c2.call("FLUSHALL")
				r := rand.New(rand.NewPCG(round, 11))
				l := &life{
					r: r, m: model{}, space: 8, wide: []int{12, 60, 300}[round],
					later: 4_000_000_000_000,
				}
				compareLife(t, l, c2, c3)
			}
		})
	}
}

func compareLife(t *testing.T, l *life, c2, c3 *connection) {
	t.Helper()
	k := keyspace.New(keyspace.Options{})
	send := func(unit []byte) {
		args, n, err := resp.ParseCommand(unit, nil)
		if err != nil || n != len(unit) {
			t.Fatal(err)
		}
		reply := c2.call(texts(args)...)
		if err := k.Stage(unit); (err != nil) != (reply[0] == '-') {
			t.Fatalf("%.200q: %q, the server: %q", args, err, reply)
		} else if err != nil && !strings.HasSuffix(err.Error(), strings.TrimSpace(reply[1:])) {
			t.Fatalf("%.200q: %q, the server: %q", args, err, reply)
		}
		k.Publish()
	}
	for i := range 200 {
		send(resp.AppendCommand(nil, "ZADD", "flat", "1", fmt.Sprintf("member-%d", i*7%300)))
	}
	for range 30 {
		for range 10 {
			unit, _ := l.command(nil)
			send(unit)
		}
		for _, q := range questions(l.r, l.key(), l.wide) {
			size := map[string]int{
				"HGETALL": 2, "HKEYS": 1, "HVALS": 1, "SMEMBERS": 1, "KEYS": 1, "SCAN": 1,
				"HSCAN": 2, "SSCAN": 1, "ZSCAN": 2,
			}[q[0]]
			for proto, c := range map[int]*connection{2: c2, 3: c3} {
				want, got := c.call(q...), call(k, proto, q...)
				// the second may have changed between the two
				for n := 0; n < 10 && q[0] == "TTL" && got != want; n++ {
					want, got = c.call(q...), call(k, proto, q...)
				}
				switch {
				case want[0] == '-':
				case q[0] == "RANDOMKEY":
					want, got = anyKey(want, c), anyKey(got, c)
				case q[0] == "PTTL":
					want, got = roughly(want), roughly(got)
				case size > 0:
					want, got = unordered(t, want, size), unordered(t, got, size)
				}
				if got != want {
					t.Fatalf("protocol %d, %q\n is   %.400q\n want %.400q", proto, q, got, want)
				}
			}
		}
	}
}

func texts(args [][]byte) (all []string) {
	for _, a := range args {
		all = append(all, string(a))
	}
	return all
}
