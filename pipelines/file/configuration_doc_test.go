package file

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"rowfall/replication/replog"
)

// docPage is a page of docs: its blocks of YAML, and the rows of its tables by the header of the
// first column. A line "Below `a.b`..." above a table is the section of its keys; the rows have the
// whole path.
type docPage struct {
	text   string
	yaml   []string
	tables map[string][][]string
}

func readDocPage(t *testing.T, name string) *docPage {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	p := &docPage{text: string(text), tables: make(map[string][][]string)}
	for _, after := range strings.Split(p.text, "\n```yaml\n")[1:] {
		block, _, _ := strings.Cut(after, "\n```\n")
		p.yaml = append(p.yaml, block+"\n")
	}
	header, section := "", ""
	for line := range strings.SplitSeq(p.text, "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case strings.HasPrefix(line, "#"):
			section = ""
		case strings.HasPrefix(line, "Below `"):
			section = inBackquotes(line)[0] + "."
		case !strings.HasPrefix(line, "|"):
			header = ""
		case header == "":
			header = cells[0]
		case !strings.HasPrefix(line, "|---"):
			if header == "Key" {
				cells[0] = strings.Replace(cells[0], "`", "`"+section, 1)
			}
			p.tables[header] = append(p.tables[header], cells)
		}
	}
	return p
}

// inBackquotes returns the texts in backquotes of a text.
func inBackquotes(text string) []string {
	var out []string
	for i, part := range strings.Split(text, "`") {
		if i%2 == 1 {
			out = append(out, part)
		}
	}
	return out
}

// settingOf returns what a cell in backquotes contains.
func settingOf(cell string) (string, bool) {
	if all := inBackquotes(cell); len(all) == 1 && cell == "`"+all[0]+"`" {
		return all[0], true
	}
	return "", false
}

func docVariables(string) (string, bool) { return "6400", true }

// askedKeys reads a file, and returns the keys that the reader asked for without those of sections.
func askedKeys(text string) (map[string]Value, *document) {
	d := &document{
		file: "x.yaml", lookup: docVariables,
		lines: make(map[string]int), asked: make(map[string]Value),
	}
	c := Defaults()
	if top := d.parse([]byte(text)); top != nil {
		c.read(top)
	}
	leaves := make(map[string]Value)
	for path, x := range d.asked {
		section := false
		for other := range d.asked {
			section = section || strings.HasPrefix(other, path+".") ||
				strings.HasPrefix(other, path+"[")
		}
		if !section {
			leaves[path] = x
		}
	}
	return leaves, d
}

// valueCell returns how docs/configuration.md describes the values that a setting accepts.
func valueCell(x Value) string {
	switch x := x.(type) {
	case number:
		return fmt.Sprintf("number, %d to %d", x.least, x.most)
	case size:
		cell := "size"
		if x.positive {
			cell += " above 0"
		}
		if x.all {
			cell += ", or -1 for all"
		}
		if x.most > 0 {
			cell += ", at most " + formatSize(x.most)
		}
		return cell
	case duration:
		if x.least > 0 {
			return fmt.Sprintf("time, at least %v", x.least)
		}
		return "time"
	case word:
		return strings.Join(x.words, ", ")
	case fsync:
		return fmt.Sprintf("%v, %v, %v", replog.Always, replog.EverySecond, replog.Never)
	case address:
		return "HOST:PORT"
	case filePath:
		return "path"
	case version:
		return "version"
	}
	return ""
}

// movedKeys have another place, which the page describes.
var movedKeys = map[string]bool{
	"sink.node.max_atomic_rows": true, "sink.node.max_atomic_bytes": true,
}

// docs/configuration.md has each key that the reader accepts outside of tables, with its values and
// its default, and no others.
func TestKeysOfConfigurationPage(t *testing.T) {
	page := readDocPage(t, "configuration.md")
	rows := make(map[string][]string)
	for _, cells := range page.tables["Key"] {
		key, ok := settingOf(cells[0])
		if !ok || len(cells) != 4 || rows[key] != nil {
			t.Errorf("the row of %s is malformed, or the second one of its key", cells[0])
		}
		rows[key] = cells
	}
	asked, _ := askedKeys("pipeline: shop")
	for key, x := range asked {
		if key == "tables" || movedKeys[key] {
			continue
		}
		cells := rows[key]
		if cells == nil {
			t.Errorf("docs/configuration.md lacks the key %s", key)
			continue
		}
		if want := valueCell(x); want != "" && cells[1] != want {
			t.Errorf("%s: the page has the values %q, want %q", key, cells[1], want)
		}
		// A default that is not literal describes the absence of the setting.
		text, literal := settingOf(cells[2])
		switch {
		case x == nil && literal:
			t.Errorf("%s: the page has a default, and the reader has none", key)
		case x == nil:
		case !literal && x.String() != "":
			t.Errorf("%s: the page has the default %q, want %q", key, cells[2], x.String())
		case literal:
			want := x.String()
			if err := x.Set(text); err != nil || x.String() != want {
				t.Errorf("%s: the page has the default %q, want %q", key, text, want)
			}
		}
	}
	for key := range rows {
		if _, ok := asked[key]; !ok {
			t.Errorf("docs/configuration.md has the key %s, which does not exist", key)
		}
	}
}

// The examples of docs/configuration.md are valid, and one has every key that the page describes.
func TestExamplesOfConfigurationPage(t *testing.T) {
	page := readDocPage(t, "configuration.md")
	given := make(map[string]int)
	for _, text := range page.yaml {
		if strings.Contains(text, "${file:") {
			text = strings.Replace(text, "${file:/run/secrets/mysql}", "${file:config.go}", 1)
		}
		c, err := Parse("x.yaml", []byte(text), docVariables)
		if err != nil {
			t.Errorf("%v\n%s", err, text)
			continue
		}
		if len(c.Warnings) > 0 {
			t.Errorf("%v\n%s", c.Warnings, text)
		}
		if len(c.lines) > len(given) {
			given = c.lines
		}
	}
	for _, cells := range page.tables["Key"] {
		key, _ := settingOf(cells[0])
		if given[key] == 0 {
			t.Errorf("the example with every key lacks %s", key)
		}
	}
	// The keys that the page calls reserved are rejected by name.
	_, reserved, _ := strings.Cut(page.text, "\n## Not available yet\n")
	for _, key := range inBackquotes(reserved) {
		text, indent := "", ""
		for part := range strings.SplitSeq(key, ".") {
			text, indent = text+indent+part+":\n", indent+"  "
		}
		_, err := Parse("x.yaml", []byte(strings.TrimSuffix(text, "\n")+" x\n"), docVariables)
		if err == nil || !strings.Contains(err.Error(), key+": is not available in this version") {
			t.Errorf("%s is reserved on the page, and the reader reports %v", key, err)
		}
	}
}

// The forms of values are accepted and rejected as docs/configuration.md shows.
func TestValueFormsOfConfigurationPage(t *testing.T) {
	var (
		n    int
		b    int64
		d    time.Duration
		text string
	)
	forms := map[string]Value{
		"number": number{&n, 0, 1 << 30}, "size": size{p: &b}, "time": duration{&d, 0},
		"HOST:PORT": address{plainText{&text}}, "version": version{&text},
	}
	rows := readDocPage(t, "configuration.md").tables["Form"]
	if len(rows) != len(forms) {
		t.Errorf("the page has %d forms of values, want %d", len(rows), len(forms))
	}
	for _, cells := range rows {
		x := forms[cells[0]]
		if x == nil {
			t.Errorf("the form %s does not exist", cells[0])
			continue
		}
		for _, example := range inBackquotes(cells[1]) {
			if err := x.Set(example); err != nil {
				t.Errorf("%s: %v", cells[0], err)
			}
		}
		for _, example := range inBackquotes(cells[2]) {
			if err := x.Set(example); err == nil {
				t.Errorf("%s: %s is accepted", cells[0], example)
			}
		}
	}
}
