package keyspace_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
)

// replies are commands with replies that are mostly much longer than a block of the writer below.
var replies = []string{
	"GET text", "MGET text text text none h", "GETRANGE text 1 -2",
	"LRANGE l 0 -1", "LRANGE big:l 0 -1", "LINDEX long 0", "LPOS big:l x COUNT 0",
	"HGETALL h", "HGETALL big:h", "HKEYS big:h", "HVALS big:h", "HMGET big:h 1 2 3 none",
	"HGET long:h f", "HSCAN big:h 0 COUNT 100000", "HSCAN h 0",
	"SMEMBERS s", "SMEMBERS big:s", "SMISMEMBER s 1 2 3",
	"SSCAN big:s 0 COUNT 100000", "SSCAN big:s 0 COUNT 1000 MATCH 1*",
	"SRANDMEMBER big:s 1000", "SRANDMEMBER big:s -3000",
	"ZRANGE big:z 0 -1", "ZRANGE big:z 0 -1 REV WITHSCORES", "ZRANGE z 0 -1 WITHSCORES",
	"ZRANGEBYSCORE big:z 3 +inf", "ZMSCORE big:z 1 2 3", "ZSCAN big:z 0 COUNT 100000",
	"XRANGE big:x - +", "XREVRANGE big:x + - COUNT 700", "XRANGE x - +",
	"XREAD COUNT 500 STREAMS big:x x none 0 0 0", "XINFO STREAM big:x",
	"KEYS *", "KEYS key:1*", "SCAN 0 COUNT 100000", "SCAN 0 COUNT 3000",
	"SCAN 0 COUNT 100000 TYPE hash", "SCAN 0 COUNT 100000 MATCH key:*",
}

func withReplies(t *testing.T) *keyspace.Keyspace {
	t.Helper()
	k := keyspace.New(keyspace.Options{})
	long := strings.Repeat("0123456789", 1000)
	for _, words := range [][]string{
		{"SET", "text", long}, {"RPUSH", "long", long}, {"HSET", "long:h", "f", long},
	} {
		mustApply(t, k, resp.AppendCommand(nil, words...))
	}
	for i := range 100 {
		mustApply(t, k, unit(fmt.Sprintf("HSET h %d value-%d", i, i), fmt.Sprintf("SADD s %d", i),
			fmt.Sprintf("ZADD z %d %d", i, i), fmt.Sprintf("RPUSH l %d", i)))
	}
	for i := range 3000 {
		mustApply(t, k, unit(fmt.Sprintf("SET key:%d v", i), "RPUSH big:l x",
			fmt.Sprintf("HSET big:h %d value-%d", i, i), fmt.Sprintf("SADD big:s %d", i),
			fmt.Sprintf("ZADD big:z %d %d", i%7, i), fmt.Sprintf("XADD big:x %d-1 f %d", i+1, i),
			fmt.Sprintf("XADD x %d-1 f %d", i+1, i), "XTRIM x MAXLEN 3"))
	}
	return k
}

// A reply is sent in blocks, with the same bytes, so that a command does not need as much memory as
// its reply. Rendering stops once a block could not be sent.
func TestRepliesAreSentInBlocks(t *testing.T) {
	const size = 512
	k := withReplies(t)
	for _, proto := range []int{2, 3} {
		for _, line := range replies {
			args := args(strings.Fields(line)...)
			want, _ := keyspace.Reply(k, nil, proto, args)
			var got []byte
			most := 0
			w := resp.NewWriter(size, func(p []byte) error {
				got = append(got, p...)
				return nil
			})
			w.Reset(nil, proto)
			k.Execute(w, args)
			most = max(most, cap(w.Bytes()))
			got = append(got, w.Bytes()...)
			same := string(got) == string(want)
			if strings.HasPrefix(line, "SRANDMEMBER") {
				same = len(elements(t, string(got))) == len(elements(t, string(want)))
			}
			if !same {
				t.Errorf("protocol %d, %s: got %d bytes, want %d: %.100q, want %.100q",
					proto, line, len(got), len(want), got, want)
			}
			if most > 4*size {
				t.Errorf("protocol %d, %s: the buffer had %d bytes", proto, line, most)
			}
			if len(want) < 2*size {
				continue
			}
			calls := 0
			left := errors.New("the client left")
			w = resp.NewWriter(size, func([]byte) error { calls++; return left })
			w.Reset(nil, proto)
			if k.Execute(w, args); calls != 1 || !errors.Is(w.Err(), left) ||
				len(w.Bytes()) > size {
				t.Errorf(
					"protocol %d, %s: after an error it was sent %d times, and has %d bytes: %v",
					proto, line, calls, len(w.Bytes()), w.Err(),
				)
			}
		}
	}
}
