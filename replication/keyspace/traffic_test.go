package keyspace_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// traffic makes random commands of a client.
type traffic struct {
	r      *rand.Rand
	wide   int // number of different members and items
	stream int // the ids of streams so far
}

func (c *traffic) n(n int) string { return fmt.Sprint(c.r.IntN(n)) }

// key returns one of a few keys of a kind (h, l, s, t, x, z), and seldom one of another kind.
func (c *traffic) key(kind string) string {
	if c.r.IntN(200) == 0 {
		kind = c.one("h", "l", "s", "t", "x", "z")
	}
	return kind + c.n(4)
}

func (c *traffic) one(words ...string) string { return words[c.r.IntN(len(words))] }

func (c *traffic) maybe(words ...string) []string {
	if c.r.IntN(2) == 0 {
		return nil
	}
	return words
}

func (c *traffic) some(make func() []string) (all []string) {
	n := 1 + c.r.IntN(4)
	if c.r.IntN(25) == 0 {
		n = 1 + c.r.IntN(200)
	}
	for range n {
		all = append(all, make()...)
	}
	return all
}

func (c *traffic) member() string {
	if c.r.IntN(400) == 0 {
		return strings.Repeat("m", 5000) + c.n(3)
	}
	return "m" + c.n(c.wide)
}

func (c *traffic) members() []string {
	return c.some(func() []string { return []string{c.member()} })
}

func (c *traffic) text() string {
	return c.one("", "0", "7", "-12", "9223372036854775806", "text", "1.5", "007",
		strings.Repeat("long ", 30), c.n(1000))
}

func (c *traffic) score() string {
	return c.one("0", "-0", "1", "2", "3", "-1.5", "0.1", "0.2", "0.3", "inf", "-inf", "1e300",
		"0x10", "+5", ".5", "1e-5", c.n(50))
}

func (c *traffic) index() string { return fmt.Sprint(c.r.IntN(2*c.wide) - c.wide) }

func (c *traffic) side() string { return c.one("LEFT", "RIGHT", "left") }

func (c *traffic) id() string {
	c.stream++
	switch c.r.IntN(8) {
	case 0:
		return "*"
	case 1:
		return fmt.Sprintf("%d-*", 5_000_000_000_000+c.stream)
	case 2:
		return fmt.Sprint(5_000_000_000_000 + c.stream)
	}
	return fmt.Sprintf("%d-%d", 5_000_000_000_000+c.stream, c.r.IntN(2))
}

func (c *traffic) oldID() string {
	return fmt.Sprintf("%d-%d", 5_000_000_000_000+c.stream+1-c.r.IntN(c.wide), c.r.IntN(2))
}

func (c *traffic) trim() []string {
	limit := []string{"MAXLEN", c.n(2 * c.wide)}
	switch c.r.IntN(5) {
	case 0:
		limit = []string{"MAXLEN", "=", c.n(2 * c.wide)}
	case 1:
		limit = append([]string{"MAXLEN", "~", c.n(2 * c.wide)}, c.maybe("LIMIT", c.n(300))...)
	case 2:
		limit = []string{"MINID", c.oldID()}
	case 3:
		limit = []string{"MINID", "~", c.oldID()}
	}
	return limit
}

func (c *traffic) expiry() []string {
	return c.oneOf([]string{"EX", "100000"}, []string{"PX", "100000000"},
		[]string{"EXAT", "4000000000"}, []string{"PXAT", "4000000000000"}, []string{"KEEPTTL"}, nil,
		nil, nil, nil, []string{"PX", "2"})
}

func (c *traffic) oneOf(lists ...[]string) []string { return lists[c.r.IntN(len(lists))] }

func line(words ...any) (all []string) {
	for _, w := range words {
		switch w := w.(type) {
		case string:
			all = append(all, w)
		case []string:
			all = append(all, w...)
		}
	}
	return all
}

func (c *traffic) strings() []string {
	key := c.key("s")
	pair := func() []string { return []string{c.key("s"), c.text()} }
	return c.oneOf(
		line("SET", key, c.text(), c.expiry(), c.maybe(c.one("NX", "XX", "GET"))),
		line("SET", key, c.text(), c.expiry()),
		line("SET", key, c.text(), "IFEQ", c.text(), c.maybe("GET")),
		line("SETNX", key, c.text()),
		line("GETSET", key, c.text()),
		line("GETDEL", key),
		line("GETEX", key,
			c.oneOf([]string{"EX", "100000"}, []string{"PERSIST"}, []string{"PXAT", "1"})),
		line("SETEX", key, "100000", c.text()),
		line("PSETEX", key, "100000000", c.text()),
		line("MSET", c.some(pair)),
		line("MSETNX", pair(), pair()),
		line("MSETEX", "2", pair(), pair(), c.expiry(), c.maybe(c.one("NX", "XX"))),
		line("INCR", key),
		line("DECR", key),
		line("INCRBY", key, c.text()),
		line("DECRBY", key, c.text()),
		line("INCRBYFLOAT", key, c.one("1.1", "0.3", "1e10")),
		line("APPEND", key, c.text()),
		line("SETRANGE", key, c.n(200), c.text()),
		line("SETBIT", key, c.n(2000), c.n(2)),
		line("BITOP", c.one("AND", "OR", "XOR"), key, c.key("s"), c.key("s"), c.maybe(c.key("s"))),
		line("BITOP", "NOT", key, c.key("s")),
		line("BITFIELD", key, "SET", c.field(), c.n(200), c.number(), "OVERFLOW",
			c.one("WRAP", "SAT", "FAIL"), "GET", "u5", "9", "INCRBY", c.field(), "#"+c.n(9),
			c.number(), "SET", c.field(), c.n(99), c.number(), "OVERFLOW",
			c.one("WRAP", "SAT", "FAIL"), "INCRBY", c.field(), c.n(60), c.number(), "INCRBY",
			c.field(), c.n(60), c.number()),
	)
}

// field returns a random integer type for BITFIELD.
func (c *traffic) field() string {
	return c.one("i8", "u8", "i64", "u63", "i1", "u1", fmt.Sprint("i", 1+c.r.IntN(64)),
		fmt.Sprint("u", 1+c.r.IntN(63)))
}

func (c *traffic) number() string {
	return c.one("0", "1", "-1", "127", "-128", "255", "-9223372036854775808",
		"9223372036854775807", fmt.Sprint(c.r.Int64()), fmt.Sprint(-c.r.Int64()))
}

func (c *traffic) hashes() []string {
	key := c.key("h")
	pair := func() []string { return []string{c.member(), c.text()} }
	return c.oneOf(
		line("HSET", key, c.some(pair)),
		line("HSET", key, c.some(pair)),
		line("HMSET", key, c.some(pair)),
		line("HSETNX", key, pair()),
		line("HDEL", key, c.members()),
		line("HINCRBY", key, c.member(), c.text()),
		line("HINCRBYFLOAT", key, c.member(), c.one("1.1", "0.3")),
		line("HGETDEL", key, "FIELDS", "2", c.member(), c.member()),
		line("HSETEX", key, c.maybe(c.one("NX", "XX", "nx", "xx")),
			c.maybe(c.one("FNX", "FXX", "KEEPTTL", "fnx")), "FIELDS", "2", pair(), pair()),
		line("HGETEX", key, "FIELDS", "1", c.member()),
	)
}

func (c *traffic) sets() []string {
	key := c.key("t")
	return c.oneOf(
		line("SADD", key, c.members()),
		line("SADD", key, c.members()),
		line("SADD", key, c.members()),
		line("SREM", key, c.members()),
		line("SPOP", key),
		line("SPOP", key, c.n(c.wide)),
		line("SMOVE", key, c.key("t"), c.member()),
		line(c.one("SUNIONSTORE", "SINTERSTORE", "SDIFFSTORE"), key, c.key("t"),
			c.maybe(c.key("t")), c.maybe(c.key("t"))),
	)
}

func (c *traffic) sortedSets() []string {
	key := c.key("z")
	pair := func() []string { return []string{c.score(), c.member()} }
	bound := func() string { return c.one("", "(") + c.score() }
	lex := func() string { return c.one("[", "(") + c.member() }
	limit := c.maybe("LIMIT", c.n(5), c.n(9))
	many := line("3", c.key("z"), c.key("z"), c.key("t"))
	return c.oneOf(
		line("ZADD", key, c.some(pair)),
		line("ZADD", key, c.some(pair)),
		line("ZADD", key, c.maybe(c.one("NX", "XX", "GT", "LT")), c.maybe(c.one("CH", "gt")),
			c.some(pair)),
		line("ZADD", key, c.maybe(c.one("NX", "XX", "GT", "LT")), "INCR", pair()),
		line("ZINCRBY", key, pair()),
		line("ZREM", key, c.members()),
		line(c.one("ZPOPMIN", "ZPOPMAX"), key, c.maybe(c.n(9))),
		line("ZMPOP", "2", key, c.key("z"), c.one("MIN", "MAX"), "COUNT", "3"),
		line("BZPOPMIN", key, "0.001"),
		line("BZMPOP", "0.001", "1", key, "MAX"),
		line("ZREMRANGEBYSCORE", key, bound(), bound()),
		line("ZREMRANGEBYRANK", key, c.index(), c.index()),
		line("ZADD", "flat", "1", c.member(), "1", c.member(), "1", c.member()),
		line("ZREMRANGEBYLEX", "flat", lex(), lex()),
		line("ZREMRANGEBYLEX", key, "-", "+"),
		line("ZUNIONSTORE", key, many, c.maybe("WEIGHTS", c.score(), "0.1", "-3"),
			c.maybe("AGGREGATE", c.one("SUM", "MIN", "MAX"))),
		line("ZINTERSTORE", key, many, c.maybe("WEIGHTS", "0.1", c.score(), "7"),
			c.maybe("AGGREGATE", c.one("SUM", "MIN", "MAX"))),
		line("ZDIFFSTORE", key, "2", c.key("z"), c.key("z")),
		line("ZRANGESTORE", key, c.key("z"), c.index(), c.index(), c.maybe("REV")),
		line("ZRANGESTORE", key, c.key("z"), bound(), bound(), "BYSCORE", c.maybe("REV"), limit),
		line("ZRANGESTORE", key, "flat", lex(), lex(), "BYLEX", c.maybe("REV"), limit),
		line("GEOADD", key, "13.361389", "38.115556", c.member()),
	)
}

func (c *traffic) lists() []string {
	key := c.key("l")
	return c.oneOf(
		line("LPUSH", key, c.members()),
		line("RPUSH", key, c.members()),
		line("RPUSH", key, c.members()),
		line(c.one("LPUSHX", "RPUSHX"), key, c.members()),
		line(c.one("LPOP", "RPOP"), key, c.maybe(c.n(c.wide))),
		line("LMOVE", key, c.key("l"), c.side(), c.side()),
		line("LMOVE", key, key, c.side(), c.side()),
		line("RPOPLPUSH", key, c.key("l")),
		line("LMPOP", "2", key, c.key("l"), c.side(), "COUNT", c.n(5)),
		line("BLPOP", key, c.key("l"), "0.001"),
		line("BLMOVE", key, c.key("l"), c.side(), c.side(), "0.001"),
		line("BLMPOP", "0.001", "1", key, "LEFT"),
		line("BRPOPLPUSH", key, c.key("l"), "0.001"),
		line("LINSERT", key, c.one("BEFORE", "AFTER"), c.member(), c.member()),
		line("LINSERT", key, c.one("BEFORE", "AFTER"), c.member(), c.member()),
		line("LREM", key, fmt.Sprint(c.r.IntN(7)-3), c.member()),
		line("LSET", key, c.index(), c.member()),
		line("LTRIM", key, c.index(), c.index()),
		line("LTRIM", key, "1", "-2"),
	)
}

func (c *traffic) streams() []string {
	key := c.key("x")
	id := c.id()
	deleted := func() []string {
		return []string{c.oldID(), c.oldID(), c.oldID(), c.oldID(), c.oldID()}
	}
	add := line("XADD", key, id, c.some(func() []string { return []string{c.member(), c.text()} }))
	return c.oneOf(
		add,
		add,
		add,
		add,
		line("XADD", key, c.maybe("NOMKSTREAM"), c.maybe(c.one("KEEPREF", "DELREF")), c.trim(), id,
			c.member(), c.text()),
		line("XADD", key, c.maybe("NOMKSTREAM"), c.trim(), id, c.member(), c.text()),
		line("XTRIM", key, c.trim()),
		line("XDEL", key, c.some(deleted)),
		line("XDEL", key, c.some(deleted)),
		line("XSETID", key, fmt.Sprint(5_000_000_000_000+c.stream+2),
			c.maybe("ENTRIESADDED", c.n(2000), "MAXDELETEDID", c.oldID())),
	)
}

func (c *traffic) keys() []string {
	kind := c.one("h", "l", "s", "t", "x", "z")
	key, other := c.key(kind), c.key(kind)
	return c.oneOf(
		line("DEL", key, other),
		line("UNLINK", key),
		line("RENAME", key, other),
		line("RENAMENX", key, other),
		line("COPY", key, other, c.maybe("REPLACE")),
		line("COPY", key, other, "DB", "0", "REPLACE"),
		line("EXPIRE", key, "100000", c.maybe(c.one("NX", "XX", "GT", "LT"))),
		line("PEXPIRE", key, "100000000"),
		line("EXPIREAT", key, "4000000000"),
		line("PEXPIREAT", key, "4000000000001", c.maybe(c.one("NX", "XX", "GT", "LT"))),
		line("PERSIST", key),
		line("PERSIST", key),
		line("PEXPIRE", key, "2"),
		line("EXPIRE", key, "-1"),
		line("PUBLISH", "channel", "message"),
		c.oneOf(line("FLUSHALL"), line("FLUSHDB", "ASYNC"), line("PERSIST", key),
			line("PERSIST", key), line("PERSIST", key)),
	)
}

// command returns a random command, which may fail.
func (c *traffic) command() []string {
	kinds := []func() []string{c.strings, c.hashes, c.sets, c.sortedSets, c.lists, c.streams}
	if i := c.r.IntN(2*len(kinds) + 1); i < 2*len(kinds) {
		return kinds[i/2]()
	}
	return c.keys()
}

// script turns commands into one EVAL; failing commands do not end the script.
func script(commands [][]string) []string {
	var b strings.Builder
	words := []string{"EVAL", "", "0"}
	for _, c := range commands {
		b.WriteString("redis.pcall(")
		for i, w := range c {
			if i > 0 {
				b.WriteByte(',')
			}
			words = append(words, w)
			fmt.Fprintf(&b, "ARGV[%d]", len(words)-3)
		}
		b.WriteString(");")
	}
	words[1] = b.String()
	return words
}
