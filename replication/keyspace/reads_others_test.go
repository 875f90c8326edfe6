package keyspace_test

import (
	"strings"
	"testing"

	"rowfall/replication/keyspace"
)

// readSamples are calls of every read command. Together they use every option by which a command
// could read a key that is not among its arguments.
var readSamples = map[string][]string{
	"exists": {"EXISTS s none h"}, "touch": {"TOUCH s none"}, "type": {"TYPE l"},
	"ttl": {
		"TTL s",
	}, "pttl": {"PTTL s"}, "expiretime": {"EXPIRETIME s"}, "pexpiretime": {"PEXPIRETIME s"},
	"object": {"OBJECT ENCODING h", "OBJECT REFCOUNT s", "OBJECT IDLETIME s"},
	"scan":   {"SCAN 0", "SCAN 0 COUNT 100000", "SCAN 0 MATCH o* TYPE string"},
	"keys":   {"KEYS *"}, "dbsize": {"DBSIZE"}, "randomkey": {"RANDOMKEY"},
	"get": {"GET s"}, "mget": {"MGET s none s"}, "strlen": {"STRLEN s"},
	"getrange": {"GETRANGE s 0 -1"}, "substr": {"SUBSTR s 0 -1"},
	"getbit": {"GETBIT s 1"}, "bitcount": {"BITCOUNT s"}, "bitpos": {"BITPOS s 1"},
	"bitfield_ro": {"BITFIELD_RO s GET u8 0"},
	"hget": {
		"HGET h f",
	}, "hmget": {"HMGET h f none"}, "hgetall": {"HGETALL h"}, "hkeys": {"HKEYS h"},
	"hvals": {
		"HVALS h",
	}, "hlen": {"HLEN h"}, "hexists": {"HEXISTS h f"}, "hstrlen": {"HSTRLEN h f"},
	"hscan": {"HSCAN h 0 MATCH * COUNT 5", "HSCAN h 0 NOVALUES"},
	"smembers": {
		"SMEMBERS set",
	}, "sismember": {"SISMEMBER set a"}, "smismember": {"SMISMEMBER set a b"},
	"scard": {
		"SCARD set",
	}, "srandmember": {"SRANDMEMBER set", "SRANDMEMBER set 5"}, "sscan": {"SSCAN set 0"},
	"zrange": {
		"ZRANGE z 0 -1 WITHSCORES", "ZRANGE z 0 9 BYSCORE LIMIT 0 1",
		"ZRANGE z - + BYLEX REV",
	},
	"zrevrange": {"ZREVRANGE z 0 -1"}, "zrangebyscore": {"ZRANGEBYSCORE z -inf +inf"},
	"zrevrangebyscore": {"ZREVRANGEBYSCORE z +inf -inf"}, "zrangebylex": {"ZRANGEBYLEX z - +"},
	"zrevrangebylex": {
		"ZREVRANGEBYLEX z + -",
	}, "zscore": {"ZSCORE z a"}, "zmscore": {"ZMSCORE z a b"},
	"zcard": {"ZCARD z"}, "zrank": {"ZRANK z a WITHSCORE"}, "zrevrank": {"ZREVRANK z a"},
	"zcount": {"ZCOUNT z 0 9"}, "zlexcount": {"ZLEXCOUNT z - +"}, "zscan": {"ZSCAN z 0"},
	"lrange": {"LRANGE l 0 -1"}, "llen": {"LLEN l"}, "lindex": {"LINDEX l 0"}, "lpos": {"LPOS l a"},
	"xrange": {"XRANGE x - +"}, "xrevrange": {"XREVRANGE x + -"}, "xlen": {"XLEN x"},
	"xread": {
		"XREAD COUNT 2 BLOCK 0 STREAMS x y 0 0",
	}, "xinfo": {"XINFO STREAM x", "XINFO GROUPS x"},
}

// The reply of a read command that is not declared as a reader of other keys depends only on the
// keys among its arguments. A View pins just those keys, so a command that reads other keys sees
// later values of them. Where a new command reads other keys, its row must be declared readsOthers.
func TestReadsOfOtherKeysAreDeclared(t *testing.T) {
	for _, c := range keyspace.Commands() {
		if c.Write {
			continue
		}
		samples := readSamples[c.Name]
		if len(samples) == 0 {
			t.Errorf("%s: no sample; add calls with every option that could name another key",
				c.Name)
		}
		for _, sample := range samples {
			was, is := repliesAroundChange(t, sample)
			if strings.HasPrefix(was, "-") {
				t.Errorf("%s: %q", sample, was)
			}
			if was != is {
				t.Errorf("%s: the reply from a view is %q, after a change of all keys %q", sample,
					was, is)
			}
		}
	}
}

// repliesAroundChange returns a command's reply, and the reply from a View that was opened for the
// command before all keys were replaced.
func repliesAroundChange(t *testing.T, command string) (before, after string) {
	t.Helper()
	var args [][]byte
	for _, word := range strings.Fields(command) {
		args = append(args, []byte(word))
	}
	k := keyspace.New(keyspace.Options{Now: func() int64 { return 1 }})
	mustApply(t, k, unit("SET s abc", "PEXPIREAT s 5000", "HSET h f v", "SADD set a", "ZADD z 1 a",
		"RPUSH l a b", "XADD x 1-1 f v", "XADD y 1-1 f v"))
	if keyspace.ReadsOthers(string(args[0])) { // RANDOMKEY has one possible reply then
		mustApply(t, k, unit("FLUSHALL", "SET s abc"))
	} else {
		mustApply(t, k, unit("SET other 1", "SET f 2", "SET a 3", "SADD others a b c"))
	}
	want, _ := keyspace.Reply(k, nil, 2, args)
	v := k.View([][][]byte{args})
	defer v.Close()
	// Not FLUSHALL: that begins a new table, so that a view would keep the old one.
	mustApply(
		t, k, unit("SET s x", "HSET h f x", "SADD others x", "SET f x", "SET a x", "SET new x",
			"DEL other set z l x y", "DEL s"),
	)
	got, _ := keyspace.Reply(v, nil, 2, args)
	return string(want), string(got)
}
