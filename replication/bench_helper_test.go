package replication_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"rowfall/replication"
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

func eventuallyB(b *testing.B, ok func() bool) {
	b.Helper()
	for end := time.Now().Add(waitTimeout); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("timed out after %v", waitTimeout)
		}
	}
}
