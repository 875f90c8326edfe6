package keyspace_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
)

// collection is one large value: how to insert its n-th member, and a change that keeps its size. A
// change of a set removes a random member, and the next one adds a new member. A change of a sorted
// set gives a member another score.
type collection struct {
	name   string
	add    func(dst []byte, i int) []byte
	change func(dst []byte, i int) []byte
}

func member(i int) string { return fmt.Sprintf("customer:%07d", i) }

func collections(n int) []collection {
	r := rand.New(rand.NewPCG(1, 1))
	ids, slot := make([]int32, n), 0 // the members of the set
	for i := range ids {
		ids[i] = int32(i)
	}
	return []collection{
		{"set", func(dst []byte, i int) []byte {
			return resp.AppendCommand(dst, "SADD", "big", member(i))
		}, func(dst []byte, i int) []byte {
			if i%2 == 0 {
				slot = r.IntN(n)
				return resp.AppendCommand(dst, "SREM", "big", member(int(ids[slot])))
			}
			ids[slot] = int32(n + i/2)
			return resp.AppendCommand(dst, "SADD", "big", member(n+i/2))
		}},
		{"sorted-set", func(dst []byte, i int) []byte {
			return resp.AppendCommand(dst, "ZADD", "big", strconv.Itoa(i*7919%n), member(i))
		}, func(dst []byte, _ int) []byte {
			return resp.AppendCommand(dst, "ZADD", "big", strconv.Itoa(r.IntN(n)),
				member(r.IntN(n)))
		}},
	}
}

// Bytes per member of 16 bytes in a set and in a sorted set of MEMBERS (1 million), in this process
// and in a redis-server that gets the same commands: after writing each member once, and after
// CHANGES (as many) random changes. For this process the result is resident memory, before and
// after a garbage collection. For the server it is resident memory and used_memory.
func BenchmarkMemoryPerMember(b *testing.B) {
	n := size(b, "MEMBERS", 1_000_000)
	changes := size(b, "CHANGES", n)
	for i, c := range collections(n) {
		b.Run(c.name, func(b *testing.B) {
			server := servertest.Cache(b, servers.Redis, servers.CacheOptions{})
			redis := memoryOfServer(b, server, n, changes, c)

			c = collections(n)[i] // the same changes again
			debug.FreeOSMemory()
			before := resident(b, "self")
			k := keyspace.New(keyspace.Options{})
			var u []byte
			for i := range n {
				u = c.add(u[:0], i)
				mustApply(b, k, u)
			}
			fresh := resident(b, "self") - before
			for i := range changes {
				u = c.change(u[:0], i)
				mustApply(b, k, u)
			}
			changed := resident(b, "self") - before
			debug.FreeOSMemory()
			collected := resident(b, "self") - before
			runtime.KeepAlive(k)

			members := float64(n)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(fresh/members, "fresh-B/member")
			b.ReportMetric(changed/members, "changed-B/member")
			b.ReportMetric(collected/members, "collected-B/member")
			b.ReportMetric(redis.fresh/members, "redis-fresh-B/member")
			b.ReportMetric(redis.changed/members, "redis-changed-B/member")
			b.ReportMetric(redis.used/members, "redis-used-B/member")
			b.ReportMetric(fresh/redis.fresh, "fresh-ratio")
			b.ReportMetric(changed/redis.changed, "changed-ratio")
			b.ReportMetric(collected/redis.changed, "collected-ratio")
		})
	}
}

// serverMemory returns by how many bytes a server grew: resident memory after writing and after
// changes, and used_memory after the changes.
type serverMemory struct{ fresh, changed, used float64 }

func memoryOfServer(b *testing.B, server *servers.Cache, n, changes int,
	c collection,
) (m serverMemory) {
	b.Helper()
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", server.Addr())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	pid := strconv.Itoa(server.Pid())
	before, used := resident(b, pid), usedMemory(b, conn)
	feed(b, conn, n, c.add)
	m.fresh = resident(b, pid) - before
	feed(b, conn, changes, c.change)
	m.changed, m.used = resident(b, pid)-before, usedMemory(b, conn)-used
	return m
}

// usedMemory returns the used_memory of a redis-server.
func usedMemory(b *testing.B, conn net.Conn) float64 {
	b.Helper()
	if _, err := conn.Write(resp.AppendCommand(nil, "INFO", "memory")); err != nil {
		b.Fatal(err)
	}
	r := bufio.NewReader(conn)
	head, err := r.ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	length, err := strconv.Atoi(strings.Trim(head, "$\r\n"))
	if err != nil {
		b.Fatalf("INFO: %q", head)
	}
	text := make([]byte, length+2)
	if _, err := io.ReadFull(r, text); err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "used_memory:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(rest))
			if err != nil {
				b.Fatal(err)
			}
			return float64(n)
		}
	}
	b.Fatalf("INFO has no used_memory: %q", text)
	return 0
}

// What the garbage collector costs while a set and a sorted set of MEMBERS (1
// million) change at a steady rate: RATE a second (50,000), for SECONDS (5).
func BenchmarkGCMembers(b *testing.B) {
	n, rate, seconds := size(b, "MEMBERS", 1_000_000), size(b, "RATE", 50_000), size(b, "SECONDS",
		5)
	for _, c := range collections(n) {
		b.Run(c.name, func(b *testing.B) {
			k := keyspace.New(keyspace.Options{})
			var u []byte
			for i := range n {
				u = c.add(u[:0], i)
				mustApply(b, k, u)
			}
			reportGC(b, k, n, rate, seconds, "member", c.change)
			runtime.KeepAlive(k)
		})
	}
}
