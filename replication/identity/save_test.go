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
	"rowfall/replication/disk"
	"rowfall/replication/identity"
)

// After a power cut or an error at any step of Save, the file is completely the old or completely
// the new one. After an error of a full disk it is the old one. No temporary file is left.
func TestSaveAtEveryStep(t *testing.T) {
	was, is := identity.State{History: identity.NewHistory(a), Term: 1}, sample()
	for step := 1; ; step++ {
		base := memfs.New()
		if err := disk.MkdirAll(base, "node"); err != nil {
			t.Fatal(err)
		}
		if err := was.Save(base, "node"); err != nil {
			t.Fatal(err)
		}
		check := func(what string, volume *memfs.FS, allowed ...identity.State) {
			t.Helper()
			got, err := identity.Load(volume, "node")
			if err != nil ||
				!slices.ContainsFunc(allowed,
					func(s identity.State) bool { return reflect.DeepEqual(s, got) }) {
				t.Errorf("step %d, %s: the file has %+v, %v", step, what, got, err)
			}
		}
		volume := base.Copy()
		volume.FailAt(step, nil)
		if err := is.Save(volume, "node"); err == nil {
			volume.FailAt(0, nil)
			for seed := range uint64(8) {
				check("power cut after Save", volume.PowerCut(rand.New(rand.NewPCG(0, seed))), is)
			}
			if step < 7 {
				t.Errorf("it took %d steps", step-1)
			}
			return
		}
		check("kill", volume.Copy(), was, is)
		for seed := range uint64(8) {
			check("power cut", volume.PowerCut(rand.New(rand.NewPCG(uint64(step), seed))), was, is)
		}
		for _, fault := range []error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT} {
			volume := base.Copy()
			volume.FailOnceAt(step, fault)
			err := is.Save(volume, "node")
			if !errors.Is(err, fault) {
				t.Fatalf("step %d: %v gives %v", step, fault, err)
			}
			if disk.IsFull(err) {
				check(err.Error(), volume, was)
			}
			check(err.Error(), volume, was, is)
			if left := volume.Names("node"); !slices.Equal(left, []string{identity.FileName}) {
				t.Errorf("step %d, %v: left %q", step, fault, left)
			}
			if err := is.Save(volume, "node"); err != nil {
				t.Fatal(err)
			}
			check("saved again", volume.PowerCut(rand.New(rand.NewPCG(uint64(step), 1))), is)
		}
	}
}

// The entry of a new directory is durable in its parent. It once was not, and a power cut removed
// the directory with the durable files in it.
func TestNewDirectoryIsDurable(t *testing.T) {
	volume, dir := memfs.New(), filepath.Join(t.TempDir(), "above", "node")
	if err := disk.MkdirAll(volume, filepath.Dir(filepath.Dir(dir))); err != nil {
		t.Fatal(err)
	}
	if err := disk.MkdirAll(disk.SystemFS{}, dir); err != nil { // the lock is there
		t.Fatal(err)
	}
	lock, err := identity.LockDir(volume, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Release() }()
	if err := sample().Save(volume, dir); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(8) {
		if _, err := identity.Load(volume.PowerCut(rand.New(rand.NewPCG(1, seed))), dir); errors.Is(
			err, fs.ErrNotExist,
		) {
			t.Fatalf("the directory is gone after the power cut: %v", err)
		}
	}
}
