package memfs_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"rowfall/internal/memfs"
	"rowfall/replication/stream"
)

func write(t *testing.T, fs *memfs.FS, name, text string, sync bool) {
	t.Helper()
	f, err := fs.Open(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte(text), 0)
	if sync {
		err = errors.Join(err, f.Sync())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// after is what many power cuts leave: each file with its text, "" for a file that is not there.
func after(fs *memfs.FS, names ...string) (states []string) {
	for seed := range uint64(200) {
		left := fs.PowerCut(rand.New(rand.NewPCG(1, seed)))
		var s []string
		for _, name := range names {
			s = append(s, string(left.Data(name)))
		}
		if state := strings.Join(s, ","); !slices.Contains(states, state) {
			states = append(states, state)
		}
	}
	slices.Sort(states)
	return states
}

// A tool that lost nothing would let every test of a power cut pass.
func TestPowerCut(t *testing.T) {
	fs := memfs.New()
	if err := stream.MkdirAll(fs, "d"); err != nil {
		t.Fatal(err)
	}
	write(t, fs, "d/a", "old", true)
	if got := after(fs, "d/a"); !slices.Equal(got, []string{"", "old"}) {
		t.Errorf("a file whose folder was not synced: %q", got)
	}
	if err := fs.SyncDir("d"); err != nil {
		t.Fatal(err)
	}
	if got := after(fs, "d/a"); !slices.Equal(got, []string{"old"}) {
		t.Errorf("a durable file: %q", got)
	}
	write(t, fs, "d/b", "new", true)
	if err := fs.Rename("d/b", "d/a"); err != nil {
		t.Fatal(err)
	}
	// The old file is there until the new one has its name.
	if got := after(fs, "d/a", "d/b"); !slices.Equal(got, []string{"new,", "old,", "old,new"}) {
		t.Errorf("a rename that was not synced: %q", got)
	}
	if err := fs.SyncDir("d"); err != nil {
		t.Fatal(err)
	}
	write(t, fs, "d/a", "newer", false)
	got := after(fs, "d/a")
	if !slices.Contains(got, "new") || !slices.Contains(got, "newer") || len(got) < 3 {
		t.Errorf("bytes that were not synced: %q", got)
	}
	if err := fs.Mkdir("e"); err != nil {
		t.Fatal(err)
	}
	write(t, fs, "e/a", "text", true)
	if err := fs.SyncDir("e"); err != nil {
		t.Fatal(err)
	}
	if got := after(fs, "e/a"); !slices.Equal(got, []string{"", "text"}) {
		t.Errorf("a durable file in a folder that is not: %q", got)
	}
}

func TestFaults(t *testing.T) {
	fs := memfs.New()
	fs.Put("a", []byte("0123456789"))
	f, err := fs.Open("a", os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	fs.Damage("a", 4, 1)
	if n, err := f.ReadAt(b, 0); n != 4 || !errors.Is(err, syscall.EIO) {
		t.Errorf("over the bad place: %d, %v", n, err)
	}
	if n, err := f.ReadAt(b, 0); n != 10 || err != nil {
		t.Errorf("once more: %d, %v", n, err)
	}
	fs.FailOnceAt(2, syscall.ENOSPC)
	for i, want := range []error{nil, syscall.ENOSPC, nil} {
		if err := f.Sync(); !errors.Is(err, want) {
			t.Errorf("operation %d: %v", i+1, err)
		}
	}
	fs.FailAt(2, nil)
	for i, want := range []error{nil, memfs.ErrInjected, memfs.ErrInjected} {
		if err := f.Sync(); !errors.Is(err, want) {
			t.Errorf("operation %d: %v", i+1, err)
		}
	}
}
