// Package filetest parses pipeline files for tests.
package filetest

import (
	"os"
	"testing"

	"rowfall/pipelines/file"
)

// Parse returns the pipeline of a file's text. The file's name is for messages. An error ends the
// test.
func Parse(t testing.TB, name, text string) *file.Config {
	t.Helper()
	c, err := file.Parse(name, []byte(text), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
