package servers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// machine is what the system's own files say about where its packages come from.
type machine struct {
	distribution string // ID of os-release: debian, ubuntu
	codename     string // VERSION_CODENAME: bookworm
	source       source
}

// readMachine reads os-release and apt's sources.
func readMachine() (machine, error) {
	var m machine
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return m, fmt.Errorf("read os-release: %w", err)
	}
	release := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		release[key] = strings.Trim(value, `"'`)
	}
	m.distribution, m.codename = release["ID"], release["VERSION_CODENAME"]
	if code := release["UBUNTU_CODENAME"]; code != "" {
		m.distribution, m.codename = "ubuntu", code // derivatives of Ubuntu use its archive
	}
	sources, err := readSources("/etc/apt")
	if err != nil {
		return m, err
	}
	m.source, err = archive(sources, m.codename)
	return m, err
}

// suites lists the suites to look for a role's packages in, the best first.
func (m machine) suites(r role) []string {
	if m.distribution == "ubuntu" {
		return []string{m.codename}
	}
	switch r {
	case newest:
		return []string{"sid"}
	case recent:
		return []string{"trixie", "stable"}
	}
	// The oldest supported servers are the more telling ones; a mirror that dropped them has the machine's own.
	suites := []string{"bookworm", m.codename, "stable"}
	return slices.Compact(slices.DeleteFunc(suites, func(s string) bool { return s == "" }))
}

// source is one entry of apt's sources.
type source struct {
	uri        string
	suites     []string
	components []string
	options    []option // the other fields in deb822's names: Signed-By, Trusted, ...
}

// option is a field of an entry; a value of several lines keeps its line ends.
type option struct{ name, value string }

// sourcesFile is a file to put into an apt's sources.list.d.
type sourcesFile struct{ name, text string }

// in is the source file for one other suite of the same archive.
func (s source) in(suite string) sourcesFile {
	components := slices.DeleteFunc(slices.Clone(s.components), func(c string) bool { return c != "main" && c != "universe" })
	var b strings.Builder
	fmt.Fprintf(&b, "Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\n", s.uri, suite, strings.Join(components, " "))
	for _, o := range s.options {
		fmt.Fprintf(&b, "%s: %s\n", o.name, o.value)
	}
	return sourcesFile{name: "servers.sources", text: b.String()}
}

// archive finds the entry that the distribution's own packages come from.
func archive(sources []source, codename string) (source, error) {
	// A machine that follows testing or unstable names those, not its code name.
	for _, names := range [][]string{{codename}, {"stable", "testing", "sid", "unstable", "oldstable"}} {
		for _, s := range sources {
			for _, name := range names {
				if name != "" && slices.Contains(s.suites, name) && slices.Contains(s.components, "main") {
					return s, nil
				}
			}
		}
	}
	return source{}, fmt.Errorf("find package mirror: apt's sources have no entry for %q", codename)
}

// readSources reads the entries for binary packages of apt's sources under dir, in both formats.
func readSources(dir string) ([]source, error) {
	var sources []source
	lists, err := filepath.Glob(filepath.Join(dir, "sources.list.d/*.list"))
	if err != nil {
		return nil, fmt.Errorf("list apt sources: %w", err)
	}
	for _, path := range append([]string{filepath.Join(dir, "sources.list")}, lists...) {
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read apt sources: %w", err)
		}
		sources = append(sources, parseList(string(text))...)
	}
	paragraphs, err := filepath.Glob(filepath.Join(dir, "sources.list.d/*.sources"))
	if err != nil {
		return nil, fmt.Errorf("list apt sources: %w", err)
	}
	for _, path := range paragraphs {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read apt sources: %w", err)
		}
		sources = append(sources, parseDeb822(string(text))...)
	}
	return sources, nil
}

// parseList reads the one-line format: deb [option=value ...] uri suite component...
func parseList(text string) []source {
	var sources []source
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !ok || rest == "" || !strings.ContainsAny(rest[:1], " \t[") {
			continue
		}
		var s source
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			var options string
			options, rest, _ = strings.Cut(rest[1:], "]")
			for _, field := range strings.Fields(options) {
				name, value, _ := strings.Cut(field, "=")
				if name == "arch" {
					name = "architectures"
				}
				s.options = append(s.options, option{name, strings.ReplaceAll(value, ",", " ")})
			}
		}
		fields := strings.Fields(rest)
		if len(fields) < 3 {
			continue
		}
		s.uri, s.suites, s.components = fields[0], fields[1:2], fields[2:]
		sources = append(sources, s)
	}
	return sources
}

// parseDeb822 reads the format of paragraphs of fields. A line that starts with a space goes on with the field above it.
func parseDeb822(text string) []source {
	var sources []source
	var fields []option
	end := func() {
		if s, ok := paragraph(fields); ok {
			sources = append(sources, s)
		}
		fields = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "":
			end()
		case line[0] == ' ' || line[0] == '\t':
			if n := len(fields); n > 0 {
				fields[n-1].value += "\n" + line
			}
		default:
			name, value, _ := strings.Cut(line, ":")
			fields = append(fields, option{name, strings.TrimSpace(value)})
		}
	}
	end()
	return sources
}

// paragraph makes an entry of one paragraph's fields; false for one that is disabled or has no binary packages.
func paragraph(fields []option) (source, bool) {
	var s source
	binary, enabled := false, true
	for _, f := range fields {
		words := strings.Fields(f.value)
		switch strings.ToLower(f.name) {
		case "types":
			binary = slices.Contains(words, "deb")
		case "uris":
			if len(words) > 0 {
				s.uri = words[0]
			}
		case "suites":
			s.suites = words
		case "components":
			s.components = words
		case "enabled":
			enabled = !slices.Contains([]string{"no", "false", "0", "off", "without", "disable"}, strings.ToLower(f.value))
		default:
			s.options = append(s.options, f)
		}
	}
	return s, binary && enabled && s.uri != ""
}
