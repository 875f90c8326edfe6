package replication_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
)

// readsEnv makes the test binary a node that holds rows and serves reads: "DIR ROWS".
const readsEnv = "ROWFALL_TEST_READS"

func init() {
	if os.Getenv(readsEnv) != "" {
		readsProcess()
	}
}

// readsRows returns the number of rows. ROWFALL_READ_ROWS sets another number.
func readsRows() int {
	if n, err := strconv.Atoi(os.Getenv("ROWFALL_READ_ROWS")); err == nil && n > 0 {
		return n
	}
	return 100_000
}

// readsTime returns the duration of each case. ROWFALL_READ_TIME sets another duration.
func readsTime() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("ROWFALL_READ_TIME")); err == nil && d > 0 {
		return d
	}
	return time.Second
}

// textKey and text are the key and value of the string that each row has for GET.
func textKey(i int) string { return fmt.Sprintf("document:%07d", i) }
func text(i int) string    { return fmt.Sprintf("%0100d", i) }

func textUnit(i int) []byte { return unit("SET", textKey(i), text(i)) }

// readsProcess is the process of the node. The benchmark kills it.
func readsProcess() {
	f := strings.Fields(os.Getenv(readsEnv))
	rows, _ := strconv.Atoi(f[1])
	n, err := replication.Open(
		replication.Config{Dir: f[0], Listen: "127.0.0.1:0", Logger: zerolog.Nop()},
	)
	if err != nil {
		fmt.Println("fault", err)
		os.Exit(1)
	}
	go n.Run(context.Background()) //nolint:errcheck // the process is killed
	n.SetComplete(true)
	for i := range rows {
		if _, err := n.Apply(context.Background(), 0, append(row(i), textUnit(i)...)); err != nil {
			fmt.Println("fault", err)
			os.Exit(1)
		}
	}
	fmt.Println("ready", n.Addr())
	if path := os.Getenv("ROWFALL_READ_PROFILE"); path != "" {
		for {
			profileReads(path)
		}
	}
	select {}
}

// profileReads writes a CPU profile of the next ten seconds.
func profileReads(path string) {
	f, err := os.Create(path + ".new")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = pprof.StartCPUProfile(f)
	time.Sleep(10 * time.Second)
	pprof.StopCPUProfile()
	if err := errors.Join(f.Close(), os.Rename(path+".new", path)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// readsNode starts the process of the node, and returns when the node holds its rows.
func readsNode(b *testing.B, rows int) *readsServer {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", readsEnv, b.TempDir(), rows))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	f := strings.Fields(line)
	if err != nil || len(f) != 2 || f[0] != "ready" {
		b.Fatalf("the node's process: %q, %v", line, err)
	}
	return &readsServer{"node", f[1], cmd.Process.Pid}
}

// readsServer is one of the compared servers.
type readsServer struct {
	name, addr string
	pid        int
}

// used returns the CPU time of the server's process, to a hundredth of a second.
func (s *readsServer) used(b *testing.B) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.pid), "stat"))
	if err != nil {
		b.Skip(err)
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	ticks := 0
	for _, i := range []int{11, 12} { // utime and stime, counted from the state
		n, err := strconv.Atoi(f[i])
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// request is a prepared command with the length of its reply, so that the client needs little CPU
// time and parses nothing.
type request struct {
	command []byte
	reply   int
}

// requests prepares one command for each row. The lengths of the replies follow from the row,
// because fields may come in any order.
func requests(command string, rows int) []request {
	all := make([]request, rows)
	for i := range all {
		if command == "GET" {
			all[i] = request{unit("GET", textKey(i)), len("$100\r\n") + 100 + 2}
			continue
		}
		key := fmt.Sprintf("customer:%07d", i)
		u := row(i)
		all[i] = request{
			unit("HGETALL", key),
			len("*16\r\n") + len(u) - len(unit("HSET", key)) - len("*18\r\n") + len("*2\r\n"),
		}
	}
	return all
}

// measure sends random requests on several connections for the duration d. It returns the rate of
// replies and the CPU time of each reply.
func (s *readsServer) measure(b *testing.B, all []request, connections, pipeline int,
	d time.Duration,
) (rate float64, each time.Duration) {
	b.Helper()
	counts, errs := make([]int, connections), make([]error, connections)
	before, began := s.used(b), time.Now()
	var wg sync.WaitGroup
	for c := range connections {
		wg.Go(
			func() {
				counts[c], errs[c] = measureOne(s.addr, all, pipeline, began.Add(d), uint64(c))
			},
		)
	}
	wg.Wait()
	took, used := time.Since(began), s.used(b)-before
	total := 0
	for c := range connections {
		if errs[c] != nil {
			b.Fatalf("%s: %v", s.name, errs[c])
		}
		total += counts[c]
	}
	return float64(total) / took.Seconds(), used / time.Duration(total)
}

func measureOne(addr string, all []request, pipeline int, until time.Time,
	seed uint64,
) (int, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(until.Add(waitTimeout)); err != nil {
		return 0, err
	}
	r := rand.New(rand.NewPCG(seed, 1))
	out, in, done := []byte{}, make([]byte, 64<<10), 0
	for n := 0; n%16 != 0 || time.Now().Before(until); n++ {
		out = out[:0]
		want := 0
		for range pipeline {
			q := all[r.IntN(len(all))]
			out, want = append(out, q.command...), want+q.reply
		}
		if _, err := conn.Write(out); err != nil {
			return 0, err
		}
		for got := 0; got < want; {
			k, err := conn.Read(in)
			if err != nil {
				return 0, fmt.Errorf("%d bytes of replies instead of %d: %w", got, want, err)
			}
			if got += k; got > want || got == k && in[0] == '-' {
				return 0, fmt.Errorf("reply is %.80q", in[:k])
			}
		}
		done += pipeline
	}
	return done, nil
}

// BenchmarkReads measures how fast a node, a Redis and a Valkey reply to GET of 100 bytes and
// HGETALL of eight fields, with the same client in the same run, and the CPU time of each reply in
// the server's process, kernel included. A ratio above 1 means that the node is better: more
// replies in a second, or less CPU time for each.
func BenchmarkReads(b *testing.B) {
	servertest.Need(b, servers.Redis, servers.Valkey)
	rows := readsRows()
	compared := []*readsServer{readsNode(b, rows)}
	for _, kind := range []servers.Kind{servers.Redis, servers.Valkey} {
		srv := servertest.Cache(b, kind, servers.CacheOptions{})
		load(b, srv.Addr(), rows, row)
		load(b, srv.Addr(), rows, textUnit)
		compared = append(compared, &readsServer{string(kind), srv.Addr(), srv.Pid()})
	}
	for _, command := range []string{"GET", "HGETALL"} {
		all := requests(command, rows)
		for _, pipeline := range []int{1, 16} {
			for _, connections := range []int{1, 4} {
				b.Run(
					fmt.Sprintf("%s/pipeline=%d/connections=%d", command, pipeline, connections),
					func(b *testing.B) {
						for b.Loop() {
							compareReads(b, compared, all, connections, pipeline)
						}
					},
				)
			}
		}
	}
}

func compareReads(b *testing.B, compared []*readsServer, all []request, connections, pipeline int) {
	rates, costs := make([]float64, len(compared)), make([]float64, len(compared))
	for i, s := range compared {
		s.measure(b, all, connections, pipeline, readsTime()/5) // warm-up
		rate, each := s.measure(b, all, connections, pipeline, readsTime())
		rates[i], costs[i] = rate, float64(each.Nanoseconds())/1000
		b.ReportMetric(rate, s.name+"-ops/s")
		b.ReportMetric(costs[i], s.name+"-cpu-us/op")
		if i > 0 {
			b.ReportMetric(rates[0]/rate, "x-"+s.name+"-ops")
			b.ReportMetric(costs[i]/costs[0], "x-"+s.name+"-cpu")
		}
	}
	b.ReportMetric(0, "ns/op")
}
