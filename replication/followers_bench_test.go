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
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rowfall/replication"
	"rowfall/replication/resp"
)

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

// followersEnv makes the test binary fake replicas: "ADDR COUNT".
const followersEnv = "ROWFALL_TEST_FOLLOWERS"
