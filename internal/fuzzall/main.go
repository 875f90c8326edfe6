// Command fuzzall runs every fuzz target below the current folder, one after the other, for a while each: it is
// `make fuzz`. The go command itself fuzzes one target of one package at a time only.
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

// target is one fuzz function.
type target struct{ dir, name string }

var declaration = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)

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

func run(ctx context.Context, each time.Duration) error {
	targets, err := find(".")
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
			// On a busy machine the go command at times reports its own deadline as
			// a failure ("context deadline exceeded"), with no input to show for it.
			fmt.Println("no failing input was found; once more")
			_, err = fuzz(ctx, t, each)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("fuzz %s %s: %w", t.dir, t.name, err))
		}
	}
	return errors.Join(failed...)
}

// fuzz runs one target; found says that a failure comes with an input. The go command would spend up to a minute on
// making each input that is new to it shorter: more time than there is.
func fuzz(ctx context.Context, t target, each time.Duration) (found bool, err error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-fuzz=^"+t.name+"$", "-fuzztime="+each.String(), "-fuzzminimizetime=1s",
		"./"+t.dir)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(os.Stdout, &out), os.Stderr
	err = cmd.Run()
	return bytes.Contains(out.Bytes(), []byte("Failing input written")), err
}

// find lists the fuzz targets of the test files below root.
func find(root string) ([]target, error) {
	var targets []target
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range declaration.FindAllSubmatch(text, -1) {
			targets = append(targets, target{filepath.ToSlash(filepath.Dir(path)), string(m[1])})
		}
		return nil
	})
	return targets, err
}
