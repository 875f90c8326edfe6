package identity

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"rowfall/replication/disk"
	"rowfall/replication/replog"
)

// FileName is the identity file's name inside the directory.
const FileName = "identity"

const (
	magic   = "rowfall-identity 1"
	noValue = "-"
	maxFile = 64 << 10
)

// castagnoli is the table that package crc32 shares: MakeTable does not build another one.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Term counts the changes of role of a directory.
type Term uint64

// State is the content of the identity file.
type State struct {
	History  History
	Upstream string // host:port; empty: the node is a master
	Term     Term
	Boot     string // BootID when bytes were last written

	// Complete means that the data were complete at CompleteAt, and that later units keep them
	// complete. After a restart that lost bytes before CompleteAt it does not apply.
	Complete   bool
	CompleteAt replog.Offset

	// Durable means that since the file was written every byte was on disk before a reader or a
	// replica got it: fsync is always.
	Durable bool

	// Clean is set by a stop after which everything up to and including CleanEnd is on disk. The
	// next start removes it from the file before it writes the first byte.
	Clean    bool
	CleanEnd replog.Offset

	// Pending is set while a full resync replaces the old data: the snapshot file of offset
	// PendingAt is complete on disk, and the log must start there.
	Pending   bool
	PendingAt replog.Offset

	// Log identifies the log that holds the bytes of the history.
	Log LogName

	// Copied means that the file is not the one that was written: the directory is a copy, and its
	// original may have continued. Only Load sets it.
	Copied bool

	file string // id of the file, as stored in itself
}

// LogName distinguishes a directory's replication log from every other log that could be put in its
// place. The zero value means unknown: older versions did not write it.
type LogName struct {
	Generation uint64
	File       string // inode and birth time of the log's mark file; empty: unknown
}

// IsZero reports whether the name is unknown.
func (l LogName) IsZero() bool { return l == LogName{} }

// HasLog reports whether the log with this name and end is the log with which s was saved. In a
// copied directory the log's file differs, too. After a clean stop, a log that was moved to another
// file system is recognized by its end.
func (s State) HasLog(now LogName, end replog.Offset) bool {
	switch {
	case s.Log.IsZero():
		return true
	case s.Log.Generation != now.Generation:
		return false
	}
	sameFile := s.Log.File == now.File || s.Log.File == "" || now.File == ""
	return s.Copied || sameFile || s.Clean && s.CleanEnd == end
}

// Lost reports whether the log, which was recovered up to end, may lack bytes that replicas hold.
// Within one boot it does not, because bytes are in the page cache before a replica gets them. For
// a copied directory it is unknown, so Lost returns true. A node with an upstream gets the same
// bytes from there again, so Lost returns false.
func (s State) Lost(boot string, end replog.Offset) bool {
	switch {
	case s.Upstream != "":
		return false
	case s.Copied:
		return true
	case s.Clean:
		return s.CleanEnd != end
	case s.Durable:
		return false
	}
	return boot == "" || s.Boot != boot
}

// Load reads the directory's identity file. IsFresh reports whether its error means that there is
// no file yet.
func Load(fsys disk.FS, dir string) (State, error) {
	path := filepath.Join(dir, FileName)
	f, err := fsys.Open(path, os.O_RDONLY)
	if err != nil {
		return State{}, fmt.Errorf("read identity: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read from
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxFile+1))
	if err != nil {
		return State{}, fmt.Errorf("read identity: %w", err)
	}
	s, err := Parse(b)
	if err != nil {
		return State{}, fmt.Errorf("read identity %s: %w; restore the file, or delete it: "+
			"the node then gets a new replication id and its replicas resync fully", path, err)
	}
	now := disk.ID(f)
	s.Copied = s.file != "" && now != "" && s.file != now
	s.file = ""
	return s, nil
}

// Save writes the identity file atomically and durably: after a crash the file is the old or the
// new one. The file contains its own id, by which Load recognizes a copy.
func (s State) Save(fsys disk.FS, dir string) error {
	return disk.WriteFile(fsys, filepath.Join(dir, FileName), func(f disk.File) error {
		s.file = disk.ID(f)
		_, err := f.WriteAt(s.Append(nil), 0)
		return err
	})
}

// Append appends the text of the file.
func (s State) Append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, magic+"\n"...)
	dst = fmt.Appendf(dst, "id %s\n", s.History.id)
	for _, e := range s.History.past {
		dst = fmt.Appendf(dst, "past %s %d\n", e.id, e.to)
	}
	dst = fmt.Appendf(dst, "upstream %s\n", orNone(s.Upstream))
	dst = fmt.Appendf(dst, "term %d\n", s.Term)
	dst = fmt.Appendf(dst, "complete %s\n", offsetOrNone(s.Complete, s.CompleteAt))
	dst = fmt.Appendf(dst, "boot %s\n", orNone(s.Boot))
	dst = fmt.Appendf(dst, "durable %s\n", yesOrNone(s.Durable))
	dst = fmt.Appendf(dst, "clean %s\n", offsetOrNone(s.Clean, s.CleanEnd))
	dst = fmt.Appendf(dst, "pending %s\n", offsetOrNone(s.Pending, s.PendingAt))
	dst = fmt.Appendf(dst, "log %s\n", s.Log)
	dst = fmt.Appendf(dst, "file %s\n", orNone(s.file))
	return fmt.Appendf(dst, "crc32c %08x\n", crc32.Checksum(dst[at:], castagnoli))
}

// String returns the name in the form of the identity file.
func (l LogName) String() string {
	if l.IsZero() {
		return noValue
	}
	return fmt.Sprintf("%x %s", l.Generation, orNone(l.File))
}

func orNone(s string) string {
	if s == "" {
		return noValue
	}
	return s
}

func yesOrNone(b bool) string {
	if b {
		return "yes"
	}
	return noValue
}

func offsetOrNone(set bool, o replog.Offset) string {
	if !set {
		return noValue
	}
	return strconv.FormatInt(int64(o), 10)
}

// Parse parses the text of the file. Every deviation from the format is an error.
func Parse(b []byte) (State, error) {
	if len(b) > maxFile {
		return State{}, errors.New("it is too long")
	}
	body, sum, ok := bytes.Cut(b, []byte("\ncrc32c "))
	if !ok {
		return State{}, errors.New("its checksum line is missing")
	}
	body = b[:len(body)+1]
	if string(sum) != fmt.Sprintf("%08x\n", crc32.Checksum(body, castagnoli)) {
		return State{}, errors.New("its checksum does not match")
	}
	p := parser{lines: strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")}
	return p.state()
}

// parser reads "name value" lines in their fixed order. err is the first error.
type parser struct {
	lines []string
	err   error
}

func (p *parser) state() (State, error) {
	var s State
	if first := p.next(); first != magic {
		return State{}, fmt.Errorf("it begins with %q instead of %q", first, magic)
	}
	s.History.id = p.id(p.value("id"))
	for len(p.lines) > 0 && strings.HasPrefix(p.lines[0], "past ") {
		id, to, _ := strings.Cut(p.value("past"), " ")
		s.History.past = append(s.History.past, era{p.id(id), p.offset(to)})
	}
	s.Upstream = p.text("upstream")
	s.Term = Term(p.offset(p.value("term")))
	if v := p.optional("complete"); v != "" {
		s.Complete, s.CompleteAt = true, p.offset(v)
	}
	s.Boot = p.text("boot")
	s.Durable = p.optional("durable") == "yes"
	if v := p.text("clean"); v != "" {
		s.Clean, s.CleanEnd = true, p.offset(v)
	}
	if v := p.text("pending"); v != "" {
		s.Pending, s.PendingAt = true, p.offset(v)
	}
	if v := p.optional("log"); v != "" {
		s.Log = p.logName(v)
	}
	s.file = p.optional("file")
	if len(p.lines) > 0 {
		p.fail(fmt.Errorf("it has an unknown line %q", p.lines[0]))
	}
	return s, p.err
}

// fail records the first error.
func (p *parser) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

func (p *parser) next() string {
	if len(p.lines) == 0 {
		p.fail(errors.New("it ends early"))
		return ""
	}
	line := p.lines[0]
	p.lines = p.lines[1:]
	return line
}

// value returns the value of the next line, which must have this name.
func (p *parser) value(name string) string {
	line := p.next()
	v, ok := strings.CutPrefix(line, name+" ")
	if !ok {
		p.fail(fmt.Errorf("it has the line %q where %q belongs", line, name))
	}
	return v
}

// text returns a value that may be absent.
func (p *parser) text(name string) string {
	v := p.value(name)
	if v == noValue {
		return ""
	}
	return v
}

// optional returns the text of a line that files of older versions lack, or "".
func (p *parser) optional(name string) string {
	if len(p.lines) == 0 || !strings.HasPrefix(p.lines[0], name+" ") {
		return ""
	}
	return p.text(name)
}

func (p *parser) id(v string) ID {
	id, err := ParseID(v)
	if err != nil {
		p.fail(err)
	}
	return id
}

func (p *parser) logName(v string) LogName {
	generation, file, _ := strings.Cut(v, " ")
	g, err := strconv.ParseUint(generation, 16, 64)
	name := LogName{Generation: g, File: file}
	if file == noValue {
		name.File = ""
	}
	if err != nil || name.IsZero() {
		p.fail(fmt.Errorf("it has the log %q", v))
	}
	return name
}

func (p *parser) offset(v string) replog.Offset {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		p.fail(fmt.Errorf("it has the number %q", v))
	}
	return replog.Offset(n)
}

// IsFresh reports whether err is that of Load for a directory without an identity file.
func IsFresh(err error) bool { return errors.Is(err, fs.ErrNotExist) }
