package faultfs

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
)

// ErrInjected is the error of a failing operation for which the test has given no other error.
var ErrInjected = errors.New("injected")

// If returns a hook that applies hook to the operations that match, and to no others.
func If(match func(op *Op) bool, hook Hook) Hook {
	return func(op *Op, next func() error) error {
		if !match(op) {
			return next()
		}
		return hook(op, next)
	}
}

// Kinds matches operations of the given kinds.
func Kinds(kinds ...Kind) func(op *Op) bool {
	return func(op *Op) bool { return slices.Contains(kinds, op.Kind) }
}

// Creates matches an Open that creates a file with one of the given names, without directories.
func Creates(names ...string) func(op *Op) bool {
	return func(op *Op) bool {
		return op.Creates() && slices.Contains(names, filepath.Base(op.Name))
	}
}

// Before returns a hook that calls f before each operation. f may block.
func Before(f func(op *Op)) Hook {
	return func(op *Op, next func() error) error {
		f(op)
		return next()
	}
}

// After returns a hook that calls f after each operation that succeeded. f may block.
func After(f func(op *Op)) Hook {
	return func(op *Op, next func() error) error {
		err := next()
		if err == nil {
			f(op)
		}
		return err
	}
}

// Once returns a hook that applies hook to the first operation only.
func Once(hook Hook) Hook {
	var done atomic.Bool
	return func(op *Op, next func() error) error {
		if done.Swap(true) {
			return next()
		}
		return hook(op, next)
	}
}

// Count returns a hook that adds 1 to n before each operation.
func Count(n *atomic.Int64) Hook { return Before(func(*Op) { n.Add(1) }) }

// Fail returns a hook that makes each operation fail with err. A WriteAt writes the first half of
// its bytes, as a failing disk may; other operations do nothing.
func Fail(err error) Hook {
	return func(op *Op, next func() error) error {
		if op.Kind == OpWriteAt {
			op.Data = op.Data[:len(op.Data)/2]
			_ = next() // err is the one to report
		}
		return err
	}
}

// Countdown makes the n-th operation from some moment on fail. The zero Countdown lets all
// operations succeed. It does not count Free, which a node calls at times of its own.
type Countdown struct {
	mu         sync.Mutex
	operations int
	failAt     int // number of the operation that fails; 0: no operation fails
	err        error
	once       bool // later operations succeed
	failed     bool // operation failAt was reached
}

// FailAt makes the n-th operation from now on fail, and all operations after it. 1 is the next
// operation; 0 ends all failures. err nil means ErrInjected.
func (c *Countdown) FailAt(n int, err error) { c.set(n, err, false) }

// FailOnceAt is FailAt for that one operation: later ones succeed.
func (c *Countdown) FailOnceAt(n int, err error) { c.set(n, err, true) }

func (c *Countdown) set(n int, err error, once bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		err = ErrInjected
	}
	c.failAt, c.err, c.once, c.failed = 0, err, once, false
	if n > 0 {
		c.failAt = c.operations + n
	}
}

// Failed reports whether the operation that FailAt or FailOnceAt has named was reached.
func (c *Countdown) Failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// next counts an operation, and returns the error with which it must fail.
func (c *Countdown) next() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.operations++
	if c.failAt > 0 && (c.operations == c.failAt || c.operations > c.failAt && !c.once) {
		c.failed = true
		return c.err
	}
	return nil
}

// Hook is the countdown as a Hook. A failing operation fails as that of Fail.
func (c *Countdown) Hook(op *Op, next func() error) error {
	if op.Kind == OpFree {
		return next()
	}
	if err := c.next(); err != nil {
		return Fail(err)(op, next)
	}
	return next()
}

// FullDisk is a disk that can be full. While its value is true, a file can be written only where
// room was allocated or written before; anything else fails with ENOSPC. Allocate only counts the
// room, and takes none of the base file system. Files that existed before the hook have no room.
type FullDisk struct {
	atomic.Bool
	mu   sync.Mutex
	room map[string]int64 // bytes allocated or written, by the name of the file
}

// Hook is the disk as a Hook.
func (d *FullDisk) Hook(op *Op, next func() error) error {
	switch op.Kind {
	case OpAllocate:
		return d.grow(op.Name, op.Offset+op.Size)
	case OpWriteAt:
		if err := d.grow(op.Name, op.Offset+int64(len(op.Data))); err != nil {
			return err
		}
	case OpTruncate:
		d.setRoom(op.Name, op.Size)
	case OpRemove:
		d.setRoom(op.Name, 0)
	}
	return next()
}

// grow makes room for a file of the given size.
func (d *FullDisk) grow(name string, size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case size <= d.room[name]:
		return nil
	case d.Load():
		return syscall.ENOSPC
	}
	d.setRoomLocked(name, size)
	return nil
}

func (d *FullDisk) setRoom(name string, size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.setRoomLocked(name, size)
}

func (d *FullDisk) setRoomLocked(name string, size int64) {
	if d.room == nil {
		d.room = map[string]int64{}
	}
	d.room[name] = size
}
