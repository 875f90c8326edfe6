package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/architecture.md names functions as folder.Function or folder.Type.Method. A name
// that the code no longer has would send its reader into the wrong file.
func TestArchitecturePage(t *testing.T) {
	const root = "../.."
	page, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`([a-z]+(?:/[a-z]+)*)\\.([A-Za-z]+)(?:\\.([A-Za-z]+))?`").
		FindAllStringSubmatch(string(page), -1)
	if len(names) < 40 {
		t.Fatalf("only %d names of functions were found", len(names))
	}
	for _, name := range names {
		files, _ := filepath.Glob(filepath.Join(root, name[1], "*.go"))
		pattern := `(?m)^func ` + name[2] + `\(`
		if name[3] != "" {
			pattern = `(?m)^func \(\w+ \*?` + name[2] + `\) ` + name[3] + `\(`
		}
		declaration, found := regexp.MustCompile(pattern), false
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			found = found || declaration.Match(text)
		}
		if !found {
			t.Errorf("%s is not declared", name[0])
		}
	}
}
