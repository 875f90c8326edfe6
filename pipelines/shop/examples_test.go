package shop_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"rowfall/pipelines/file"
)

// Newcomers copy the examples, so the examples must stay valid.
func TestExamples(t *testing.T) {
	read := func(path string) string {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_, readme, ok := strings.Cut(read("../../README.md"), "```yaml\n")
	readme, _, closed := strings.Cut(readme, "```")
	if !ok || !closed {
		t.Fatal("README.md has no mapping")
	}
	for name, text := range map[string]string{
		"README.md": readme, "shop.yaml": read("shop.yaml"),
		"shop.compose.yaml": read("shop.compose.yaml"),
	} {
		secret := func(string) (string, bool) { return "secret", true }
		if _, err := file.Parse(name, []byte(text), secret); err != nil {
			t.Error(err)
		}
	}
	// One mapping, with two networks' addresses.
	mapping := func(text string) string {
		_, text, _ = strings.Cut(text, "\ntables:")
		text, _, _ = strings.Cut(text, "\nsink:")
		return text
	}
	if mapping(read("shop.yaml")) != mapping(read("shop.compose.yaml")) {
		t.Error("shop.yaml and shop.compose.yaml map differently")
	}
}

// TestCompose checks compose.yaml as far as that works without Docker.
func TestCompose(t *testing.T) {
	text, err := os.Open("../../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = text.Close() }()
	var file struct {
		Name     string
		Services map[string]struct {
			Image, Build, Restart string
			Command, Ports        []string
			Volumes               []string
			Environment           map[string]string
			Healthcheck           map[string]any
			DependsOn             yaml.Node `yaml:"depends_on"`
		}
		Volumes map[string]any
	}
	decoder := yaml.NewDecoder(text)
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"mysql", "rowfall", "redis", "valkey", "redis-below", "valkey-below",
	} {
		s, ok := file.Services[name]
		if !ok || (s.Image == "") == (s.Build == "") {
			t.Errorf("service %s: there %t, image %q, build %q; want one of the two", name, ok,
				s.Image, s.Build)
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if _, named := file.Volumes[from]; named {
				continue
			}
			if _, err := os.Stat(filepath.Join("../..", from)); err != nil {
				t.Errorf("service %s mounts what is not there: %v", name, err)
			}
		}
		for i, arg := range s.Command {
			if arg != "--replicaof" {
				continue
			}
			if _, ok := file.Services[s.Command[i+1]]; !ok {
				t.Errorf("service %s follows %s, which is no service", name, s.Command[i+1])
			}
		}
	}
	if _, err := os.Stat("../../Dockerfile"); err != nil {
		t.Error(err)
	}
}
