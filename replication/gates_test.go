package replication_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rowfall/internal/faultfs"
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

// logFiles returns the files of the log, with a gate before each operation that changes them.
func (g gates) logFiles() disk.FS {
	return faultfs.Wrap(disk.SystemFS{}, faultfs.Before(func(op *faultfs.Op) {
		switch {
		case op.Creates():
			g.pass("create")
		case op.Kind == faultfs.OpRemove:
			g.pass("remove")
		case op.Kind == faultfs.OpWriteAt:
			g.pass("write")
		case op.Kind == faultfs.OpSync:
			g.pass("sync")
		}
	}))
}

// nodeFiles returns the other files of a node. Behind the creation of each there is a gate of the
// file's name.
func (g gates) nodeFiles() disk.FS {
	return faultfs.WrapNames(disk.SystemFS{}, faultfs.After(func(op *faultfs.Op) {
		if op.Creates() {
			g.pass(filepath.Base(op.Name))
		}
	}))
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
