package replication_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Every replica gets exactly the bytes of the log: those to which the appender sends, those that are
// woken, one that does not read for a while, and one that leaves and comes back. The units are
// small, larger than what the appender sends by itself, and larger than the memory window of the
// log.
func TestReplicasGetTheLog(t *testing.T) {
	c := config(t)
	c.PingPeriod = time.Hour
	n, _ := start(t, c)
	n.SetComplete(true)
	apply(t, n, unit("SET", "k", "0"))
	begin := n.Offset()
	attach := func(at int64) *rawConn {
		r := dialRaw(t, n.Addr())
		if got := psync(r, n.Status().ID, strconv.FormatInt(at+1, 10)); int64(got) != at {
			t.Errorf("the stream continues at %d, want %d", got, at)
		}
		return r
	}

	var want bytes.Buffer
	random := rand.New(rand.NewPCG(1, 2))
	var units [][]byte
	for i := range 2000 {
		size := 10 + random.IntN(300)
		switch i % 100 {
		case 50:
			size = 100_000
		case 75:
			size = 20_000
		}
		u := unit("SET", "k"+strconv.Itoa(i%7), string(bytes.Repeat([]byte{byte('a' + i%26)}, size)))
		units = append(units, u)
		want.Write(u)
	}
	units = append(units, unit("SET", "big", string(make([]byte, 2<<20))))
	want.Write(units[len(units)-1])

	gate := make(chan struct{}) // closed when everything was applied
	var readers sync.WaitGroup
	read := func(r *rawConn, want []byte) {
		got := make([]byte, len(want))
		if m, err := io.ReadFull(r.r, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("a replica got %d bytes of %d, %v, or other ones", m, len(want), err)
		}
	}
	for i := range 6 {
		r := attach(int64(begin))
		readers.Go(func() {
			switch i {
			case 1:
				<-gate // its socket is full meanwhile
			case 2:
				half := want.Len() / 2
				read(r, want.Bytes()[:half])
				_ = r.Close()
				again := attach(int64(begin) + int64(half))
				read(again, want.Bytes()[half:])
				return
			}
			read(r, want.Bytes())
		})
	}
	_, term := n.Role()
	for _, u := range units {
		if _, err := n.Apply(context.Background(), term, u); err != nil {
			t.Fatal(err)
		}
	}
	close(gate)
	readers.Wait()
}
