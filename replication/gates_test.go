package replication_test

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rowfall/replication/stream"
)

// gatesEnv names a member's gates.
const gatesEnv = "ROWFALL_TEST_GATES"

// gates is a folder by which a test holds a process at a stage. Who comes to a
// stage and finds a file of its name there leaves another, NAME.held, and waits
// until the first is removed.
type gates string

func (g gates) shut(t *testing.T, stage string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(string(g), stage), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// open lets pass whoever is held there.
func (g gates) open(stage string) {
	os.Remove(filepath.Join(string(g), stage))         //nolint:errcheck // it may be open
	os.Remove(filepath.Join(string(g), stage+".held")) //nolint:errcheck // nobody may have come
}

func (g gates) held(t *testing.T, stage string) {
	t.Helper()
	eventually(t, "it is held at "+stage, func() bool { return exists(filepath.Join(string(g), stage+".held")) })
}

// pass is the process's side.
func (g gates) pass(stage string) {
	name := filepath.Join(string(g), stage)
	for first := true; exists(name); first = false {
		if first {
			_ = os.WriteFile(name+".held", nil, 0o600) // without it the test says what it waits for
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// gatedDisk is the system's files, with a gate before each thing that the log does.
type gatedDisk struct {
	disk
	gates
}

type gatedFile struct {
	stream.File
	gates
}

func (d *gatedDisk) Open(name string, flag int) (stream.File, error) {
	if flag&os.O_CREATE != 0 {
		d.pass("create")
	}
	f, err := d.disk.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return &gatedFile{f, d.gates}, nil
}

func (d *gatedDisk) Remove(name string) error {
	d.pass("remove")
	return d.disk.Remove(name)
}

func (f *gatedFile) WriteAt(b []byte, off int64) (int, error) {
	f.pass("write")
	return f.File.WriteAt(b, off)
}

func (f *gatedFile) Sync() error {
	f.pass("sync")
	return f.File.Sync()
}

// gatedWriter is a snapshot's way into its file, with a gate behind its first part.
type gatedWriter struct {
	w io.Writer
	gates
	passed int
}

func (w *gatedWriter) Write(b []byte) (int, error) {
	if before := w.passed; before < part/2 && before+len(b) >= part/2 {
		w.pass("snapshot")
	}
	w.passed += len(b)
	return w.w.Write(b)
}

// dam makes whoever writes a file of a member wait: in its place is a pipe that is
// full. It holds what is not the log's, where there are no gates.
type dam struct {
	t    *testing.T
	p    *place
	path string
	pipe *os.File
}

func (p *place) dam(name string) *dam {
	p.t.Helper()
	d := &dam{t: p.t, p: p, path: filepath.Join(p.dir, name)}
	if err := unix.Mkfifo(d.path, 0o600); err != nil {
		p.t.Fatal(err)
	}
	fd, err := unix.Open(d.path, unix.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	d.pipe = os.NewFile(uintptr(fd), d.path)
	for size := 4096; size > 0; size /= 2 { // to the last byte
		for err = nil; err == nil; {
			_, err = unix.Write(fd, make([]byte, size))
		}
	}
	p.t.Cleanup(d.remove)
	return d
}

// held waits until the member has opened it, to write.
func (d *dam) held() {
	d.t.Helper()
	files := filepath.Join("/proc", strconv.Itoa(d.p.cmd.Process.Pid), "fd")
	eventually(d.t, "somebody writes "+d.path, func() bool {
		list, _ := os.ReadDir(files)
		for _, f := range list {
			if to, err := os.Readlink(filepath.Join(files, f.Name())); err == nil && to == d.path {
				return true
			}
		}
		return false
	})
}

// remove takes it away, when the member has ended or not come yet.
func (d *dam) remove() {
	d.pipe.Close()
	os.Remove(d.path) //nolint:errcheck // it may be gone
}
