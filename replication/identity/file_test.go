package identity_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"
	"testing"

	"rowfall/internal/memfs"
	"rowfall/replication/identity"
	"rowfall/replication/stream"
)

// Wherever the power fails while the identity is saved, or one step of it: the
// file is the old or the new one, whole; after a full disk the old one, with nothing
// left beside it.
func TestSaveAtEveryStep(t *testing.T) {
	was, is := identity.State{History: identity.NewHistory(a), Term: 1}, sample()
	for step := 1; ; step++ {
		base := memfs.New()
		if err := stream.MkdirAll(base, "node"); err != nil {
			t.Fatal(err)
		}
		if err := was.Save(base, "node"); err != nil {
			t.Fatal(err)
		}
		check := func(what string, disk *memfs.FS, allowed ...identity.State) {
			t.Helper()
			got, err := identity.Load(disk, "node")
			if err != nil || !slices.ContainsFunc(allowed, func(s identity.State) bool { return reflect.DeepEqual(s, got) }) {
				t.Errorf("step %d, %s: it says %+v, %v", step, what, got, err)
			}
		}
		disk := base.Copy()
		disk.FailAt(step, nil)
		if err := is.Save(disk, "node"); err == nil {
			disk.FailAt(0, nil)
			for seed := range uint64(8) {
				check("power cut behind it", disk.PowerCut(rand.New(rand.NewPCG(0, seed))), is)
			}
			if step < 7 {
				t.Errorf("it took %d steps", step-1)
			}
			return
		}
		check("kill", disk.Copy(), was, is)
		for seed := range uint64(8) {
			check("power cut", disk.PowerCut(rand.New(rand.NewPCG(uint64(step), seed))), was, is)
		}
		for _, fault := range []error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT} {
			disk := base.Copy()
			disk.FailOnceAt(step, fault)
			err := is.Save(disk, "node")
			if !errors.Is(err, fault) {
				t.Fatalf("step %d: %v gives %v", step, fault, err)
			}
			if identity.IsFull(err) {
				check(err.Error(), disk, was)
			}
			check(err.Error(), disk, was, is)
			if left := disk.Names("node"); !slices.Equal(left, []string{identity.FileName}) {
				t.Errorf("step %d, %v: left %q", step, fault, left)
			}
			if err := is.Save(disk, "node"); err != nil {
				t.Fatal(err)
			}
			check("saved again", disk.PowerCut(rand.New(rand.NewPCG(uint64(step), 1))), is)
		}
	}
}

// A new directory was not durable in the one above it: what a power cut left of a
// node was nothing, though everything in it was on disk.
func TestNewDirectoryIsDurable(t *testing.T) {
	disk, dir := memfs.New(), filepath.Join(t.TempDir(), "above", "node")
	if err := stream.MkdirAll(disk, filepath.Dir(filepath.Dir(dir))); err != nil {
		t.Fatal(err)
	}
	if err := stream.MkdirAll(stream.SystemFS{}, dir); err != nil { // the lock is there
		t.Fatal(err)
	}
	lock, err := identity.LockDir(disk, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Release() }()
	if err := sample().Save(disk, dir); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(8) {
		if _, err := identity.Load(disk.PowerCut(rand.New(rand.NewPCG(1, seed))), dir); errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("the power cut took the directory: %v", err)
		}
	}
}
