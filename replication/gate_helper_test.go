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

// gatesEnv names the directory of a member's gates.
const gatesEnv = "ROWFALL_TEST_GATES"

// gates is a directory through which a test stops another process at a stage. A process that
// reaches a stage with a gate file of that name creates NAME.held and waits until the gate file is
// removed.
type gates string

// close creates the gate file of a stage.
func (g gates) close(t *testing.T, stage string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(string(g), stage), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// open removes the gate file, so that a waiting process continues.
func (g gates) open(stage string) {
	os.Remove(filepath.Join(string(g), stage))         //nolint:errcheck // the gate may be open
	os.Remove(filepath.Join(string(g), stage+".held")) //nolint:errcheck // it may not exist
}

// waitHeld waits until the process has reached the stage.
func (g gates) waitHeld(t *testing.T, stage string) {
	t.Helper()
	eventually(t, "the process waits at stage "+stage,
		func() bool { return exists(filepath.Join(string(g), stage+".held")) })
}

// pass is called by the process at each stage. It returns when the stage has no gate file.
func (g gates) pass(stage string) {
	name := filepath.Join(string(g), stage)
	for first := true; exists(name); first = false {
		if first {
			_ = os.WriteFile(name+".held", nil, 0o600) // on an error the test reports its wait
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// logFiles returns the log's file system, with a gate before each operation that changes files.
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

// nodeFiles returns the file system for a node's other files. After the creation of a file it has a
// gate with the name of the file.
func (g gates) nodeFiles() disk.FS {
	return faultfs.WrapNames(disk.SystemFS{}, faultfs.After(func(op *faultfs.Op) {
		if op.Creates() {
			g.pass(filepath.Base(op.Name))
		}
	}))
}

// gatedWriter writes a snapshot to w. It has the gate "snapshot" after the first part.
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

// fileGate stops a member after it has created one of its files and before it writes to the file.
// Files of the log have other gates.
type fileGate struct {
	m    *member
	name string
}

// gateFile closes a gate at the creation of a file.
func (m *member) gateFile(name string) *fileGate {
	m.t.Helper()
	m.gate.close(m.t, name)
	return &fileGate{m, name}
}

// waitHeld waits until the member has created the file.
func (g *fileGate) waitHeld() {
	g.m.t.Helper()
	g.m.gate.waitHeld(g.m.t, g.name)
}

// open removes the gate. The member has ended, or has not reached it yet.
func (g *fileGate) open() { g.m.gate.open(g.name) }
