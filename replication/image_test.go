package replication

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// To measure a complete file takes as long as to read it: a node that stops does
// not wait for that.
func TestLeaseReaderStops(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot")
	if err := os.WriteFile(path, make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
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
