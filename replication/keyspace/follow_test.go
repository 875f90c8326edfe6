package keyspace_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
)

// replica is a keyspace that follows a real server: it stages the commands that the server sends to
// its replicas.
type replica struct {
	t    testing.TB
	k    *keyspace.Keyspace
	r    *resp.Reader
	seen map[string]int // commands by name
	last []string       // the most recent commands, for messages

	asked map[bool]int // number of questions, by whether the reply was not an error
}

// follow connects to an empty server as a replica does.
func follow(t testing.TB, addr string) *replica {
	t.Helper()
	c := dial(t, addr)
	if _, err := io.WriteString(c.conn, "PSYNC ? -1\r\n"); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "$"); ok {
			size, _ := strconv.ParseInt(n, 10, 64)
			if _, err := io.CopyN(io.Discard, c.r, size); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	return &replica{
		t: t, k: keyspace.New(keyspace.Options{}),
		r: resp.NewReader(bufio.NewReader(c.r),
			1<<16), seen: map[string]int{}, asked: map[bool]int{},
	}
}

// until stages all units up to the one that sets the mark.
func (f *replica) until(mark string) {
	f.t.Helper()
	var unit []byte
	multi := false
	for {
		args, _, err := f.r.ReadCommand()
		if err != nil {
			f.t.Fatal(err)
		}
		if len(args) == 0 {
			continue
		}
		words := texts(args)
		name := strings.ToUpper(words[0])
		f.seen[name]++
		if f.last = append(f.last, fmt.Sprintf("%.100q", words)); len(f.last) > 12 {
			f.last = f.last[1:]
		}
		unit = resp.AppendCommand(unit, words...)
		switch name {
		case "MULTI":
			multi = true
		case "EXEC":
			multi = false
		}
		if multi {
			continue
		}
		if err := f.k.Stage(unit); err != nil {
			f.t.Fatalf("%v\nafter\n%s", err, strings.Join(f.last, "\n"))
		}
		f.k.Publish()
		unit = unit[:0]
		if name == "SET" && len(words) == 3 && words[1] == "mark" && words[2] == mark {
			return
		}
	}
}

// followed are the commands of which the server must have sent most by the end of TestFollowRedis.
var followed = strings.Fields(
	`APPEND BITFIELD BITOP COPY DECR DECRBY DEL EXEC FLUSHALL FLUSHDB HDEL HINCRBY HMSET HSET HSETNX
	INCR INCRBY LINSERT LMOVE LPOP LPUSH LPUSHX LREM LSET LTRIM MSET MSETNX MULTI PERSIST
	PEXPIREAT PUBLISH RENAME RENAMENX RPOP RPOPLPUSH RPUSH RPUSHX SADD SDIFFSTORE SELECT SET
	SETBIT SETNX SETRANGE SINTERSTORE SMOVE SREM SUNIONSTORE UNLINK XADD XDEL XSETID XTRIM ZADD
	ZDIFFSTORE ZINCRBY ZINTERSTORE ZPOPMAX ZPOPMIN
	ZRANGESTORE ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZUNIONSTORE`,
)

// The commands that a real server sends to its replicas, while clients run random commands, produce
// the same keys here.
func TestFollowRedis(t *testing.T) {
	rounds := 40
	if os.Getenv("ROWFALL_LONG") != "" {
		rounds = 300
	}
	for _, kind := range []servers.Kind{
		servers.RedisStable, servers.Redis, servers.Valkey, servers.ValkeyStable,
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			server := servertest.Cache(t, kind, servers.CacheOptions{Args: []string{
				"--repl-diskless-sync-delay", "0", "--repl-timeout", "3600", "--hz", "500",
				"--stream-node-max-entries", "7",
			}})
			client, client3, f := dial(t, server.Addr()), dial(t, server.Addr()), follow(t,
				server.Addr())
			client3.call("HELLO", "3")
			for round := range rounds {
				c := &traffic{
					r:    rand.New(rand.NewPCG(uint64(round), 3)),
					wide: []int{10, 60, 300}[round%3], stream: round * 1_000_000,
				}
				for range 150 {
					c.do(client)
				}
				mark := fmt.Sprint(round)
				for attempt := 0; ; attempt++ {
					client.call("SET", "mark", mark)
					f.until(mark)
					difference := f.compare(client)
					if difference == "" {
						break
					}
					// A key may have expired between the two questions.
					if attempt == 3 {
						t.Fatalf("round %d: %s\nafter\n%s", round, difference,
							strings.Join(f.last, "\n"))
					}
					mark = fmt.Sprint(round, "-", attempt)
				}
				if err := f.k.Stray(); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
				f.interrogate(c, client, client3)
			}
			if f.asked[true] < f.asked[false]/3 {
				t.Errorf("%d questions got no error, %d did", f.asked[true], f.asked[false])
			}
			for _, name := range followed {
				if f.seen[name] == 0 {
					t.Errorf("%s was never sent", name)
				}
			}
			t.Log(slices.Sorted(maps.Keys(f.seen)))
		})
	}
}

// do runs a client's command, transaction or script.
func (c *traffic) do(client *connection) {
	switch c.r.IntN(12) {
	case 0:
		client.call("MULTI")
		for range 1 + c.r.IntN(8) {
			client.call(c.command()...)
		}
		client.call("EXEC")
	case 1:
		var all [][]string
		for range 1 + c.r.IntN(8) {
			all = append(all, c.command())
		}
		client.call(script(all)...)
	default:
		client.call(c.command()...)
	}
}

// scores prints members and scores in one form, because versions print them differently, and -0 is
// 0 in small sorted sets of Redis.
func scores(t testing.TB, reply string) string {
	all := elements(t, reply)
	for i := 1; i < len(all); i += 2 {
		score, err := strconv.ParseFloat(all[i], 64)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = fmt.Sprint(score + 0)
	}
	return fmt.Sprintf("%q", all)
}

// radix matches the parts of a reply about the server's own radix trees.
var radix = regexp.MustCompile(`(radix-tree-\w+\r\n):\d+`)

// compare sends questions about every key to the server and the keyspace, and returns the first
// difference.
func (f *replica) compare(client *connection) string {
	f.t.Helper()
	ask := func(size int, words ...string) (got, want string) {
		want, got = client.call(words...), call(f.k, 2, words...)
		if size > 0 && want[0] != '-' && got[0] != '-' {
			want, got = unordered(f.t, want, size), unordered(f.t, got, size)
		}
		if words[0] == "ZRANGE" {
			got, want = scores(f.t, got), scores(f.t, want)
		}
		return radix.ReplaceAllString(got, "$1"), radix.ReplaceAllString(want, "$1")
	}
	got, want := ask(1, "KEYS", "*")
	if got != want {
		return fmt.Sprintf("keys are %q, want %q", got, want)
	}
	for _, key := range elements(f.t, want) {
		kind := strings.TrimSpace(strings.TrimPrefix(client.call("TYPE", key), "+"))
		questions := map[string][][]string{
			"string": {{"GET", key}},
			"hash":   {{"HGETALL", key}},
			"set":    {{"SMEMBERS", key}},
			"zset":   {{"ZRANGE", key, "0", "-1", "WITHSCORES"}},
			"list":   {{"LRANGE", key, "0", "-1"}},
			"stream": {
				{"XRANGE", key, "-", "+"}, {"XINFO", "STREAM", key}, {"OBJECT", "ENCODING", key},
			},
		}[kind]
		for _, q := range append(questions, []string{"TYPE", key}, []string{"PEXPIRETIME", key}) {
			size := map[string]int{"HGETALL": 2, "SMEMBERS": 1}[q[0]]
			if got, want := ask(size, q...); got != want {
				return fmt.Sprintf("%q\n is   %.2000q\n want %.2000q", q, got, want)
			}
		}
	}
	return ""
}

// questions returns reads of everything in a list or a stream, and invalid reads.
func (c *traffic) questions() [][]string {
	l, x := c.key("l"), c.key("x")
	id := func() string {
		return c.one("-", "+", "(", "", c.one("", "(")+c.oldID(), c.oldID(),
			fmt.Sprint(5_000_000_000_000+c.stream-c.r.IntN(c.wide)), "(-", "0-0", "(0-0",
			"18446744073709551615-18446744073709551615",
			"(18446744073709551615-18446744073709551615", "1-x", "x")
	}
	count := c.oneOf(nil, nil, line("COUNT", c.n(6)), line("COUNT", "-1"), line("COUNT", "x"),
		line("COUNT"), line("WHAT", "1"))
	since := func() string {
		return c.one("0", "$", c.oldID(), c.oldID(), "x",
			"18446744073709551615-18446744073709551615")
	}
	return [][]string{
		line("LRANGE", l, c.index(), c.index()),
		line("LRANGE", l, "x", "1"), line("LRANGE", l, "0", "-1"), line("LLEN", l),
		line("LINDEX", l, c.index()), line("LINDEX", l, "x"), line("LINDEX", l, "0"),
		line("LPOS", l, c.member(), c.maybe("RANK", fmt.Sprint(c.r.IntN(7)-3)),
			c.maybe("COUNT", c.n(4)), c.maybe("MAXLEN", c.n(c.wide))),
		line("LPOS", l, c.member(), c.one("RANK", "COUNT", "MAXLEN", "WHAT"),
			c.one("x", "-1", "9223372036854775807")),
		line("LPOS", l, c.member(), "RANK"),
		line("XRANGE", x, id(), id(), count), line("XREVRANGE", x, id(), id(), count),
		line("XRANGE", x, c.oldID(), c.oldID(), count),
		line("XREVRANGE", x, c.oldID(), c.oldID(), count),
		line(
			"XLEN", x,
		),
		line("XINFO", "STREAM", x), line("XINFO", "GROUPS", x),
		line("XINFO", "CONSUMERS", x, "g"),
		line("XINFO", "STREAM"), line("XINFO", "WHAT", x), line("XINFO", "STREAM", x, "WHAT"),
		line("XREAD", count, "STREAMS", x,
			since()), line("XREAD", "STREAMS", x, c.key("x"), since(), since()),
		line("XREAD", "BLOCK", c.one("1", "-1", "x"), "STREAMS", x,
			c.one("$", "x")), line("XREAD", "STREAMS"), line("XREAD", "COUNT", "1", x, "0"),
		line("XREAD", "GROUP", "g", "c", "STREAMS", x,
			">"), line("XREAD", "NOACK", "STREAMS", x, "0"),
		line("TYPE", l), line("TYPE", x),
	}
}

// interrogate compares replies byte for byte, in protocols 2 and 3.
func (f *replica) interrogate(c *traffic, client2, client3 *connection) {
	f.t.Helper()
	for range 6 {
		for _, q := range c.questions() {
			for proto, client := range map[int]*connection{2: client2, 3: client3} {
				want := radix.ReplaceAllString(client.call(q...), "$1")
				got := radix.ReplaceAllString(call(f.k, proto, q...), "$1")
				if got != want {
					f.t.Fatalf("protocol %d, %q\n is   %.1000q\n want %.1000q", proto, q, got, want)
				}
				f.asked[want[0] != '-']++
			}
		}
	}
}
