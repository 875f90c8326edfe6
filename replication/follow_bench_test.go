package replication_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/replication"
	"rowfall/replication/replog"
)

// BenchmarkFollow measures a node as a replica whose upstream sends rows as fast as the node reads
// them, one command for each row.
func BenchmarkFollow(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	// The snapshot of an empty node, and a chunk of the stream.
	empty, stopEmpty := complete(&testing.T{},
		replication.Config{Listen: "127.0.0.1:0", Dir: b.TempDir(), Logger: zerolog.Nop()})
	r := dialRaw(&testing.T{}, empty.Addr())
	r.send("PSYNC", "?", "-1")
	r.reply()
	size, err := strconv.Atoi(r.reply()[1:])
	if err != nil {
		b.Fatal(err)
	}
	snapshot := make([]byte, size)
	if _, err := io.ReadFull(r.r, snapshot); err != nil {
		b.Fatal(err)
	}
	stopEmpty()
	const rows = 1 << 14
	var chunk []byte
	for i := range rows {
		id := strconv.Itoa(i)
		chunk = append(
			chunk, unit("HSET", "user:"+id, "id", id, "name", "user number "+id, "email",
				id+"@example.com", "country", "DE", "created", "2024-01-01 00:00:00", "status",
				"active")...)
	}
	n, err := replication.Open(
		replication.Config{
			Listen: "127.0.0.1:0", Dir: b.TempDir(),
			ReplicaOf: l.Addr().String(), Log: replog.Config{Keep: 256 << 20},
			Logger: zerolog.Nop(),
		},
	)
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(context.Background()) }()
	conn, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	up := &rawConn{&testing.T{}, conn, newReader(conn)}
	for _, answer := range []string{
		"+PONG\r\n",
		"+OK\r\n",
		"+OK\r\n",
		fmt.Sprintf("+FULLRESYNC %040d 0\r\n$%d\r\n%s", 1, size, snapshot),
	} {
		up.command()
		if _, err := io.WriteString(conn, answer); err != nil {
			b.Fatal(err)
		}
	}
	go io.Copy(io.Discard, conn) //nolint:errcheck // acknowledgements
	b.SetBytes(int64(len(chunk) / rows))
	b.ReportAllocs()
	b.ResetTimer()
	sent := 0
	for range (b.N + rows - 1) / rows { // whole chunks
		if _, err := conn.Write(chunk); err != nil {
			b.Fatal(err)
		}
		sent += len(chunk)
	}
	for int(n.Offset()) < sent {
		<-n.Published()
	}
	b.ReportMetric(float64(sent/len(chunk)*rows)/b.Elapsed().Seconds(), "rows/s")
	n.Close()
	<-done
}
