package replication_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/replication"
	"rowfall/replication/replog"
	"rowfall/replication/resp"
)

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
