package faultfs_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"rowfall/internal/faultfs"
	"rowfall/replication/disk"
)

// workout calls every method of a file system and of a file once, and returns their errors.
func workout(fsys disk.FS, dir string) (errs []error) {
	add := func(err error) { errs = append(errs, err) }
	add(fsys.Mkdir(filepath.Join(dir, "sub")))
	name := filepath.Join(dir, "file")
	f, err := fsys.Open(name, os.O_RDWR|os.O_CREATE)
	add(err)
	if err == nil {
		_, err = f.WriteAt([]byte("0123456789"), 0)
		add(err)
		add(f.Truncate(8))
		add(f.Allocate(8, 100))
		add(f.Sync())
		_, err = f.ReadAt(make([]byte, 8), 0)
		add(err)
		_, err = f.Size()
		add(err)
		add(f.Close())
	}
	add(fsys.Rename(name, filepath.Join(dir, "new")))
	_, err = fsys.ReadDir(dir)
	add(err)
	_, err = fsys.Free(dir)
	add(err)
	add(fsys.SyncDir(dir))
	add(fsys.Remove(filepath.Join(dir, "new")))
	return errs
}

// Without faults the wrapped file system behaves as the base, and the hooks see each operation.
func TestHooksSeeEveryOperation(t *testing.T) {
	var kinds []faultfs.Kind
	record := faultfs.Before(func(op *faultfs.Op) { kinds = append(kinds, op.Kind) })
	full := &faultfs.FullDisk{} // so that Allocate does not depend on the file system
	fsys := faultfs.Wrap(disk.SystemFS{}, record, full.Hook)
	if err := errors.Join(workout(fsys, t.TempDir())...); err != nil {
		t.Fatal(err)
	}
	want := []faultfs.Kind{
		faultfs.OpMkdir, faultfs.OpOpen, faultfs.OpWriteAt, faultfs.OpTruncate, faultfs.OpAllocate,
		faultfs.OpSync, faultfs.OpReadAt, faultfs.OpSize, faultfs.OpClose, faultfs.OpRename,
		faultfs.OpReadDir, faultfs.OpFree, faultfs.OpSyncDir, faultfs.OpRemove,
	}
	if !slices.Equal(kinds, want) {
		t.Errorf("the hooks see %v, want %v", kinds, want)
	}
}

// The n-th operation fails, alone or with all later ones, for each n. Free is not counted.
func TestCountdown(t *testing.T) {
	var c faultfs.Countdown
	fsys := faultfs.Wrap(disk.SystemFS{}, c.Hook)
	dir := t.TempDir()
	remove := func() error { return fsys.Remove(filepath.Join(dir, "missing")) }
	for _, tc := range []struct {
		fail func(n int, err error)
		err  error
		want []error // of three calls
	}{
		{c.FailOnceAt, syscall.EIO, []error{fs.ErrNotExist, syscall.EIO, fs.ErrNotExist}},
		{c.FailAt, syscall.EIO, []error{fs.ErrNotExist, syscall.EIO, syscall.EIO}},
		{c.FailAt, nil, []error{fs.ErrNotExist, faultfs.ErrInjected, faultfs.ErrInjected}},
	} {
		tc.fail(2, tc.err)
		for i, want := range tc.want {
			if c.Failed() != (i > 1) {
				t.Errorf("before operation %d, Failed returns %v", i+1, c.Failed())
			}
			if _, err := fsys.Free(dir); err != nil {
				t.Errorf("Free: %v", err)
			}
			if err := remove(); !errors.Is(err, want) {
				t.Errorf("operation %d: %v, want %v", i+1, err, want)
			}
		}
	}
	c.FailAt(0, nil)
	if err := remove(); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A failing write leaves a part of its bytes, and other hooks still see the operation.
func TestHooksCompose(t *testing.T) {
	var writes, syncs atomic.Int64
	fsys := faultfs.Wrap(disk.SystemFS{},
		faultfs.If(faultfs.Kinds(faultfs.OpWriteAt), faultfs.Count(&writes)),
		faultfs.If(faultfs.Kinds(faultfs.OpSync), faultfs.Count(&syncs)),
		faultfs.If(faultfs.Kinds(faultfs.OpWriteAt), faultfs.Once(faultfs.Fail(syscall.EIO))),
	)
	f, err := fsys.Open(filepath.Join(t.TempDir(), "file"), os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n, err := f.WriteAt([]byte("01234567"), 0); n != 4 || !errors.Is(err, syscall.EIO) {
		t.Errorf("the failing write returns %d, %v", n, err)
	}
	b := make([]byte, 8)
	if n, err := f.ReadAt(b, 0); string(b[:n]) != "0123" || !errors.Is(err, io.EOF) {
		t.Errorf("the failing write left %q, %v", b[:n], err)
	}
	if n, err := f.WriteAt([]byte("01234567"), 0); n != 8 || err != nil {
		t.Errorf("the next write returns %d, %v", n, err)
	}
	if writes.Load() != 2 || syncs.Load() != 0 {
		t.Errorf("%d writes and %d syncs were counted", writes.Load(), syncs.Load())
	}
}

// An operation waits for a hook that blocks, before or after it ran.
func TestBlock(t *testing.T) {
	for _, after := range []bool{false, true} {
		name := filepath.Join(t.TempDir(), "file")
		exists := func() bool {
			_, err := os.Stat(name)
			return err == nil
		}
		reached, leave := make(chan struct{}), make(chan struct{})
		hook := faultfs.Before
		if after {
			hook = faultfs.After
		}
		block := hook(func(*faultfs.Op) {
			close(reached)
			<-leave
		})
		fsys := faultfs.WrapNames(disk.SystemFS{}, faultfs.If(faultfs.Creates("file"), block))
		done := make(chan error, 1)
		go func() {
			f, err := fsys.Open(name, os.O_RDWR|os.O_CREATE)
			if err == nil {
				_, descriptor := f.(syscall.Conn)
				err = f.Close()
				if !descriptor {
					err = errors.New("WrapNames hides the file descriptor")
				}
			}
			done <- err
		}()
		<-reached
		if exists() != after {
			t.Errorf("the hook runs after Open: %v, but the file exists: %v", after, exists())
		}
		close(leave)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// On a full disk, only room that was allocated or written before can be written.
func TestFullDisk(t *testing.T) {
	d := &faultfs.FullDisk{}
	fsys := faultfs.Wrap(disk.SystemFS{}, d.Hook)
	f, err := fsys.Open(filepath.Join(t.TempDir(), "file"), os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Allocate(0, 8); err != nil {
		t.Fatal(err)
	}
	d.Store(true)
	for _, tc := range []struct {
		text string
		want error
	}{{"01234567", nil}, {"012345678", syscall.ENOSPC}} {
		if _, err := f.WriteAt([]byte(tc.text), 0); !errors.Is(err, tc.want) {
			t.Errorf("writing %d bytes: %v", len(tc.text), err)
		}
	}
	if err := errors.Join(f.Truncate(4), f.Allocate(0, 4)); err != nil {
		t.Error(err)
	}
	if err := f.Allocate(4, 1); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("allocating more than Truncate left: %v", err)
	}
	d.Store(false)
	if _, err := f.WriteAt([]byte("012345678"), 0); err != nil {
		t.Error(err)
	}
}
