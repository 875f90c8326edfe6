// Command fuzzall runs every fuzz target below the current folder, one after the other, each for
// the duration of the flag -time. It implements `make fuzz`. The go command itself can fuzz only
// one target of one package at a time.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// target is a fuzz function and the folder of its package.
type target struct{ dir, name string }

// fuzzFunc matches the declaration of a fuzz function.
var fuzzFunc = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)

func main() {
	each := flag.Duration("time", 10*time.Second, "how long to run each target")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *each); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run fuzzes all targets and returns the errors of those that failed.
func run(ctx context.Context, each time.Duration) error {
	targets, err := findTargets(".")
	if err != nil {
		return fmt.Errorf("find fuzz targets: %w", err)
	}
	var failed []error
	for _, t := range targets {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		fmt.Printf("%s %s\n", t.dir, t.name)
		found, err := fuzz(ctx, t, each)
		if err != nil && !found && ctx.Err() == nil {
			// On a busy machine the go command sometimes reports its own deadline as a failure
			// ("context deadline exceeded") without a failing input. Is there no input? Then retry.
			fmt.Println("failed without a failing input; retrying")
			_, err = fuzz(ctx, t, each)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("fuzz %s %s: %w", t.dir, t.name, err))
		}
	}
	return errors.Join(failed...)
}

// fuzz runs one target. found reports whether the failure has an input that reproduces it.
// -fuzzminimizetime is short, because the go command would otherwise spend up to a minute on
// minimizing each new input, more than the whole run.
func fuzz(ctx context.Context, t target, each time.Duration) (found bool, err error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(
		ctx, "go", "test", "-run=^$", "-fuzz=^"+t.name+"$", "-fuzztime="+each.String(),
		"-fuzzminimizetime=1s", "./"+t.dir,
	)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(os.Stdout, &out), os.Stderr
	err = cmd.Run()
	return bytes.Contains(out.Bytes(), []byte("Failing input written")), err
}

// findTargets returns the fuzz targets of the test files below root.
func findTargets(root string) ([]target, error) {
	var targets []target
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range fuzzFunc.FindAllSubmatch(text, -1) {
			targets = append(targets, target{filepath.ToSlash(filepath.Dir(path)), string(m[1])})
		}
		return nil
	})
	return targets, err
}
