package replication

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"rowfall/internal/memfs"
	"rowfall/replication/disk"
	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
)

// To measure a complete file takes as long as to read it: a node that stops does
// not wait for that.
func TestLeaseReaderStops(t *testing.T) {
	volume := memfs.New()
	volume.Put("snapshot", make([]byte, 100))
	f, err := volume.Open("snapshot", os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	r := (&lease{file: f, size: 100}).reader(ctx)
	if _, err := io.ReadFull(r, make([]byte, 50)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if n, err := r.Read(make([]byte, 50)); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context it reads %d bytes: %v", n, err)
	}
}

// What ends a transfer may be the file, the socket or the waiting. Only the first is a
// reason never to send that file again.
func TestLeaseTellsWhatFailed(t *testing.T) {
	volume := memfs.New()
	var good bytes.Buffer
	keys := keyspace.New(keyspace.Options{}).Snapshot()
	defer keys.Close()
	if err := rdb.Write(&good, rdb.Aux{Version: "7.0.0"}, keys); err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good.Bytes())
	flipped[good.Len()-1] ^= 1
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		name   string
		data   []byte
		size   int
		bad    int64 // the byte that cannot be read, from 1
		ctx    context.Context
		w      io.Writer
		spoilt bool
	}{
		{name: "good", data: good.Bytes(), size: good.Len(), ctx: t.Context(), w: io.Discard},
		{name: "socket", data: good.Bytes(), size: good.Len(), ctx: t.Context(), w: brokenPipe{}},
		{name: "end of the node", data: good.Bytes(), size: good.Len(), ctx: ended, w: io.Discard},
		{name: "bad sector", data: good.Bytes(), size: good.Len(), bad: 21, ctx: t.Context(), w: io.Discard, spoilt: true},
		{name: "checksum", data: flipped, size: good.Len(), ctx: t.Context(), w: io.Discard, spoilt: true},
		{name: "cut", data: good.Bytes()[:20], size: good.Len(), ctx: t.Context(), w: io.Discard, spoilt: true},
	} {
		volume.Put("snapshot", tc.data)
		if tc.bad > 0 {
			volume.Damage("snapshot", tc.bad-1, -1)
		}
		f, err := volume.Open("snapshot", os.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		l := &lease{file: f, size: int64(tc.size)}
		var spoilt *spoiltError
		if err := l.transcode(tc.ctx, tc.w); errors.As(err, &spoilt) != tc.spoilt || (err == nil) != (tc.name == "good") {
			t.Errorf("%s: transcode ends with %v", tc.name, err)
		}
		l.off = 20
		if err := l.fault(); errors.As(err, &spoilt) != (tc.spoilt && tc.name != "checksum") {
			t.Errorf("%s: byte 20 gives %v", tc.name, err)
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// Both may be ready when a snapshot is done before who waits for it looks: what had
// been a success was now and then told as a failure, and cost the replica its link.
func TestAttemptThatIsDoneAtOnce(t *testing.T) {
	s := &snapshots{n: &Node{appender: &appender{}}}
	good, bad := newAttempt(), newAttempt()
	close(good.fixed)
	close(good.done)
	bad.err = syscall.EIO
	close(bad.done)
	for range 50 { // select takes one of them at random
		if err := s.readable(t.Context(), good); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.readable(t.Context(), bad); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
}

// A complete file goes from disk to socket without a copy, which the kernel does
// for what has a descriptor: also behind the interface.
func TestLeaseKeepsTheDescriptor(t *testing.T) {
	f, err := disk.SystemFS{}.Open(filepath.Join(t.TempDir(), "snapshot"), os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, ok := (&lease{file: f}).sequential().(syscall.Conn); !ok {
		t.Error("the kernel cannot send it")
	}
}
