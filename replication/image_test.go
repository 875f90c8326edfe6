package replication

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"rowfall/internal/memfs"
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
