package memfs_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"rowfall/internal/faultfs"
	"rowfall/internal/memfs"
	"rowfall/replication/disk"
)

func writeFile(t *testing.T, fs *memfs.FS, name, text string, sync bool) {
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

// statesAfterPowerCut returns the different states that many power cuts leave: the contents of the
// named files, joined by commas, "" for a file that does not exist.
func statesAfterPowerCut(fs *memfs.FS, names ...string) (states []string) {
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

// A file system that never lost anything would let every test of a power cut pass.
func TestPowerCut(t *testing.T) {
	fs := memfs.New()
	if err := disk.MkdirAll(fs, "d"); err != nil {
		t.Fatal(err)
	}
	writeFile(t, fs, "d/a", "old", true)
	if got := statesAfterPowerCut(fs, "d/a"); !slices.Equal(got, []string{"", "old"}) {
		t.Errorf("a file whose folder was not synced becomes %q", got)
	}
	if err := fs.SyncDir("d"); err != nil {
		t.Fatal(err)
	}
	if got := statesAfterPowerCut(fs, "d/a"); !slices.Equal(got, []string{"old"}) {
		t.Errorf("a durable file becomes %q", got)
	}
	writeFile(t, fs, "d/b", "new", true)
	if err := fs.Rename("d/b", "d/a"); err != nil {
		t.Fatal(err)
	}
	// The old file exists until the new one has its name.
	if got := statesAfterPowerCut(fs, "d/a", "d/b"); !slices.Equal(
		got, []string{"new,", "old,", "old,new"},
	) {
		t.Errorf("a rename that was not synced becomes %q", got)
	}
	if err := fs.SyncDir("d"); err != nil {
		t.Fatal(err)
	}
	writeFile(t, fs, "d/a", "newer", false)
	got := statesAfterPowerCut(fs, "d/a")
	if !slices.Contains(got, "new") || !slices.Contains(got, "newer") || len(got) < 3 {
		t.Errorf("bytes that were not synced become %q", got)
	}
	if err := fs.Mkdir("e"); err != nil {
		t.Fatal(err)
	}
	writeFile(t, fs, "e/a", "text", true)
	if err := fs.SyncDir("e"); err != nil {
		t.Fatal(err)
	}
	if got := statesAfterPowerCut(fs, "e/a"); !slices.Equal(got, []string{"", "text"}) {
		t.Errorf("a durable file in a folder that is not durable becomes %q", got)
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
		t.Errorf("reading the damaged byte returns %d, %v", n, err)
	}
	if n, err := f.ReadAt(b, 0); n != 10 || err != nil {
		t.Errorf("reading it again returns %d, %v", n, err)
	}
	fs.FailOnceAt(2, syscall.ENOSPC)
	for i, want := range []error{nil, syscall.ENOSPC, nil} {
		if err := f.Sync(); !errors.Is(err, want) {
			t.Errorf("operation %d returns %v", i+1, err)
		}
	}
	fs.FailAt(2, nil)
	for i, want := range []error{nil, faultfs.ErrInjected, faultfs.ErrInjected} {
		if err := f.Sync(); !errors.Is(err, want) {
			t.Errorf("operation %d returns %v", i+1, err)
		}
	}
}
