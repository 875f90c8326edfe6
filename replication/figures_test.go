package replication_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
	"rowfall/replication/replog"
	"rowfall/replication/resp"
)

// benchRows returns the number of rows of the benchmarks. ROWFALL_ROWS sets another number.
func benchRows() int {
	if n, err := strconv.Atoi(os.Getenv("ROWFALL_ROWS")); err == nil {
		return n
	}
	return 200_000
}

// row returns the unit of one row: eight fields and about 110 bytes under a key of 16 bytes.
func row(i int) []byte {
	id := strconv.Itoa(i)
	return unit("HSET", fmt.Sprintf("customer:%07d", i), "id", id, "name", "customer number "+id,
		"email", id+"@example.com", "country", "DE", "created", "2024-01-01 00:00:00", "status",
		"active", "balance", "1234.56", "visits", strconv.Itoa(i%1000))
}

// benchNode starts a complete node that ends with the benchmark.
func benchNode(b *testing.B, c replication.Config) *replication.Node {
	b.Helper()
	c.Listen, c.Dir, c.Logger = "127.0.0.1:0", b.TempDir(), zerolog.Nop()
	n, err := replication.Open(c)
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(context.Background()) }()
	b.Cleanup(func() { n.Close(); <-done })
	n.SetComplete(true)
	return n
}

// applyRows applies rows from..to-1 in units of 100.
func applyRows(b *testing.B, n *replication.Node, from, to int) {
	b.Helper()
	for i := from; i < to; i += 100 {
		var u []byte
		for k := i; k < min(i+100, to); k++ {
			u = append(u, row(k)...)
		}
		if _, err := n.Apply(context.Background(), 0, u); err != nil {
			b.Fatal(err)
		}
	}
}

// waitInfo waits until a field of a server's INFO has the value want.
func waitInfo(b *testing.B, addr, section, name, want string) {
	b.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	end := time.Now().Add(2 * time.Minute)
	for ; time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if _, err := conn.Write(unit("INFO", section)); err != nil {
			b.Fatal(err)
		}
		head, err := r.ReadString('\n')
		if err != nil {
			b.Fatal(err)
		}
		size, err := strconv.Atoi(strings.Trim(head, "$\r\n"))
		if err != nil {
			continue // the server is loading
		}
		text := make([]byte, size+2)
		if _, err := io.ReadFull(r, text); err != nil {
			b.Fatal(err)
		}
		if strings.Contains(string(text), name+":"+want+"\r\n") {
			return
		}
	}
	b.Fatalf("%s: %s is not %s", addr, name, want)
}

// cpu returns the CPU time that this process has used, and the kernel's part of it.
func cpu() (all, kernel time.Duration) {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), time.Duration(u.Stime.Nano())
}

// joinTime returns the time from REPLICAOF on a fresh server until its link is up.
func joinTime(b *testing.B, kind servers.Kind, master string, args ...string) time.Duration {
	b.Helper()
	srv := servertest.Cache(b, kind, servers.CacheOptions{Args: args})
	conn, err := net.Dial("tcp", srv.Addr())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	host, port, _ := net.SplitHostPort(master)
	began := time.Now()
	if _, err := conn.Write(unit("REPLICAOF", host, port)); err != nil {
		b.Fatal(err)
	}
	waitInfo(b, srv.Addr(), "replication", "master_link_status", "up")
	took := time.Since(began)
	if err := srv.Kill(); err != nil {
		b.Fatal(err)
	}
	return took
}

// BenchmarkFullResync compares a full resync of a Redis 8 from a node, with and without an existing
// snapshot file, with one from a Redis 8 master in the same run. It does the same with Valkey, and
// measures what the plain form costs a Redis 7.0.
func BenchmarkFullResync(b *testing.B) {
	servertest.Need(b, servers.Redis, servers.RedisStable, servers.Valkey)
	rows := benchRows()
	packed, plain := benchNode(b, replication.Config{AssumeReplicas: "7.0"}), benchNode(b,
		replication.Config{})
	applyRows(b, packed, 0, rows)
	applyRows(b, plain, 0, rows)
	masters := map[servers.Kind]string{}
	for _, kind := range []servers.Kind{servers.Redis, servers.Valkey} {
		srv := servertest.Cache(b, kind,
			servers.CacheOptions{Args: []string{"--repl-diskless-sync-delay", "0"}})
		load(b, srv.Addr(), rows, row)
		masters[kind] = srv.Addr()
	}
	swap := []string{"--repl-diskless-load", "swapdb"}
	for b.Loop() {
		fresh := joinTime(b, servers.Redis, packed.Addr())
		there := joinTime(b, servers.Redis, packed.Addr())
		diskless := joinTime(b, servers.Redis, packed.Addr(), swap...)
		redis := joinTime(b, servers.Redis, masters[servers.Redis])
		redisDiskless := joinTime(b, servers.Redis, masters[servers.Redis], swap...)
		toValkey := joinTime(b, servers.Valkey, packed.Addr())
		valkey := joinTime(b, servers.Valkey, masters[servers.Valkey])
		stable := joinTime(b, servers.RedisStable, packed.Addr())
		stablePlain := joinTime(b, servers.RedisStable, plain.Addr())
		b.Logf("%d rows to redis 8: new file %v, file there %v, there and diskless load %v",
			rows, fresh, there, diskless)
		b.Logf("from redis 8 %v, diskless load %v", redis, redisDiskless)
		b.Logf("to valkey 9: file there %v, from valkey 9 %v; to redis 7.0: packed %v, plain %v",
			toValkey, valkey, stable, stablePlain)
		b.ReportMetric(redis.Seconds()/fresh.Seconds(), "x-redis/new-file")
		b.ReportMetric(redis.Seconds()/there.Seconds(), "x-redis/file-there")
		b.ReportMetric(redisDiskless.Seconds()/diskless.Seconds(), "x-redis/diskless")
		b.ReportMetric(valkey.Seconds()/toValkey.Seconds(), "x-valkey/file-there")
		b.ReportMetric(stablePlain.Seconds()/stable.Seconds(), "x-plain-7.0")
	}
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// load sends a real server one command for each row. Each reply must be one line.
func load(b *testing.B, addr string, rows int, command func(i int) []byte) {
	b.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	go func() {
		w := bufio.NewWriterSize(conn, 1<<20)
		for i := range rows {
			_, _ = w.Write(command(i))
		}
		_ = w.Flush()
	}()
	r := bufio.NewReader(conn)
	for range rows {
		if _, err := r.ReadString('\n'); err != nil {
			b.Fatal(err)
		}
	}
}

// fakeReplica reads and acknowledges. Where CPU time is measured it has a process of its own.
func fakeReplica(addr string, online chan<- struct{}) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	handshake := append(
		unit("REPLCONF", "capa", "eof", "capa", "psync2", "capa", "rdb-listpack"),
		unit("PSYNC", "?", "-1")...,
	)
	if _, err := conn.Write(handshake); err != nil {
		return err
	}
	r := resp.NewReader(conn, 1<<20)
	at := int64(0)
	for {
		line, err := r.ReadLine()
		if err != nil {
			return err
		}
		if f, ok := strings.CutPrefix(string(line), "+FULLRESYNC "); ok {
			at, _ = strconv.ParseInt(strings.Fields(f)[1], 10, 64)
		}
		if mark, ok := strings.CutPrefix(string(line), "$EOF:"); ok {
			err = skipMarked(r, []byte(mark))
		} else if size, ok := strings.CutPrefix(string(line), "$"); ok {
			n, _ := strconv.ParseInt(size, 10, 64)
			_, err = io.CopyN(io.Discard, r, n)
		} else {
			continue
		}
		if err != nil {
			return err
		}
		break
	}
	var mu sync.Mutex
	ack := func() bool {
		mu.Lock()
		defer mu.Unlock()
		_, err := conn.Write(unit("REPLCONF", "ACK", strconv.FormatInt(at, 10)))
		return err == nil
	}
	ack()
	close(online)
	go func() {
		for ack() {
			time.Sleep(time.Second)
		}
	}()
	b := make([]byte, 256<<10)
	for {
		n, err := r.Read(b)
		mu.Lock()
		at += int64(n)
		mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// skipMarked reads up to the end mark of a snapshot.
func skipMarked(r io.Reader, mark []byte) error {
	b := make([]byte, 256<<10)
	kept := 0
	for {
		n, err := r.Read(b[kept:])
		if err != nil {
			return err
		}
		if bytes.HasSuffix(b[:kept+n], mark) {
			return nil
		}
		tail := b[max(kept+n-len(mark), 0) : kept+n]
		kept = copy(b, tail)
	}
}

// followersProcess is the process of fake replicas. It prints "online" when all are online.
func followersProcess() {
	f := strings.Fields(os.Getenv(followersEnv))
	count, _ := strconv.Atoi(f[1])
	all := make([]chan struct{}, count)
	for i := range all {
		all[i] = make(chan struct{})
		go func() {
			fmt.Println("left:", fakeReplica(f[0], all[i]))
			os.Exit(1)
		}()
	}
	for _, online := range all {
		<-online
	}
	fmt.Println("online")
	select {}
}

// followers starts fake replicas in one process and waits until all have their snapshot.
func followers(b *testing.B, n *replication.Node, count int) (stop func()) {
	b.Helper()
	if count == 0 {
		return func() {}
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", followersEnv, n.Addr(), count))
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		b.Fatalf("the followers ended: %q, %v", line, err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// BenchmarkJoins measures the CPU time of this process for one join and for ten joins, over three
// rounds.
func BenchmarkJoins(b *testing.B) {
	rows := benchRows()
	for b.Loop() {
		var all [2]time.Duration
		for range 3 {
			var used, kernel [2]time.Duration
			for i, count := range []int{1, 10} {
				used[i], kernel[i] = joinCPU(b, rows, count)
				all[i] += used[i]
			}
			b.Logf("%d rows: one join %v (of it in the kernel %v), ten %v (%v)", rows, used[0],
				kernel[0], used[1], kernel[1])
		}
		b.ReportMetric(all[1].Seconds()/all[0].Seconds(), "x-cpu-of-ten")
	}
}

// joinCPU returns the CPU time of count joins at once, and the kernel's part of it.
func joinCPU(b *testing.B, rows, count int) (all, kernel time.Duration) {
	b.Helper()
	n := benchNode(b, replication.Config{})
	defer n.Close()
	applyRows(b, n, 0, rows)
	runtime.GC() // the garbage of the rows must not count as work of the joins
	was, inKernel := cpu()
	stop := followers(b, n, count)
	defer stop()
	all, kernel = cpu()
	if st := n.Status(); st.Snapshot.Written > 1 || st.FullSyncs != int64(count) {
		b.Errorf("%d snapshots for %d joins", st.Snapshot.Written, st.FullSyncs)
	}
	return all - was, kernel - inKernel
}

// BenchmarkFollowers measures the CPU time of this process for writing rows, one in each unit, at a
// steady rate with 0, 1 and 20 followers.
func BenchmarkFollowers(b *testing.B) {
	const rate, seconds = 20_000, 3
	for b.Loop() {
		var used [3]time.Duration
		for i, count := range []int{0, 1, 20} {
			n := benchNode(b, replication.Config{})
			stop := followers(b, n, count)
			before, _ := cpu()
			began := time.Now()
			for k := range rate * seconds {
				if _, err := n.Apply(context.Background(), 0, row(k)); err != nil {
					b.Fatal(err)
				}
				if k%20 == 0 {
					time.Sleep(time.Until(began.Add(time.Duration(k) * time.Second / rate)))
				}
			}
			took := time.Since(began)
			after, _ := cpu()
			used[i] = after - before
			if took > seconds*1100*time.Millisecond {
				b.Logf("%d followers: the rate was not reached in %v", count, took)
			}
			eventuallyB(b, func() bool {
				for _, r := range n.Status().Replicas {
					if r.Acked != n.Offset() {
						return false
					}
				}
				return true
			})
			stop()
			n.Close()
		}
		b.Logf("%d rows/s for %d s: no follower %v, one %v, twenty %v", rate, seconds, used[0],
			used[1], used[2])
		b.ReportMetric(used[2].Seconds()/used[1].Seconds(), "x-cpu-of-20")
	}
}

func eventuallyB(b *testing.B, ok func() bool) {
	b.Helper()
	for end := time.Now().Add(waitTimeout); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("timed out after %v", waitTimeout)
		}
	}
}

// BenchmarkStreamToReplica measures how fast a real server applies rows from a node, and the same
// bytes from a file that a plain socket sends.
func BenchmarkStreamToReplica(b *testing.B) {
	rows := benchRows()
	file := unit("SELECT", "0")
	for i := range rows {
		file = append(file, row(i)...)
	}
	for _, kind := range []servers.Kind{servers.Redis, servers.Valkey} {
		b.Run(string(kind), func(b *testing.B) {
			servertest.Need(b, kind)
			for b.Loop() {
				live, direct := streamFromNode(b, kind, rows), streamFromFile(b, kind, file)
				b.Logf("%d rows: from the log in %v, from a file by a plain socket in %v", rows,
					live, direct)
				b.ReportMetric(float64(rows)/live.Seconds(), "rows/s")
				b.ReportMetric(live.Seconds()/direct.Seconds(), "x-file")
			}
		})
	}
}

func streamFromNode(b *testing.B, kind servers.Kind, rows int) time.Duration {
	b.Helper()
	n := benchNode(b, replication.Config{Log: replog.Config{Memory: 16 << 20}})
	defer n.Close()
	srv := servertest.Cache(b, kind, servers.CacheOptions{ReplicaOf: n.Addr()})
	waitInfo(b, srv.Addr(), "replication", "master_link_status", "up")
	// The server is stopped while everything is written, so that only its own speed counts
	// afterwards, and most of the log is read from disk.
	must(b, srv.Signal(syscall.SIGSTOP))
	applyRows(b, n, 0, rows)
	began := time.Now()
	must(b, srv.Signal(syscall.SIGCONT))
	waitInfo(b, srv.Addr(), "replication", "slave_repl_offset", n.Offset().String())
	return time.Since(began)
}

func streamFromFile(b *testing.B, kind servers.Kind, file []byte) time.Duration {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	ready := make(chan time.Time, 1)
	go serveFile(l, file, ready)
	srv := servertest.Cache(b, kind, servers.CacheOptions{ReplicaOf: l.Addr().String()})
	began := <-ready
	waitInfo(b, srv.Addr(), "replication", "slave_repl_offset", strconv.Itoa(len(file)))
	return time.Since(began)
}

// emptyRDB is a snapshot without keys. Servers do not check a checksum of zero.
const emptyRDB = "REDIS0009\xff\x00\x00\x00\x00\x00\x00\x00\x00"

// serveFile is a minimal master: it sends an empty snapshot and then the file.
func serveFile(l net.Listener, file []byte, ready chan<- time.Time) {
	conn, err := l.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	r := resp.NewReader(conn, 16<<10)
	sent := false
	for {
		args, _, err := r.ReadCommand()
		if err != nil {
			return
		}
		if len(args) == 0 {
			continue
		}
		switch strings.ToUpper(string(args[0])) {
		case "PSYNC":
			_, _ = fmt.Fprintf(conn, "+FULLRESYNC %s 0\r\n$%d\r\n%s", unknownID, len(emptyRDB),
				emptyRDB)
		case "PING":
			_, _ = conn.Write([]byte("+PONG\r\n"))
		case "REPLCONF":
			if strings.EqualFold(string(args[1]), "ack") {
				if !sent {
					sent = true
					ready <- time.Now()
					go func() { _, _ = conn.Write(file) }()
				}
				continue
			}
			_, _ = conn.Write([]byte("+OK\r\n"))
		}
	}
}
