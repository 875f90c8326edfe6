package rdb_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
)

const benchRows = 100_000

// rows is a keyspace of rows of eight columns and about 110 bytes.
func rows(b *testing.B) *keyspace.Keyspace {
	b.Helper()
	k := keyspace.New(keyspace.Options{})
	l := k.Loader()
	for i := range benchRows {
		must(
			b, l.Hash(fmt.Appendf(nil, "users:%d", i), byteSlices("id", fmt.Sprint(i), "name",
				fmt.Sprintf("name of user %d", i), "email", fmt.Sprintf("user%d@example.com", i),
				"country", "CH", "status", "active", "score", "12.50", "visits",
				fmt.Sprint(i*7%1000), "created_at", "2026-01-02 03:04:05"), 0),
		)
	}
	return k
}

func report(b *testing.B) {
	b.Helper()
	b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkWrite(b *testing.B) {
	k := rows(b)
	b.ReportAllocs()
	for b.Loop() {
		s := k.Snapshot()
		must(b, rdb.Write(io.Discard, aux, s))
		s.Close()
	}
	report(b)
}

func BenchmarkRead(b *testing.B) {
	file := write(b, rows(b), aux)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		_, err := rdb.Read(bytes.NewReader(file), keyspace.New(keyspace.Options{}).Loader())
		must(b, err)
	}
	report(b)
}

// BenchmarkSend compares sending a file over loopback TCP unchanged with transcoding it while
// sending, and both without the network.
func BenchmarkSend(b *testing.B) {
	file := write(b, rows(b), aux)
	plain := func(w io.Writer) error {
		_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{bytes.NewReader(file)},
			make([]byte, 256<<10))
		return err
	}
	transcoded := func(w io.Writer) error { return copyPlain(w, bytes.NewReader(file)) }
	for name, send := range map[string]func(io.Writer) error{
		"plain": plain, "transcoded": transcoded,
	} {
		b.Run(name+"/discard", func(b *testing.B) {
			b.SetBytes(int64(len(file)))
			for b.Loop() {
				must(b, send(io.Discard))
			}
			report(b)
		})
		b.Run(name+"/tcp", func(b *testing.B) {
			server, err := net.Listen("tcp", "127.0.0.1:0")
			must(b, err)
			from, err := net.Dial("tcp", server.Addr().String())
			must(b, err)
			to, err := server.Accept()
			must(b, err)
			var wg sync.WaitGroup
			wg.Go(func() {
				buf := make([]byte, 256<<10)
				for err := error(nil); err == nil; {
					_, err = to.Read(buf)
				}
			})
			b.SetBytes(int64(len(file)))
			for b.Loop() {
				must(b, send(from))
			}
			report(b)
			_ = from.Close()
			wg.Wait()
			_ = server.Close()
		})
	}
}
