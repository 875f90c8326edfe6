package identity_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"rowfall/replication/disk"
	"rowfall/replication/identity"
)

func sample() identity.State {
	return identity.State{
		History:  identity.NewHistory(a).Begin(b, 300).Begin(c, 600),
		Upstream: "10.0.0.1:6379", Term: 7, Boot: "some-boot", Durable: true,
		Complete: true, CompleteAt: 11, Clean: true, CleanEnd: 900, Pending: true, PendingAt: 12,
		Log: identity.LogName{Generation: 0x1deadbeef, File: "12:34.000000056"},
	}
}

func TestStateRoundTrip(t *testing.T) {
	for _, want := range []identity.State{sample(), {History: identity.NewHistory(a)}} {
		dir := t.TempDir()
		if err := want.Save(disk.SystemFS{}, dir); err != nil {
			t.Fatal(err)
		}
		got, err := identity.Load(disk.SystemFS{}, dir)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if _, err := os.Stat(filepath.Join(dir, identity.FileName+".tmp")); !os.IsNotExist(err) {
			t.Errorf("a temporary file is left: %v", err)
		}
	}
	if _, err := identity.Load(disk.SystemFS{}, t.TempDir()); !identity.IsFresh(err) {
		t.Errorf("a fresh directory gives %v", err)
	}
}

// Load recognizes a copied file in any place. A file of a version without file ids never counts as
// a copy.
func TestStateKnowsACopy(t *testing.T) {
	dir := t.TempDir()
	if err := sample().Save(disk.SystemFS{}, dir); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, identity.FileName)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	put := func(dir string, b []byte) identity.State {
		if err := os.WriteFile(filepath.Join(dir, identity.FileName), b, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := identity.Load(disk.SystemFS{}, dir)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if !put(t.TempDir(), b).Copied {
		t.Error("a copy elsewhere is not noticed")
	}
	if err := os.Rename(dir, dir+"-moved"); err != nil {
		t.Fatal(err)
	}
	dir += "-moved"
	if s, err := identity.Load(disk.SystemFS{}, dir); err != nil || s.Copied {
		t.Errorf("a renamed directory counts as a copy: %v", err)
	}
	// The original continues, and then the copy replaces it.
	if err := sample().Save(disk.SystemFS{}, dir); err != nil {
		t.Fatal(err)
	}
	if !put(dir, b).Copied {
		t.Error("a copy put back is not noticed")
	}
	if put(t.TempDir(), sample().Append(nil)).Copied {
		t.Error("a file without a name is taken for a copy")
	}
}

// A log that was put in the place of the directory's own is recognized. The directory's own log is
// recognized after every way of moving a directory.
func TestHasLog(t *testing.T) {
	own := identity.LogName{Generation: 0x1deadbeef, File: "12:34.5"}
	for _, tc := range []struct {
		name  string
		state identity.State
		now   identity.LogName
		want  bool
	}{
		{"its own", identity.State{Log: own}, own, true},
		{
			"begun anew",
			identity.State{Log: own},
			identity.LogName{Generation: 0x100000001, File: own.File},
			false,
		},
		{
			"an older copy",
			identity.State{Log: own},
			identity.LogName{Generation: own.Generation, File: "13:34.5"},
			false,
		},
		{
			"moved after a clean stop",
			identity.State{Log: own, Clean: true, CleanEnd: 50},
			identity.LogName{Generation: own.Generation, File: "13:34.5"},
			true,
		},
		{
			"an older copy after a clean stop",
			identity.State{Log: own, Clean: true, CleanEnd: 60},
			identity.LogName{Generation: own.Generation, File: "13:34.5"},
			false,
		},
		{
			"the directory is a copy",
			identity.State{Log: own, Copied: true},
			identity.LogName{Generation: own.Generation, File: "13:34.5"},
			true,
		},
		{
			"a copy with another log",
			identity.State{Log: own, Copied: true},
			identity.LogName{Generation: 1, File: "13:34.5"},
			false,
		},
		{
			"files without a name",
			identity.State{Log: own},
			identity.LogName{Generation: own.Generation},
			true,
		},
		{"an older version's identity", identity.State{}, own, true},
	} {
		if got := tc.state.HasLog(tc.now, 50); got != tc.want {
			t.Errorf("%s: has its log is %v", tc.name, got)
		}
	}
}

// Every changed, missing or added byte is an error.
func TestStateDamage(t *testing.T) {
	good := sample().Append(nil)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := identity.Parse(bad); err == nil {
			t.Errorf("byte %d changed: no error", i)
		}
		if _, err := identity.Parse(good[:i]); err == nil {
			t.Errorf("cut at byte %d: no error", i)
		}
	}
	if _, err := identity.Parse(append(bytes.Clone(good), '\n')); err == nil {
		t.Error("a byte more: no error")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, identity.FileName), good[:30], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := identity.Load(disk.SystemFS{}, dir); err == nil ||
		!strings.Contains(err.Error(), "delete it") {
		t.Errorf("the error names no remedy: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample().Append(nil))
	f.Add([]byte("rowfall-identity 1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := identity.Parse(b)
		if err != nil {
			return
		}
		if again, err := identity.Parse(s.Append(nil)); err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v does not come back: %+v, %v", s, again, err)
		}
	})
}

func TestLockDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	l, err := identity.LockDir(disk.SystemFS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := identity.LockDir(disk.SystemFS{}, dir); err == nil ||
		!strings.Contains(err.Error(), "owns it") {
		t.Errorf("a second owner gets %v", err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	l, err = identity.LockDir(disk.SystemFS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	l.Release() //nolint:errcheck // as the kernel does
}
