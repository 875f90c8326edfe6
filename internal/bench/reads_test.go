//go:build bench

package bench_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication/resp"
)

const (
	readConnections = 4
	streamRate      = 50_000 // rows/s that a node writes while the latency of reads is measured
	// readInterval is the time between two reads on one connection while latency is measured.
	readInterval = 2 * time.Millisecond
)

// readTarget is a server that reads are measured of.
type readTarget struct {
	process
	name, addr string
}

// request is a prepared command with the length of its reply, so that the client needs little CPU
// and parses nothing.
type request struct {
	command []byte
	reply   int
}

// prepareRequests prepares a command for each row.
func prepareRequests(command string, rows int) []request {
	all := make([]request, rows)
	for i := range all {
		if command == "GET" {
			all[i] = request{
				resp.AppendCommand(nil, "GET", fedTextKey(i)), len("$100\r\n") + 100 + len("\r\n"),
			}
			continue
		}
		// The fields come in any order. Their bytes are those of the command HSET.
		key := fedRowKey(i)
		fields := len(appendFedRow(nil, i, 0)) - len("*18\r\n") -
			len(resp.AppendCommand(nil, "HSET", key)) + len("*2\r\n")
		all[i] = request{resp.AppendCommand(nil, "HGETALL", key), len("*16\r\n") + fields}
	}
	return all
}

// measureReads measures the CPU of reads beside redis-server, and their latency while the node
// writes rows.
func (b *bench) measureReads() {
	c := start(b, job{Contender: "fed", Dir: b.TempDir(), Rows: b.readRows, Texts: true})
	node := readTarget{process{b, c.cmd.Process.Pid}, "node", c.expect("ready").Addr}
	cache := servertest.Cache(b, servers.Redis, servers.CacheOptions{})
	redis := readTarget{process{b, cache.Pid()}, "redis", cache.Addr()}
	s := dialServer(b, redis.addr)
	s.feed(b.readRows, func(commands []byte, i int) []byte { return appendFedRow(commands, i, 0) })
	s.feed(b.readRows, appendFedText)
	b.report.addSection(fmt.Sprintf("Reads on %d connections, compared to redis-server",
		readConnections))
	for _, command := range []string{"GET", "HGETALL"} {
		for _, pipeline := range []int{1, 16} {
			stopProfile := c.profile(b.profiles, fmt.Sprintf("reads-%s-%d", command, pipeline))
			b.compareReads(node, redis, command, pipeline)
			stopProfile()
		}
	}
	_ = cache.Stop() // the cleanup of the test reports an error
	b.measureReadLatency(c, node)
	c.stop()
}

// compareReads measures both servers in turns.
func (b *bench) compareReads(node, redis readTarget, command string, pipeline int) {
	all := prepareRequests(command, b.readRows)
	var costs, rates [2][]float64
	for range b.rounds {
		for i, target := range []readTarget{node, redis} {
			b.read(target, all, pipeline, 200*time.Millisecond) // warm-up
			rate, each := b.read(target, all, pipeline, 2*time.Second)
			rates[i], costs[i] = append(rates[i], rate), append(costs[i], each)
		}
	}
	name := fmt.Sprintf("%s, pipeline of %d", command, pipeline)
	perSecond := func(f float64) string { return thousands(f) + "/s" }
	b.report.compare(name+", CPU of a reply", costs[0], costs[1], micros, atMost(1))
	b.report.compare("  replies per second", rates[0], rates[1], perSecond, none)
}

// read reads random rows on several connections. It returns the rate of replies, and the seconds of
// CPU of each reply in the server's process.
func (b *bench) read(
	target readTarget, all []request, pipeline int, d time.Duration,
) (rate, each float64) {
	b.Helper()
	var counts [readConnections]int
	var errs [readConnections]error
	used, began := target.cpu(), time.Now()
	var wg sync.WaitGroup
	for n := range readConnections {
		wg.Go(func() {
			reader, err := dialReader(target.addr, all, uint64(n))
			if err != nil {
				errs[n] = err
				return
			}
			defer reader.conn.Close()
			for time.Since(began) < d && errs[n] == nil {
				errs[n] = reader.read(pipeline)
				counts[n] += pipeline
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	used = target.cpu() - used
	total := 0.0
	for n, err := range errs {
		if err != nil {
			b.Fatalf("%s: %v", target.name, err)
		}
		total += float64(counts[n])
	}
	return total / took.Seconds(), used.Seconds() / total
}

// reader is one connection that reads random rows.
type reader struct {
	conn    net.Conn
	all     []request
	random  *rand.Rand
	out, in []byte
}

func dialReader(addr string, all []request, seed uint64) (*reader, error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	err = conn.SetDeadline(time.Now().Add(waitTimeout))
	return &reader{
		conn: conn, all: all, random: rand.New(rand.NewPCG(seed, 1)), in: make([]byte, 64<<10),
	}, err
}

// read sends a pipeline of requests and reads the replies.
func (r *reader) read(pipeline int) error {
	r.out = r.out[:0]
	want := 0
	for range pipeline {
		q := &r.all[r.random.IntN(len(r.all))]
		r.out, want = append(r.out, q.command...), want+q.reply
	}
	if _, err := r.conn.Write(r.out); err != nil {
		return err
	}
	for got := 0; got < want; {
		k, err := r.conn.Read(r.in)
		if err != nil {
			return fmt.Errorf("%d bytes of replies instead of %d: %w", got, want, err)
		}
		if got += k; got > want || got == k && r.in[0] == '-' {
			return fmt.Errorf("reply is %.80q", r.in[:k])
		}
	}
	return nil
}

// measureReadLatency compares the p99 of GET of a node that writes rows with that of an idle node.
func (b *bench) measureReadLatency(c *child, node readTarget) {
	all := prepareRequests("GET", b.readRows)
	var p50, p99 [2][]float64
	var written []float64
	for range b.rounds {
		for i, rate := range []int{0, streamRate} {
			c.send(fmt.Sprintf("rate %d", rate))
			began := time.Now()
			l := b.timeReads(node, all, 4*time.Second)
			p50[i] = append(p50[i], l[len(l)/2].Seconds())
			p99[i] = append(p99[i], l[len(l)*99/100].Seconds())
			if rate > 0 {
				c.send("rate 0")
				took := time.Since(began)
				written = append(written, float64(c.expect("written").Rows)/took.Seconds())
			}
		}
	}
	b.report.addSection(fmt.Sprintf(
		"GET while %s rows/s are applied directly to the node, compared to the idle node",
		thousands(streamRate)))
	b.report.compare("p50 of GET", p50[1], p50[0], microseconds, none)
	b.report.compare("p99 of GET", p99[1], p99[0], microseconds, atMost(1.5))
	b.report.addNote("Each of %d connections sends a GET every %s. The node applied %s.",
		readConnections, readInterval, rows(median(written)))
}

// timeReads sends reads at a fixed rate on several connections. It returns the sorted times from a
// request to its reply.
func (b *bench) timeReads(target readTarget, all []request, d time.Duration) []time.Duration {
	b.Helper()
	var took [readConnections][]time.Duration
	var errs [readConnections]error
	var wg sync.WaitGroup
	began := time.Now()
	for n := range readConnections {
		wg.Go(func() {
			runtime.LockOSThread() // for preciseSleep
			defer runtime.UnlockOSThread()
			reader, err := dialReader(target.addr, all, uint64(n))
			if err != nil {
				errs[n] = err
				return
			}
			defer reader.conn.Close()
			due := began.Add(readInterval * time.Duration(n) / readConnections)
			for ; due.Before(began.Add(d)) && errs[n] == nil; due = due.Add(readInterval) {
				preciseSleep(max(0, time.Until(due)))
				sent := time.Now()
				errs[n] = reader.read(1)
				took[n] = append(took[n], time.Since(sent))
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			b.Fatalf("%s: %v", target.name, err)
		}
	}
	sorted := slices.Concat(took[:]...)
	slices.Sort(sorted)
	return sorted
}
