// Package faultfs wraps a disk.FS, so that a test can observe, delay and fail each operation of the
// program under test.
//
// A Hook is called around every operation, as HTTP middleware is around every request: it may act
// before or after the operation, change its arguments, or return an error without running it.
// Several hooks compose; the first one is the outermost:
//
//	var writes atomic.Int64
//	fsys := faultfs.Wrap(disk.SystemFS{},
//		faultfs.If(faultfs.Kinds(faultfs.OpWriteAt), faultfs.Count(&writes)),
//		faultfs.If(faultfs.Creates("identity"), faultfs.Fail(syscall.EIO)),
//	)
//
// A test that needs something else, such as a gate at which the operation blocks, passes a function
// of its own to Before or After.
//
// Package memfs, the file system in memory that also models power cuts, is built on this package:
// its operations fail by a Countdown. The package is for tests only.
package faultfs
