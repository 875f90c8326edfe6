package files

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
)

// kinds are the first parts of the names in testdata. Each has two files that one server has
// written: a CREATE TABLE, two transactions, and in the second file two more.
var kinds = []string{"mysql", "mariadb"}

// memoryFile returns a file with a content.
func memoryFile(name string, content []byte) logFile {
	return logFile{
		path: name, name: name, size: uint64(len(content)),
		open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
	}
}

// testdata returns the files of a kind.
func testdata(t testing.TB, kind string) (files []logFile, contents [][]byte) {
	t.Helper()
	for _, number := range []string{"000002", "000003"} {
		content, err := os.ReadFile(filepath.Join("testdata", kind+"."+number))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, memoryFile("binlog."+number, content))
		contents = append(contents, content)
	}
	return files, contents
}

// testLog returns a log of the files of a kind.
func testLog(t testing.TB, kind string) *Log {
	t.Helper()
	files, _ := testdata(t, kind)
	l, err := newLog(files)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// oneTable maps d.t.
type oneTable struct {
	unmapped
	table *binlog.Table
}

func newOneTable() oneTable {
	return oneTable{table: &binlog.Table{
		Database: "d", Name: "t", Primary: []int{0}, Columns: []binlog.Column{
			{Name: "id", SQLType: "int", Type: binlog.TypeInt},
			{Name: "v", SQLType: "int", Type: binlog.TypeInt, Nullable: true},
		},
	}}
}

func (o oneTable) Table(database, name string) (*binlog.Table, error) {
	if database == o.table.Database && name == o.table.Name {
		return o.table, nil
	}
	return nil, nil
}

// content reads a stretch and returns its rows and statements, one line for each.
func content(t testing.TB, l *Log, s *Stretch) (string, error) {
	t.Helper()
	stream, err := l.Stream(s, Config{Tables: newOneTable(), Server: "here"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	var b strings.Builder
	for first := true; ; first = false {
		ev, err := stream.Next(t.Context())
		switch {
		case errors.Is(err, ErrEnd):
			if stream.Read() != s.Bytes {
				t.Errorf("%d bytes are read, want %d", stream.Read(), s.Bytes)
			}
			return b.String(), nil
		case err != nil:
			return b.String(), err
		case first && ev.Kind != binlog.Progress:
			t.Errorf("the first event is of kind %d", ev.Kind)
		}
		switch ev.Kind {
		case binlog.Statement:
			fmt.Fprintf(&b, "%.12s\n", ev.SQL)
		case binlog.Changes:
			for ev.Rows.Next() {
				c := ev.Rows.Change()
				row := c.After
				if row == nil {
					row = c.Before
				}
				id, _ := row.AppendText(nil, 0)
				v, _ := row.AppendText(nil, 1)
				fmt.Fprintf(&b, "%s %s=%s\n", c.Op, id, v)
			}
			if err := ev.Rows.Err(); err != nil {
				return b.String(), err
			}
		}
	}
}

const (
	created  = "CREATE DATAB\nCREATE TABLE\n"
	inserted = "insert 1=10\ninsert 2=20\n"
	updated  = "update 1=11\n"
	later    = "delete 2=20\ninsert 3=30\n"
)

// The stretch between any two places has the transactions between them, and every boundary is found
// by its offset, its GTID set and its time.
func TestStretches(t *testing.T) {
	for _, kind := range kinds {
		l := testLog(t, kind)
		all, err := l.Find(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		if all.Broken != nil || all.Transactions != 6 || !all.HasGTIDs {
			t.Errorf("%s: all is %+v", kind, all)
		}
		if got, err := content(t, l, &all); got != created+inserted+updated+later || err != nil {
			t.Errorf("%s: all is\n%s%v", kind, got, err)
		}
		parts := []string{
			created[:13], created[13:], inserted, updated, "delete 2=20\n",
			"insert 3=30\n",
		}
		places := boundaries(t, l, &all)
		if len(places) != len(parts)+1 {
			t.Fatalf("%s: the boundaries are %v", kind, places)
		}
		for i, from := range places {
			for k := i + 1; k < len(places); k++ {
				to := places[k]
				for _, ends := range [][2]string{
					{placeText(from), placeText(to)},
					{"gtid:" + from.GTID.String(), "gtid:" + to.GTID.String()},
				} {
					if strings.HasSuffix(ends[0], ":") { // an empty set is no POSITION
						ends[0] = ""
					}
					s, err := l.Find(t.Context(), ends[0], ends[1])
					if err != nil {
						t.Errorf("%s: %q: %v", kind, ends, err)
						continue
					}
					got, err := content(t, l, &s)
					if want := strings.Join(parts[i:k], ""); got != want || err != nil ||
						s.Transactions != int64(k-i) {
						t.Errorf("%s: %q is\n%s%v, want\n%s", kind, ends, got, err, want)
					}
					if !s.Start.GTID.Equal(from.GTID) || !s.End.GTID.Equal(to.GTID) {
						t.Errorf("%s: %q is from %s to %s", kind, ends, s.Start, s.End)
					}
				}
			}
		}
	}
}

func placeText(p binlog.Position) string { return fmt.Sprintf("%s:%d", p.File, p.Offset) }

// boundaries returns the places between the transactions of a stretch.
func boundaries(t *testing.T, l *Log, s *Stretch) []binlog.Position {
	t.Helper()
	stream, err := l.Stream(s, Config{Tables: unmapped{}})
	if err != nil {
		t.Fatal(err)
	}
	places := []binlog.Position{s.Start}
	for {
		ev, err := stream.Next(t.Context())
		if errors.Is(err, ErrEnd) {
			return places
		}
		if err != nil {
			t.Fatal(err)
		}
		if ev.Kind == binlog.Commit || ev.Kind == binlog.Statement {
			places = append(places, *stream.Position())
		}
	}
}

// A log that is cut off anywhere ends after the last whole transaction.
func TestTorn(t *testing.T) {
	for _, kind := range kinds {
		files, contents := testdata(t, kind)
		full := testLog(t, kind)
		all, err := full.Find(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		places := boundaries(t, full, &all)
		for cut := range len(contents[1]) {
			l, err := newLog([]logFile{files[0], memoryFile("binlog.000003", contents[1][:cut])})
			if err != nil {
				if cut > 300 {
					t.Errorf("%s, cut at %d: %v", kind, cut, err)
				}
				continue
			}
			s, err := l.Find(t.Context(), "", "")
			if err != nil {
				t.Errorf("%s, cut at %d: %v", kind, cut, err)
				continue
			}
			want := 0
			for _, p := range places {
				if p.File == "binlog.000002" || p.Offset <= uint64(cut) {
					want++
				}
			}
			if s.Transactions != int64(want-1) {
				t.Errorf("%s, cut at %d: %d transactions, want %d", kind, cut,
					s.Transactions, want-1)
			}
			isBetween := slices.ContainsFunc(places, func(p binlog.Position) bool {
				return p.File == "binlog.000003" && p.Offset == uint64(cut)
			})
			if s.Broken == nil && !isBetween && s.End.Offset != uint64(cut) {
				t.Errorf("%s, cut at %d: no error", kind, cut)
			}
			if _, err := content(t, l, &s); err != nil {
				t.Errorf("%s, cut at %d: %v", kind, cut, err)
			}
		}
	}
}

// A file that was copied while the server wrote it lacks transactions, and the next file shows
// that: by its GTIDs, or because the copy was never closed. The stretch ends before the hole.
func TestHole(t *testing.T) {
	for _, kind := range kinds {
		files, contents := testdata(t, kind)
		full := testLog(t, kind)
		all, err := full.Find(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		places := boundaries(t, full, &all)
		for i, p := range places[1:4] {
			copied := slices.Clone(contents[0][:p.Offset])
			isLast := i == 2
			if isLast { // no transaction is missing, but the file does not show that
				copied[firstEvent+17] |= flagInUse
			}
			l, err := newLog([]logFile{memoryFile("binlog.000002", copied), files[1]})
			if err != nil {
				t.Fatal(err)
			}
			s, err := l.Find(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			want := "do not contain"
			if isLast {
				want = "was copied while"
			}
			if s.Broken == nil || !strings.Contains(s.Broken.Error(), want) ||
				s.Transactions != int64(i+1) || s.End.Offset != p.Offset {
				t.Errorf("%s, cut at %d: %+v", kind, p.Offset, s)
			}
			if _, err := content(t, l, &s); err != nil {
				t.Errorf("%s, cut at %d: %v", kind, p.Offset, err)
			}
		}
	}
}

// Transactions that no file contains, because gtid_purged was set, are passed if Missing has them.
// The position includes them, and an event shows the hole.
func TestMissing(t *testing.T) {
	files, contents := testdata(t, "mysql")
	all, err := testLog(t, "mysql").Find(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	cut := boundaries(t, testLog(t, "mysql"), &all)[3]
	l, err := newLog([]logFile{memoryFile("binlog.000002", contents[0][:cut.Offset]), files[1]})
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Find(t.Context(), "", "")
	if err != nil || s.Broken == nil || !strings.Contains(s.Broken.Error(), "add --missing ") {
		t.Fatalf("without --missing: %+v, %v", s, err)
	}
	_, missing, _ := strings.Cut(s.Broken.Error(), "add --missing ")
	if err := l.Missing(missing); err != nil {
		t.Fatal(err)
	}
	s, err = l.Find(t.Context(), "", "")
	if err != nil || s.Broken != nil || s.Transactions != all.Transactions-1 || !s.HasGTIDs ||
		!s.End.GTID.Equal(all.End.GTID) {
		t.Fatalf("with --missing: %+v, %v", s, err)
	}
	stream, err := l.Stream(&s, Config{Tables: unmapped{}})
	if err != nil {
		t.Fatal(err)
	}
	holes := 0
	for {
		ev, err := stream.Next(t.Context())
		if errors.Is(err, ErrEnd) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if ev.Skipped != nil {
			holes++
			if p := stream.Position(); ev.Kind != binlog.Progress || p.File != "binlog.000003" {
				t.Errorf("the hole is at %s", p)
			}
		}
	}
	if holes != 1 || !stream.Position().GTID.Equal(all.End.GTID) {
		t.Errorf("%d holes, the end is %s", holes, stream.Position())
	}
	if err := l.Missing("0-1-5"); err == nil {
		t.Error("a MariaDB's GTIDs are accepted")
	}
}

// The end of a file with transactions without GTIDs may be missing besides what --missing names.
func TestMissingWithoutGTIDs(t *testing.T) {
	files, contents := testdata(t, "mysql")
	all, err := testLog(t, "mysql").Find(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	places := boundaries(t, testLog(t, "mysql"), &all)
	cut := places[3].Offset
	mixed := anonymous(t, contents[0][:places[1].Offset])
	mixed = append(mixed, contents[0][len(mixed):cut]...)
	for name, c := range map[string]struct {
		afterCrash []string
		want       string
	}{
		"cut off": {nil, "binlog.000002: it does not end in"},
		"crashed": {[]string{"binlog.000002"}, ""},
	} {
		l, err := newLog([]logFile{memoryFile("binlog.000002", mixed), files[1]})
		if err != nil {
			t.Fatal(err)
		}
		l.skipChecksum = true
		if err := l.AfterCrash(c.afterCrash); err != nil {
			t.Fatal(err)
		}
		s, err := l.Find(t.Context(), "", "")
		if err != nil || s.Broken == nil {
			t.Fatalf("%s, without --missing: %+v, %v", name, s, err)
		}
		_, missing, _ := strings.Cut(s.Broken.Error(), "add --missing ")
		if err := l.Missing(missing); err != nil {
			t.Fatal(err)
		}
		s, err = l.Find(t.Context(), "", "")
		if err != nil || (s.Broken == nil) != (c.want == "") ||
			s.Broken != nil && !strings.Contains(s.Broken.Error(), c.want) {
			t.Errorf("%s, with --missing: %+v, %v", name, s, err)
		}
	}
}

// anonymous returns a MySQL's binlog file as it is without GTIDs.
func anonymous(t *testing.T, content []byte) []byte {
	t.Helper()
	const typeGTID, typeAnonymous = 33, 34
	out := slices.Clone(content[:firstEvent])
	for at := firstEvent; at < len(content); {
		size := int(binary.LittleEndian.Uint32(content[at+9:]))
		raw := slices.Clone(content[at : at+size])
		at += size
		switch raw[4] {
		case typeGTID:
			raw[4] = typeAnonymous
			clear(raw[headerSize+1 : headerSize+1+16+8])
		case typePreviousGTIDs:
			raw = append(raw[:headerSize], make([]byte, 8+checksumSize)...)
			binary.LittleEndian.PutUint32(raw[9:], uint32(len(raw)))
		}
		binary.LittleEndian.PutUint32(raw[13:], uint32(len(out)+len(raw)))
		out = append(out, raw...)
	}
	return out
}

// Without GTIDs, a file that mysqlbinlog --raw has copied while the server wrote it looks as after
// a crash of the server. The next file is read only if AfterCrash was called with the file.
func TestHoleWithoutGTIDs(t *testing.T) {
	_, contents := testdata(t, "mysql")
	first, second := anonymous(t, contents[0]), anonymous(t, contents[1])
	find := func(content []byte, afterCrash ...string) Stretch {
		t.Helper()
		l, err := newLog([]logFile{
			memoryFile("binlog.000002", content), memoryFile("binlog.000003", second),
		})
		if err != nil {
			t.Fatal(err)
		}
		l.skipChecksum = true
		if err := l.AfterCrash(afterCrash); err != nil {
			t.Fatal(err)
		}
		s, err := l.Find(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := find(first); s.Broken != nil || s.HasGTIDs || s.Transactions != 6 {
		t.Fatalf("the whole files are %+v", s)
	}
	end := len(first) // of the first file's events without the ROTATE_EVENT
	for at := firstEvent; at < len(first); {
		end = at
		at += int(binary.LittleEndian.Uint32(first[at+9:]))
	}
	s := find(first[:end])
	if s.Broken == nil || s.Transactions != 4 ||
		!strings.Contains(s.Broken.Error(), "binlog.000002: it does not end in") ||
		!strings.Contains(s.Broken.Error(), "--after-crash binlog.000002") {
		t.Errorf("the cut file is %+v", s)
	}
	if s := find(first[:end], "/backup/binlog.000002"); s.Broken != nil || s.Transactions != 6 {
		t.Errorf("with --after-crash: %+v", s)
	}
	err := testLog(t, "mysql").AfterCrash([]string{"binlog.000009"})
	if err == nil || !strings.Contains(err.Error(), "--after-crash binlog.000009: no such file") {
		t.Errorf("a file that is not given: %v", err)
	}
}

// FuzzLog reads arbitrary bytes as the second file of a log. What Find calls whole can be read.
func FuzzLog(f *testing.F) {
	for i, kind := range kinds {
		_, contents := testdata(f, kind)
		f.Add(contents[1], i == 1)
		f.Add(contents[1][:len(contents[1])-30], i == 1)
	}
	f.Fuzz(func(t *testing.T, content2 []byte, isMariaDB bool) {
		files, _ := testdata(t, kinds[0])
		if isMariaDB {
			files, _ = testdata(t, kinds[1])
		}
		l, err := newLog([]logFile{files[0], memoryFile("binlog.000003", content2)})
		if err != nil {
			return
		}
		l.skipChecksum = true
		s, err := l.Find(t.Context(), "", "")
		if err != nil {
			return
		}
		stream, err := l.Stream(&s, Config{Tables: unmapped{}})
		if err != nil {
			t.Fatal(err)
		}
		transactions := int64(0)
		for {
			ev, err := stream.Next(t.Context())
			if errors.Is(err, ErrEnd) {
				break
			}
			if err != nil {
				t.Fatalf("the stretch from %s to %s cannot be read: %v", s.Start, s.End, err)
			}
			if ev.Kind == binlog.Commit || ev.Kind == binlog.Statement && !ev.InTransaction {
				transactions++
			}
		}
		if transactions != s.Transactions {
			t.Errorf("%d transactions, want %d", transactions, s.Transactions)
		}
	})
}
