package replication_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
	"rowfall/replication/replog"
	"rowfall/replication/resp"
)

// person appends the HSET of a complete row of eight fields.
func person(dst []byte, i int, r *rand.Rand) []byte {
	id, city := strconv.Itoa(i), r.IntN(len(cities))
	return resp.AppendCommand(dst, "HSET", "people:"+id, "id", id, "name", "Person "+id,
		"email", "person"+id+"@example.com", "city", cities[city][0], "country", cities[city][1],
		"balance", balance(r), "visits", strconv.Itoa(r.IntN(1000)), "joined",
		time.Unix(1577836800+int64(i), 0).UTC().Format(time.DateTime))
}

var cities = [][2]string{{"Zürich", "CH"}, {"Oslo", "NO"}, {"São Paulo", "BR"}, {"Kyoto", "JP"}}

func balance(r *rand.Rand) string { return fmt.Sprintf("%.2f", r.Float64()*10000) }

// delta appends the HSET of one or two fields of a row, whose values often have another length.
func delta(dst []byte, i int, r *rand.Rand) []byte {
	key := "people:" + strconv.Itoa(i)
	switch r.IntN(4) {
	case 0:
		city := r.IntN(len(cities))
		return resp.AppendCommand(dst, "HSET", key, "city", cities[city][0], "country",
			cities[city][1])
	case 1:
		return resp.AppendCommand(dst, "HSET", key, "balance", balance(r))
	default:
		return resp.AppendCommand(dst, "HSET", key, "balance", balance(r), "visits",
			strconv.Itoa(r.IntN(1000)))
	}
}

// feedPeople writes rows, calls written, and then updates random rows. apply gets units of 100
// commands.
func feedPeople(rows, updates int, apply func(unit []byte), written func()) {
	r := rand.New(rand.NewPCG(1, 1))
	var u []byte
	send := func(n int, command func(i int)) {
		for i := range n {
			if command(i); i%100 == 99 || i == n-1 {
				apply(u)
				u = u[:0]
			}
		}
	}
	send(rows, func(i int) { u = person(u, i, r) })
	written()
	send(updates, func(int) { u = delta(u, r.IntN(rows), r) })
}

// BenchmarkResident measures the resident memory of a whole process, a node and a redis-server, per
// row of eight fields: after writing ROWFALL_ROWS rows (200,000), and after five random updates for
// each, when the process has been idle for a moment. What the node's memory is used for is logged.
func BenchmarkResident(b *testing.B) {
	rows := benchRows()
	n := float64(rows)
	b.Run("redis", func(b *testing.B) {
		server := servertest.Cache(b, servers.Redis, servers.CacheOptions{})
		conn, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", server.Addr())
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		status := "/proc/" + strconv.Itoa(server.Pid()) + "/status"
		in := make([]byte, 100*len(":0\r\n"))
		feedPeople(rows, 5*rows, func(u []byte) {
			if _, err := conn.Write(u); err != nil {
				b.Fatal(err)
			}
			for got := 0; got < len(in); {
				k, err := conn.Read(in[got:])
				if err != nil || in[0] == '-' {
					b.Fatalf("%q: %v", in[:k], err)
				}
				got += k
			}
		}, func() { b.ReportMetric(statusBytes(b, status, "VmRSS")/n, "written-B/row") })
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(statusBytes(b, status, "VmRSS")/n, "updated-B/row")
		b.ReportMetric(statusBytes(b, status, "VmHWM")/n, "peak-B/row")
	})
	b.Run("node", func(b *testing.B) {
		defer debug.SetGCPercent(debug.SetGCPercent(200)) // as the command rowfall does
		node := benchNode(b, replication.Config{Log: replog.Config{Keep: 256 << 20}})
		ctx := context.Background()
		feedPeople(rows, 5*rows, func(u []byte) {
			if _, err := node.Apply(ctx, 0, u); err != nil {
				b.Fatal(err)
			}
		}, func() { b.ReportMetric(statusBytes(b, self, "VmRSS")/n, "written-B/row") })
		busy := statusBytes(b, self, "VmRSS")
		logMemory(b, node, n)
		b.ReportMetric(busy/n, "updated-B/row")
		b.ReportMetric(statusBytes(b, self, "VmHWM")/n, "peak-B/row")
		debug.FreeOSMemory()
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(statusBytes(b, self, "VmRSS")/n, "collected-B/row")
		runtime.KeepAlive(node)
	})
}

const self = "/proc/self/status"

// statusBytes returns a field of a process's status file, in bytes.
func statusBytes(b *testing.B, file, field string) float64 {
	b.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		b.Skip(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kib) * 1024
		}
	}
	b.Fatalf("no %s in %s", field, text)
	return 0
}

// logMemory logs what the process uses its memory for, in bytes per row.
func logMemory(b *testing.B, node *replication.Node, rows float64) {
	b.Helper()
	var text strings.Builder
	add := func(name string, bytes float64) {
		fmt.Fprintf(&text, "%-32s %12.0f  %6.1f\n", name, bytes, bytes/rows)
	}
	text.WriteString("\n")
	for _, field := range []string{"VmRSS", "RssAnon", "RssFile"} {
		add(field, statusBytes(b, self, field))
	}
	m := node.Status().Memory
	add("arenas: live", float64(m.Live))
	add("arenas: garbage", float64(m.Garbage))
	add("arenas: mapped", float64(m.Mapped))
	add("key table", float64(m.Table))
	add("log window", float64(m.Window))
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/memory/classes/metadata/mcache/inuse:bytes"},
		{Name: "/memory/classes/metadata/mspan/inuse:bytes"},
		{Name: "/memory/classes/metadata/other:bytes"},
		{Name: "/memory/classes/profiling/buckets:bytes"},
		{Name: "/memory/classes/other:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/gc/heap/goal:bytes"},
		{Name: "/gc/cycles/total:gc-cycles"},
	}
	metrics.Read(samples)
	for _, s := range samples {
		add(s.Name, float64(s.Value.Uint64()))
	}
	fmt.Println(text.String()) // Log of a benchmark truncates it
}
