package keyspace_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
)

func args(words ...string) [][]byte {
	all := make([][]byte, len(words))
	for i, w := range words {
		all[i] = []byte(w)
	}
	return all
}

func call(k *keyspace.Keyspace, proto int, words ...string) string {
	out, handled := keyspace.Reply(k, nil, proto, args(words...))
	if !handled {
		return "unhandled"
	}
	return string(out)
}

// elements reads a reply of nested arrays of bulk strings, flattened.
func elements(t testing.TB, reply string) (all []string) {
	t.Helper()
	r := bufio.NewReader(strings.NewReader(reply))
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return all
		}
		if line[0] == '$' {
			n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
			b := make([]byte, n+2)
			if _, err := io.ReadFull(r, b); err != nil {
				t.Fatal(err)
			}
			all = append(all, string(b[:n]))
		}
	}
}

// Every unit sets all keys of a group, and the members of two large collections, to the same
// version. Neither a reader nor a snapshot may see two versions.
func TestReadersSeeWholeUnits(t *testing.T) {
	const group, crowd = 8, 200
	k := keyspace.New(keyspace.Options{})
	version := func(n int) []byte {
		u := resp.AppendCommand(nil, "MULTI")
		for i := range group {
			u = resp.AppendCommand(u, "SET", fmt.Sprint("group:", i), fmt.Sprint(n))
		}
		for i := range 40 {
			u = resp.AppendCommand(u, "HSET", "big", fmt.Sprint("f", i*9), fmt.Sprint(n))
			u = resp.AppendCommand(u, "ZADD", "scores", fmt.Sprint(n), fmt.Sprint("m", i*9))
		}
		u = resp.AppendCommand(u, "DEL", fmt.Sprint("crowd:", n-crowd))
		u = resp.AppendCommand(u, "SET", fmt.Sprint("crowd:", n), "x")
		return resp.AppendCommand(u, "EXEC")
	}
	for i := range 600 {
		mustApply(t, k, resp.AppendCommand(nil, "HSET", "big", fmt.Sprint("f", i), "0"))
		mustApply(t, k, resp.AppendCommand(nil, "ZADD", "scores", "0", fmt.Sprint("m", i)))
	}
	mustApply(t, k, version(0))

	var wg sync.WaitGroup
	var done atomic.Bool
	snapshots := make(chan *keyspace.Snapshot)
	wg.Go(func() { readGroups(t, k, &done, group, 1) })
	wg.Go(func() { readGroups(t, k, &done, group, 65) }) // more than are looked up under the lock
	wg.Go(func() {
		for s := range snapshots {
			checkVersions(t, s, group)
			s.Close()
		}
	})
	wg.Go(func() {
		for !done.Load() {
			if call(k, 2, "KEYS", "group:*")[:4] != "*8\r\n" {
				t.Error("KEYS does not see the whole group")
			}
			call(k, 2, "RANDOMKEY")
			k.Each("big", func(string) {})
		}
	})
	for n := range 400 {
		if err := k.Stage(version(n)); err != nil {
			t.Fatal(err)
		}
		if n%7 == 0 {
			k.Discard()
			continue
		}
		k.Publish()
		if n%10 == 0 {
			select {
			case snapshots <- k.Snapshot():
			default:
				k.Snapshot().Close()
			}
		}
	}
	done.Store(true)
	close(snapshots)
	wg.Wait()
}

// readGroups reads each key of the group that many times in one command.
func readGroups(t *testing.T, k *keyspace.Keyspace, done *atomic.Bool, group, times int) {
	words := []string{"MGET"}
	for i := range group * times {
		words = append(words, fmt.Sprint("group:", i%group))
	}
	for !done.Load() {
		got := elements(t, call(k, 2, words...))
		if len(got) != group*times {
			t.Errorf("MGET: %d of %d keys", len(got), group*times)
		}
		for _, v := range got {
			if v != got[0] {
				t.Errorf("MGET sees versions %s and %s", got[0], v)
				return
			}
		}
		if n := call(k, 2, "HLEN", "big"); n != ":600\r\n" {
			t.Errorf("HLEN = %q", n)
		}
		if n := len(elements(t, call(k, 2, "ZRANGE", "scores", "0", "-1"))); n != 600 {
			t.Errorf("ZRANGE: %d members", n)
		}
	}
}

func checkVersions(t *testing.T, s *keyspace.Snapshot, group int) {
	want, seen := "", 0
	same := func(v string) {
		seen++
		if want == "" {
			want = v
		}
		if v != want {
			t.Errorf("a snapshot has versions %s and %s", want, v)
		}
	}
	if err := s.Each(func(e keyspace.Entry) error {
		switch {
		case bytes.HasPrefix(e.Key, []byte("group:")):
			same(string(e.Value.Bytes()))
		case string(e.Key) == "big":
			v, _ := e.Value.Field([]byte("f9"))
			same(string(v))
		case string(e.Key) == "scores":
			v, _ := e.Value.Score([]byte("m9"))
			same(fmt.Sprint(v))
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if seen != group+2 {
		t.Errorf("a snapshot has %d of %d keys", seen, group+2)
	}
}

// Every full scan returns the keys that exist all the time, while other keys are added and deleted,
// and shards split and shrink.
func TestScanGuarantee(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	k := keyspace.New(keyspace.Options{HiddenPrefix: "hidden:"})
	const stay = 3000
	u := []byte{}
	for i := range stay {
		u = resp.AppendCommand(u, "SET", fmt.Sprint("stay:", i), "x")
		u = resp.AppendCommand(u, "HSET", "hash", fmt.Sprint("stay:", i), "x")
		u = resp.AppendCommand(u, "SADD", "set", fmt.Sprint("stay:", i))
		u = resp.AppendCommand(u, "ZADD", "zset", fmt.Sprint(i), fmt.Sprint("stay:", i))
	}
	u = resp.AppendCommand(u, "SET", "hidden:1", "x")
	mustApply(t, k, u)
	churn := func(n int) {
		u := []byte{}
		for i := range n {
			name := fmt.Sprint("churn:", r.IntN(20000))
			if i%2 == 0 {
				u = resp.AppendCommand(u, "SET", name, "x")
				u = resp.AppendCommand(u, "HSET", "hash", name, "x")
				u = resp.AppendCommand(u, "SADD", "set", name)
				u = resp.AppendCommand(u, "ZADD", "zset", "1", name)
			} else {
				u = resp.AppendCommand(u, "DEL", name)
				u = resp.AppendCommand(u, "HDEL", "hash", name)
				u = resp.AppendCommand(u, "SREM", "set", name)
				u = resp.AppendCommand(u, "ZREM", "zset", name)
			}
		}
		mustApply(t, k, u)
	}
	for _, command := range []string{"SCAN", "HSCAN hash", "SSCAN set", "ZSCAN zset"} {
		t.Run(command, func(t *testing.T) {
			for _, count := range []int{1, 7, 1000, 100000} {
				seen := map[string]bool{}
				cursor, rounds := "0", 0
				for {
					words := append(strings.Fields(command), cursor, "MATCH", "*:*", "COUNT",
						fmt.Sprint(count))
					got := elements(t, call(k, 2, words...))
					for _, name := range got[1:] {
						seen[name] = true
					}
					if cursor = got[0]; cursor == "0" {
						break
					}
					if rounds++; rounds > 50000 {
						t.Fatal("the scan does not end")
					}
					if rounds < 4000/count {
						churn(4)
					}
				}
				for i := range stay {
					if !seen[fmt.Sprint("stay:", i)] {
						t.Fatalf("COUNT %d: stay:%d is missing", count, i)
					}
				}
				if seen["hidden:1"] {
					t.Fatal("a hidden key was shown")
				}
			}
		})
	}
}

// Growing to tens of thousands of keys and shrinking again takes shards through every size.
func TestGrowAndShrink(t *testing.T) {
	const n = 60_000
	k := keyspace.New(keyspace.Options{})
	var held []*keyspace.Snapshot
	key := func(i int) string { return fmt.Sprint("key:", i) }
	for i := 0; i < n; i += 100 {
		u := []byte{}
		for j := range 100 {
			u = resp.AppendCommand(u, "SET", key(i+j), fmt.Sprint(i+j))
		}
		mustApply(t, k, u)
		if i == n/2 {
			held = append(held, k.Snapshot())
		}
	}
	held = append(held, k.Snapshot())
	for i := range n {
		if v, ok := k.Get(key(i)); !ok || string(v) != fmt.Sprint(i) {
			t.Fatalf("Get(%s) = %q %v", key(i), v, ok)
		}
	}
	for i := range n {
		if i%64 != 0 {
			mustApply(t, k, resp.AppendCommand(nil, "UNLINK", key(i)))
		}
	}
	if got, want := k.Len(), (n+63)/64; got != want {
		t.Fatalf("Len() = %d, want %d", got, want)
	}
	for i := range n {
		if _, ok := k.Get(key(i)); ok != (i%64 == 0) {
			t.Fatalf("Get(%s) = %v", key(i), ok)
		}
	}
	for i, want := range []int{n/2 + 100, n} {
		seen := map[string]bool{}
		if err := held[i].Each(func(e keyspace.Entry) error {
			seen[string(e.Key)] = true
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if keys, _ := held[i].Len(); len(seen) != want || keys != want {
			t.Fatalf("snapshot %d has %d keys, Len() = %d, want %d", i, len(seen), keys, want)
		}
	}
}
