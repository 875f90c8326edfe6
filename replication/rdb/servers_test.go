package rdb_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
)

var caches = []servers.Kind{
	servers.RedisOldest, servers.RedisStable, servers.Redis, servers.Valkey,
	servers.ValkeyStable,
}

// dumpServer returns the contents of a server, in the form of dump.
func dumpServer(t *testing.T, c *redis.Client) map[string]string {
	t.Helper()
	ctx := t.Context()
	keys, err := c.Keys(ctx, "*").Result()
	must(t, err)
	all := map[string]string{}
	for _, key := range keys {
		kind, err := c.Type(ctx, key).Result()
		must(t, err)
		ms, err := servertest.ExpireTime(
			func(args ...any) (int64, error) { return c.Do(ctx, args...).Int64() }, key,
		)
		must(t, err)
		ms = max(ms, 0)
		var parts []string
		switch kind {
		case "string":
			s, err := c.Get(ctx, key).Result()
			must(t, err)
			parts = []string{s}
		case "hash":
			h, err := c.HGetAll(ctx, key).Result()
			must(t, err)
			for f, v := range h {
				parts = append(parts, fmt.Sprintf("%q=%q", f, v))
			}
		case "set":
			m, err := c.SMembers(ctx, key).Result()
			must(t, err)
			for _, m := range m {
				parts = append(parts, fmt.Sprintf("%q", m))
			}
		case "list":
			items, err := c.LRange(ctx, key, 0, -1).Result()
			must(t, err)
			for _, item := range items {
				parts = append(parts, fmt.Sprintf("%q", item))
			}
		case "stream":
			parts = dumpStream(t, c, key)
		case "zset":
			m, err := c.ZRangeWithScores(ctx, key, 0, -1).Result()
			must(t, err)
			if !slices.IsSortedFunc(m, func(a, b redis.Z) int {
				if a.Score != b.Score {
					return int(math.Copysign(1, a.Score-b.Score))
				}
				return strings.Compare(a.Member.(string), b.Member.(string))
			}) {
				t.Errorf("%s is not in order", key)
			}
			for _, m := range m {
				parts = append(parts, fmt.Sprintf("%q=%x", m.Member, math.Float64bits(m.Score)))
			}
		}
		if kind != "list" {
			slices.Sort(parts)
		}
		all[key] = fmt.Sprintf("%s %d %s", kind, ms, strings.Join(parts, " "))
	}
	return all
}

// dumpStream reads raw replies, because a map would hide fields that occur twice.
func dumpStream(t *testing.T, c *redis.Client, key string) (parts []string) {
	t.Helper()
	entries, err := c.Do(t.Context(), "XRANGE", key, "-", "+").Slice()
	must(t, err)
	for _, e := range entries {
		e := e.([]any)
		part := "entry " + e[0].(string)
		pairs := e[1].([]any)
		for i := 0; i < len(pairs); i += 2 {
			part += fmt.Sprintf(" %q=%q", pairs[i], pairs[i+1])
		}
		parts = append(parts, part)
	}
	i, err := c.XInfoStream(t.Context(), key).Result()
	must(t, err)
	if i.MaxDeletedEntryID == "" { // Redis 6.2 does not know what was: see plain
		i.MaxDeletedEntryID, i.EntriesAdded = "0-0", int64(len(entries))
	}
	return append(
		parts, fmt.Sprintf("last %s deleted %s added %d", i.LastGeneratedID, i.MaxDeletedEntryID,
			i.EntriesAdded),
	)
}

func connect(t *testing.T, s *servers.Cache) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr()})
	t.Cleanup(func() { _ = c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		err := c.Ping(ctx).Err()
		if err == nil {
			return c
		}
		if !strings.Contains(err.Error(), "LOADING") {
			t.Fatal(err)
		}
	}
}

func compare(t *testing.T, got, want map[string]string) {
	t.Helper()
	for key := range want {
		if got[key] != want[key] {
			t.Errorf("%s: got %.200s, want %.200s", key, got[key], want[key])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d keys, want %d", len(got), len(want))
	}
}

// TestServersLoad loads a file of Write in each server, which validates every packed value.
func TestServersLoad(t *testing.T) {
	k := sample(t)
	b := write(t, k, aux)
	want := dump(t, k)
	for _, kind := range caches {
		t.Run(string(kind), func(t *testing.T) {
			dir := t.TempDir()
			b, want, packed := b, want, "listpack"
			if kind == servers.RedisOldest {
				b, want, packed = transcode(t, b), plain(maps.Clone(want)), "ziplist"
			}
			must(t, os.WriteFile(filepath.Join(dir, "ours.rdb"), b, 0o600))
			s := servertest.Cache(t, kind, servers.CacheOptions{Dir: dir, Args: []string{
				"--dbfilename", "ours.rdb", "--sanitize-dump-payload", "yes",
				// Checks that the file holds only what a stock server packs itself. Every version
				// reports these encodings.
				"--hash-max-ziplist-entries", "128", "--zset-max-ziplist-entries", "128",
			}})
			c := connect(t, s)
			compare(t, dumpServer(t, c), want)
			for key, encoding := range map[string]string{
				"hash:128": packed, "hash:129": "hashtable", "sorted:128": packed,
				"sorted:129": "skiplist",
				"ints:512":   "intset", "ints32": "intset", "ints64": "intset", "string:5": "",
			} {
				got, err := c.ObjectEncoding(t.Context(), key).Result()
				if err != nil || encoding != "" && got != encoding {
					t.Errorf("%s is encoded as %s (%v), want %s", key, got, err, encoding)
				}
			}
		})
	}
}

// TestServersLoadBoundary: an element of exactly 16383 bytes, at the end and in the middle of a
// stream's node. Only streams must pack such an element. In the form of Valkey 9.1 it crashes
// Redis.
func TestServersLoadBoundary(t *testing.T) {
	k := keyspace.New(keyspace.Options{})
	long := strings.Repeat("v", packBoundary)
	must(
		t,
		k.Loader().
			Stream([]byte("s"), 0, func(
				add func(keyspace.StreamID, [][]byte) error,
			) (i keyspace.StreamInfo, err error) {
				for _, pairs := range [][]string{
					{"f", "x"}, {"f", long}, {long, "x"}, {"f", "x", long, long},
				} {
					i.Last.Ms++
					i.Added++
					if err := add(i.Last, byteSlices(pairs...)); err != nil {
						return i, err
					}
				}
				return i, nil
			}),
	)
	b, want := write(t, k, aux), dump(t, k)
	again := keyspace.New(keyspace.Options{})
	_, err := rdb.Read(bytes.NewReader(b), again.Loader())
	must(t, err)
	compare(t, dump(t, again), want)
	for _, kind := range []servers.Kind{servers.RedisStable, servers.Redis} {
		t.Run(string(kind), func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.WriteFile(filepath.Join(dir, "ours.rdb"), b, 0o600))
			s := servertest.Cache(
				t, kind,
				servers.CacheOptions{
					Dir:  dir,
					Args: []string{"--dbfilename", "ours.rdb", "--sanitize-dump-payload", "yes"},
				},
			)
			compare(t, dumpServer(t, connect(t, s)), want)
		})
	}
}

// TestServersCheck runs each server's own checker on a file of Write.
func TestServersCheck(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ours.rdb")
	b := write(t, sample(t), aux)
	for _, kind := range caches {
		t.Run(string(kind), func(t *testing.T) {
			b := b
			if kind == servers.RedisOldest {
				b = transcode(t, b)
			}
			must(t, os.WriteFile(name, b, 0o600))
			program := kind.Tool("check-rdb")
			cmd, err := servertest.Need(t, kind).Command(t.Context(), kind, program, name)
			if err != nil {
				servertest.SkipOrFail(t, fmt.Errorf("no %s: %w", program, err))
			}
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "Checksum OK") ||
				!strings.Contains(string(out), "looks OK") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestServersSave reads the file that each server saves, with and without compression.
func TestServersSave(t *testing.T) {
	for _, kind := range caches {
		t.Run(string(kind), func(t *testing.T) {
			dir := t.TempDir()
			s := servertest.Cache(t, kind,
				servers.CacheOptions{Dir: dir, Args: []string{"--dbfilename", "theirs.rdb"}})
			c := connect(t, s)
			fillServer(t, c)
			want := dumpServer(t, c)
			for _, compression := range []string{"yes", "no"} {
				must(t, c.ConfigSet(t.Context(), "rdbcompression", compression).Err())
				must(t, c.Save(t.Context()).Err())
				f, err := os.Open(filepath.Join(dir, "theirs.rdb"))
				must(t, err)
				k := keyspace.New(keyspace.Options{})
				a, err := rdb.Read(f, k.Loader())
				must(t, f.Close())
				if err != nil || a.Version == "" || a.CTime == 0 || a.UsedMem == 0 {
					t.Fatalf("compression %s: %+v, %v", compression, a, err)
				}
				compare(t, dump(t, k), want)
			}
			must(t, c.XGroupCreateMkStream(t.Context(), "a stream", "readers", "$").Err())
			must(t, c.Save(t.Context()).Err())
			f, err := os.Open(filepath.Join(dir, "theirs.rdb"))
			must(t, err)
			defer func() { _ = f.Close() }()
			if _, err := rdb.Read(f, keyspace.New(keyspace.Options{}).Loader()); err == nil ||
				!strings.Contains(err.Error(), `"a stream": it has the consumer group "readers"`) {
				t.Errorf("a consumer group: %v", err)
			}
		})
	}
}

// fillServer puts values of every encoding into a server.
func fillServer(t *testing.T, c *redis.Client) {
	t.Helper()
	p := c.Pipeline()
	ctx := t.Context()
	for i, s := range texts() {
		n := strconv.Itoa(i)
		p.Set(ctx, "string:"+n, s, 0)
		p.HSet(ctx, "one:"+n, s, s)
		p.SAdd(ctx, "member:"+n, s)
		p.ZAdd(ctx, "scored:"+n, redis.Z{Score: float64(i), Member: s})
		p.SAdd(ctx, "all", s)
		p.HSet(ctx, "each", s, s)
		p.RPush(ctx, "item:"+n, s)
		p.RPush(ctx, "items", s)
		p.XAdd(ctx, &redis.XAddArgs{Stream: "entry:" + n, ID: "5-7", Values: []string{s, s}})
		p.XAdd(
			ctx,
			&redis.XAddArgs{
				Stream: "entries", ID: fmt.Sprintf("%d-%d", i/5, i+1),
				Values: []string{"text", s},
			},
		)
	}
	for _, n := range []int{1, 100, 600, 3000} {
		for i := range n {
			p.HSet(ctx, fmt.Sprint("hash:", n), "field"+strconv.Itoa(i), i*i*i)
			p.SAdd(ctx, fmt.Sprint("set:", n), "member"+strconv.Itoa(i))
			p.SAdd(ctx, fmt.Sprint("ints:", n), (i-n/2)*i*i*i)
			p.ZAdd(ctx, fmt.Sprint("sorted:", n), redis.Z{Score: float64(i)/3 - 5, Member: i})
			p.RPush(ctx, fmt.Sprint("list:", n), fmt.Sprint("item", i), i*i)
			fields := []string{"id", strconv.Itoa(i), "name", "x"}
			if i%10 == 7 {
				fields = []string{"other", "1", "other", "2", "", ""}
			}
			p.XAdd(
				ctx,
				&redis.XAddArgs{
					Stream: fmt.Sprint("stream:", n),
					ID:     fmt.Sprintf("%d-%d", i/9+1, i%9*i), Values: fields,
				},
			)
			if i%4 == 2 {
				p.XDel(ctx, fmt.Sprint("stream:", n), fmt.Sprintf("%d-%d", i/9+1, i%9*i))
			}
		}
		p.XTrimMaxLen(ctx, fmt.Sprint("stream:", n), int64(n/2+1))
	}
	p.RPush(ctx, "large items", strings.Repeat("a", 20_000), "x", strings.Repeat("b", 9_000), 1)
	p.XAdd(ctx, &redis.XAddArgs{Stream: "empty stream", ID: "7-8", Values: []string{"a", "b"}})
	p.XDel(ctx, "empty stream", "7-8")
	p.SAdd(ctx, "ints32", 1, 70000)
	p.SAdd(ctx, "ints64", 1, 1<<40)
	p.ZAdd(ctx, "extremes", redis.Z{Score: math.Inf(1), Member: "a"},
		redis.Z{Score: math.Inf(-1), Member: "b"}, redis.Z{Score: 5e-324, Member: "c"})
	p.Set(ctx, "compressible", strings.Repeat("rowfall ", 10_000), 0)
	p.HSet(ctx, "compressible hash", "f", strings.Repeat("rowfall ", 5), "g",
		strings.Repeat("a", 60))
	p.PExpireAt(ctx, "string:3", time.UnixMilli(4_000_000_000_123))
	p.PExpireAt(ctx, "hash:100", time.UnixMilli(4_000_000_000_124))
	_, err := p.Exec(ctx)
	must(t, err)
}
