package snapshots

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

// The plain form of a complete file is measured by reading all of it. A node that stops does
// not wait for the end.
func TestReaderStops(t *testing.T) {
	volume := memfs.New()
	volume.Put("snapshot", make([]byte, 100))
	f, err := volume.Open("snapshot", os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	r := &Reader{file: f, size: 100}
	n, waitErr, err := r.readNext(ctx, make([]byte, 50))
	if n != 50 || waitErr != nil || err != nil {
		t.Fatal(n, waitErr, err)
	}
	cancel()
	n, waitErr, err = r.readNext(ctx, make([]byte, 50))
	if n != 0 || !errors.Is(waitErr, context.Canceled) || err != nil {
		t.Errorf("after the end of its context it reads %d bytes: %v, %v", n, waitErr, err)
	}
}

// A transfer may fail by the file, the socket or the end of its context. Only a fault of the
// file is a reason never to send that file again.
func TestFaultOfFileOrSocket(t *testing.T) {
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
		name    string
		data    []byte
		size    int
		bad     int64 // the byte that cannot be read, from 1
		ctx     context.Context
		w       io.Writer
		damaged bool
	}{
		{name: "good", data: good.Bytes(), size: good.Len(), ctx: t.Context(), w: io.Discard},
		{name: "socket", data: good.Bytes(), size: good.Len(), ctx: t.Context(), w: brokenPipe{}},
		{name: "end of the node", data: good.Bytes(), size: good.Len(), ctx: ended, w: io.Discard},
		{
			name: "bad sector", data: good.Bytes(), size: good.Len(), bad: 21, ctx: t.Context(),
			w: io.Discard, damaged: true,
		},
		{
			name: "checksum", data: flipped, size: good.Len(), ctx: t.Context(), w: io.Discard,
			damaged: true,
		},
		{
			name: "cut", data: good.Bytes()[:20], size: good.Len(), ctx: t.Context(), w: io.Discard,
			damaged: true,
		},
	} {
		volume.Put("snapshot", tc.data)
		if tc.bad > 0 {
			volume.Damage("snapshot", tc.bad-1, -1)
		}
		f, err := volume.Open("snapshot", os.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		l := &Reader{file: f, size: int64(tc.size)}
		var damaged *FileError
		if err := l.Transcode(tc.ctx, tc.w); errors.As(err, &damaged) != tc.damaged ||
			(err == nil) != (tc.name == "good") {
			t.Errorf("%s: transcode ends with %v", tc.name, err)
		}
		l.off = 20
		if err := l.CheckReadable(); errors.As(err,
			&damaged) != (tc.damaged && tc.name != "checksum") {
			t.Errorf("%s: byte 20 gives %v", tc.name, err)
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// When a snapshot is done before its waiter runs, both of its channels are closed. A success
// must not be reported as a failure then, which would cost the replica its connection.
func TestJobThatIsDoneAtOnce(t *testing.T) {
	s := New(Config{}, nil)
	good, bad := newJob(), newJob()
	close(good.fixed)
	close(good.done)
	bad.err = syscall.EIO
	close(bad.done)
	for range 50 { // select takes one of them at random
		if err := s.waitReadable(t.Context(), good); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.waitReadable(t.Context(), bad); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
}

// The kernel sends a complete file to a socket without a copy if it gets the descriptor, so
// the disk.File must be passed on with its type.
func TestSequentialKeepsTheDescriptor(t *testing.T) {
	f, err := disk.SystemFS{}.Open(filepath.Join(t.TempDir(), "snapshot"), os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, ok := (&Reader{file: f}).Sequential().(syscall.Conn); !ok {
		t.Error("the kernel cannot send it")
	}
}
