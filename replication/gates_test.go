package replication_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rowfall/replication/disk"
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
	eventually(t, "it is held at "+stage,
		func() bool { return exists(filepath.Join(string(g), stage+".held")) })
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
	volume
	gates
}

type gatedFile struct {
	disk.File
	gates
}

func (d *gatedDisk) Open(name string, flag int) (disk.File, error) {
	if flag&os.O_CREATE != 0 {
		d.pass("create")
	}
	f, err := d.volume.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return &gatedFile{f, d.gates}, nil
}

func (d *gatedDisk) Remove(name string) error {
	d.pass("remove")
	return d.volume.Remove(name)
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

// gatedFiles is the system's files, with a gate behind the making of each, by its name.
type gatedFiles struct {
	disk.SystemFS
	gates
}

func (d *gatedFiles) Open(name string, flag int) (disk.File, error) {
	f, err := d.SystemFS.Open(name, flag)
	if err == nil && flag&os.O_CREATE != 0 {
		d.pass(filepath.Base(name))
	}
	return f, err
}

// dam makes whoever writes a file of a member wait: one that is not the log's.
type dam struct {
	p    *place
	name string
}

func (p *place) dam(name string) *dam {
	p.t.Helper()
	p.gate.shut(p.t, name)
	return &dam{p, name}
}

// held waits until the member has made it, to write.
func (d *dam) held() {
	d.p.t.Helper()
	d.p.gate.held(d.p.t, d.name)
}

// remove takes it away, when the member has ended or not come yet.
func (d *dam) remove() { d.p.gate.open(d.name) }
