package servers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// machine is the distribution of this machine and the mirror that it installs packages from.
type machine struct {
	distribution string // ID of os-release: debian, ubuntu
	codename     string // VERSION_CODENAME: bookworm
	source       aptSource
}

// readMachine reads /etc/os-release and apt's sources.
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
		m.distribution, m.codename = "ubuntu", code // derivatives of Ubuntu use Ubuntu's archive
	}
	sources, err := readSources("/etc/apt")
	if err != nil {
		return m, err
	}
	m.source, err = findArchive(sources, m.codename)
	return m, err
}

// suites returns the suites that may have a role's packages, best first.
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
	// Tests against the oldest supported servers find more, so bookworm comes first. A mirror that
	// no longer has bookworm has the machine's own release.
	suites := []string{"bookworm", m.codename, "stable"}
	return slices.Compact(slices.DeleteFunc(suites, func(s string) bool { return s == "" }))
}

// aptSource is one entry of apt's sources.
type aptSource struct {
	uri        string
	suites     []string
	components []string
	options    []option // the other fields under their names in deb822, such as Signed-By
}

// option is a field of an entry. A value of several lines keeps its line breaks.
type option struct{ name, value string }

// sourcesFile is a file for the folder sources.list.d of an apt.
type sourcesFile struct{ name, text string }

// forSuite returns the sources file for another suite of the same archive.
func (s aptSource) forSuite(suite string) sourcesFile {
	components := slices.DeleteFunc(slices.Clone(s.components), func(c string) bool {
		return c != "main" && c != "universe"
	})
	var b strings.Builder
	fmt.Fprintf(
		&b, "Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\n", s.uri, suite,
		strings.Join(components, " "),
	)
	for _, o := range s.options {
		fmt.Fprintf(&b, "%s: %s\n", o.name, o.value)
	}
	return sourcesFile{name: "servers.sources", text: b.String()}
}

// findArchive returns the source that the distribution's own packages come from.
func findArchive(sources []aptSource, codename string) (aptSource, error) {
	// A machine that follows testing or unstable names these suites instead of its code name.
	for _, names := range [][]string{
		{codename}, {"stable", "testing", "sid", "unstable", "oldstable"},
	} {
		for _, s := range sources {
			for _, name := range names {
				if name != "" && slices.Contains(s.suites, name) &&
					slices.Contains(s.components, "main") {
					return s, nil
				}
			}
		}
	}
	return aptSource{}, fmt.Errorf("find package mirror: apt's sources have no entry for %q",
		codename)
}

// readSources returns the entries for binary packages of apt's sources under dir, in both formats.
func readSources(dir string) ([]aptSource, error) {
	var sources []aptSource
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

// parseList parses the one-line format: deb [option=value ...] uri suite component...
func parseList(text string) []aptSource {
	var sources []aptSource
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !ok || rest == "" || !strings.ContainsAny(rest[:1], " \t[") {
			continue
		}
		var s aptSource
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

// parseDeb822 parses the deb822 format, paragraphs of fields. A line that begins with a space
// continues the field above.
func parseDeb822(text string) []aptSource {
	var sources []aptSource
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

// paragraph returns the entry of one paragraph. It returns false if the entry is disabled or is
// not for binary packages.
func paragraph(fields []option) (aptSource, bool) {
	var s aptSource
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
			enabled = !slices.Contains(
				[]string{"no", "false", "0", "off", "without", "disable"}, strings.ToLower(f.value),
			)
		default:
			s.options = append(s.options, f)
		}
	}
	return s, binary && enabled && s.uri != ""
}
