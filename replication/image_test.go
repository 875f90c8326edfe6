package replication

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"rowfall/internal/memfs"
	"rowfall/replication/stream"
)

// To measure a complete file takes as long as to read it: a node that stops does
// not wait for that.
func TestLeaseReaderStops(t *testing.T) {
	disk := memfs.New()
	disk.Put("snapshot", make([]byte, 100))
	f, err := disk.Open("snapshot", os.O_RDONLY)
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

// A complete file goes from disk to socket without a copy, which the kernel does
// for what has a descriptor: also behind the interface.
func TestLeaseKeepsTheDescriptor(t *testing.T) {
	f, err := stream.SystemFS{}.Open(filepath.Join(t.TempDir(), "snapshot"), os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, ok := (&lease{file: f}).sequential().(syscall.Conn); !ok {
		t.Error("the kernel cannot send it")
	}
}
