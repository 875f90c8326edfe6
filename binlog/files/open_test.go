package files

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog/mysql"
)

// Files that are not a part of one binlog are rejected, with the reason.
func TestRejected(t *testing.T) {
	files, contents := testdata(t, "mysql")
	others, _ := testdata(t, "mariadb")
	change := func(at int, b byte) logFile {
		content := slices.Clone(contents[0])
		content[at] = b
		return memoryFile("binlog.000002", content)
	}
	l := testLog(t, "mysql")
	all, err := l.Find(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	second := boundaries(t, l, &all)[1:3] // the place of the second transaction
	relay := append(slices.Clone(contents[0][:second[0].Offset]), contents[0][second[1].Offset:]...)
	for want, list := range map[string][]logFile{
		"no file is given":                {},
		"the file is encrypted":           {change(0, 0xfd)},
		"not a binlog file":               {change(3, 'x')},
		"does not begin with":             {change(8, 2)},
		"written by a MariaDB, and binlo": {files[0], others[1]},
		"have one name":                   {files[0], others[0]},
		"between binlog.000002 and": {
			files[0], memoryFile("binlog.000004", contents[1]),
		},
		"not of one binlog":     {files[0], memoryFile("log.000003", contents[1])},
		"the order of":          {files[0], memoryFile("binlog", contents[1])},
		"ends within the event": {memoryFile("binlog.000002", contents[0][:3])},
		"ends too early":        {memoryFile("b.1", append(slices.Clone(magic), shortHead()...))},
		"of MySQL 4.0 or 4.1":   {memoryFile("b.1", append(slices.Clone(magic), startV3()...))},
		"it is a relay log":     {memoryFile("binlog.000002", relay)},
	} {
		l, err := newLog(list)
		if err == nil {
			var s Stretch
			if s, err = l.Find(t.Context(), "", ""); err == nil {
				err = s.Broken
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if !mysql.IsUnknownServer(mysql.UnknownServer(mysql.MySQL)) ||
		mysql.FlavorOf(mysql.UnknownServer(mysql.MariaDB)) != mysql.MariaDB {
		t.Error("an unknown server has another flavor")
	}
}

// shortHead returns a FORMAT_DESCRIPTION_EVENT of an old server.
func shortHead() []byte {
	b := make([]byte, 40)
	b[4], b[9] = typeFormatDescription, byte(len(b))
	return b
}

// startV3 returns the first event of a file of MySQL 4.1.
func startV3() []byte {
	body := append([]byte{3, 0}, "4.1.22"...)
	return appendEvent(nil, 1, append(body, make([]byte, 2+50+4-len(body))...))
}

// appendEvent appends an event without a checksum. dst has the file's content without the magic.
func appendEvent(dst []byte, kind byte, body []byte) []byte {
	size := uint32(headerSize + len(body))
	dst = append(dst, 1, 0, 0, 0, kind, 1, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, size)
	end := uint32(len(dst)+len(body)+6) + firstEvent
	dst = binary.LittleEndian.AppendUint32(dst, end)
	return append(append(dst, 0, 0), body...)
}

// The files of a server before MySQL 5.6 have no checksums, and do not declare that.
func TestOldFormat(t *testing.T) {
	format := append([]byte{4, 0}, "5.5.62-log"...)
	format = append(format, make([]byte, 2+50+4-len(format))...)
	format = append(format, headerSize)
	lengths := bytes.Repeat([]byte{8}, 27)
	lengths[1] = 13 // QUERY_EVENT
	content := appendEvent(nil, typeFormatDescription, append(format, lengths...))
	for _, sql := range []string{"BEGIN", "COMMIT", "DROP TABLE t"} {
		query := append(make([]byte, 13), 0)
		content = appendEvent(content, 2, append(query, sql...))
	}
	l, err := newLog([]logFile{memoryFile("binlog.000001", slices.Concat(magic, content))})
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Find(t.Context(), "", "")
	if err != nil || s.Broken != nil || s.Transactions != 2 || l.Version() != "5.5.62-log" {
		t.Errorf("%d transactions, version %s, %v, %v", s.Transactions, l.Version(), s.Broken, err)
	}
}

// A shell's binlog.0* also matches the indexes of GTIDs that MariaDB 11.4 and later write. Files of
// an InnoDB-based binary log are rejected by name.
func TestOpenIgnoresIndexes(t *testing.T) {
	names := []string{"mariadb.000002", "mariadb.000003"}
	dir, paths := t.TempDir(), make([]string, 0, 4)
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		for path, text := range map[string][]byte{name: content, name + ".idx": []byte("index")} {
			path = filepath.Join(dir, path)
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
		}
	}
	l, err := Open(paths)
	if err != nil || len(l.files) != len(names) {
		t.Errorf("%+v, %v", l, err)
	}
	pages := filepath.Join(dir, "binlog-000001.ibb")
	if err := os.WriteFile(pages, []byte("\xfe\xfe\x0d\x01"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(append(paths, pages)); err == nil ||
		!strings.Contains(err.Error(), "InnoDB-based binary log") {
		t.Errorf("error is %v", err)
	}
}
