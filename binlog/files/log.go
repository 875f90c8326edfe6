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
	"strconv"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/events"
	"rowfall/binlog/mysql"
)

// firstEvent is the offset of a file's first event, after the magic bytes.
const firstEvent = 4

var (
	magic          = []byte{0xfe, 'b', 'i', 'n'}
	encryptedMagic = []byte{0xfd, 'b', 'i', 'n'}
)

// errEncrypted is returned for a file that its server has encrypted.
var errEncrypted = errors.New("the file is encrypted; decrypt it, or let a server that has the " +
	"key send it: mysqlbinlog --raw --read-from-remote-server")

// errInnoDB is returned for a file of the binlog that MariaDB 12.3 writes with
// binlog_storage_engine=innodb. Its events lie in pages.
var errInnoDB = errors.New("it is a file of MariaDB's InnoDB-based binary log " +
	"(binlog_storage_engine=innodb), which is not supported yet; give files of a server that " +
	"writes an ordinary binlog")

// logFile is one file of a Log.
type logFile struct {
	path string
	name string // as in positions: path without its folder
	size uint64
	open func() (io.ReadCloser, error)
}

// Log is the binlog of one server, or a part of it: files whose numbers follow each other.
type Log struct {
	files []logFile
	// flavor and version are those of the server that has written the first file.
	flavor  mysql.Flavor
	version string
	// afterCrash are the names of the files that AfterCrash was called with.
	afterCrash map[string]bool
	// missing are the transactions that Missing was called with.
	missing binlog.GTIDSet
	// skipChecksum leaves checksums unverified, for tests with damaged events.
	skipChecksum bool
}

// Open opens the files at paths, in any order. It reads the beginning of each. The indexes of GTIDs
// that MariaDB 11.4 and later write beside their binlog files are ignored, because a shell's
// binlog.0* matches them, too.
func Open(paths []string) (*Log, error) {
	var all []logFile
	for _, path := range paths {
		if isGTIDIndex(path) {
			continue
		}
		info, err := os.Stat(path)
		switch {
		case err != nil:
		case !info.Mode().IsRegular():
			err = errors.New("it is not a file")
		case filepath.Ext(path) == ".ibb":
			err = errInnoDB
		}
		if err != nil {
			return nil, fmt.Errorf("open binlog file %s: %w", path, err)
		}
		all = append(all, logFile{
			path: path, name: filepath.Base(path), size: uint64(info.Size()),
			open: func() (io.ReadCloser, error) { return os.Open(path) },
		})
	}
	return newLog(all)
}

// isGTIDIndex reports whether a path is that of an index of GTIDs, such as binlog.000001.idx.
func isGTIDIndex(path string) bool {
	name, found := strings.CutSuffix(filepath.Base(path), ".idx")
	_, _, hasNumber := cutNumber(name)
	return found && hasNumber
}

func newLog(all []logFile) (*Log, error) {
	if len(all) == 0 {
		return nil, errors.New("open binlog files: no file is given")
	}
	slices.SortStableFunc(all, func(a, b logFile) int {
		return binlog.Position{File: a.name}.CompareFile(binlog.Position{File: b.name})
	})
	for i := 1; i < len(all); i++ {
		if err := follows(&all[i-1], &all[i]); err != nil {
			return nil, err
		}
	}
	l := &Log{files: all}
	for i := range all {
		h, err := readHead(&all[i])
		if err != nil {
			return nil, fmt.Errorf("read binlog file %s: %w", all[i].path, err)
		}
		switch flavor := flavorOf(h.version); {
		case i == 0:
			l.flavor, l.version = flavor, h.version
		case flavor != l.flavor:
			return nil, fmt.Errorf("read binlog file %s: it was written by a %s, and %s by a %s",
				all[i].path, flavor, all[0].path, l.flavor)
		}
	}
	return l, nil
}

// follows returns an error unless b is the file after a.
func follows(a, b *logFile) error {
	if a.name == b.name {
		return fmt.Errorf("open binlog files: %s and %s have one name", a.path, b.path)
	}
	base, x, ok := cutNumber(a.name)
	other, y, ok2 := cutNumber(b.name)
	switch {
	case !ok || !ok2:
		return fmt.Errorf("open binlog files: the order of %s and %s is not known, because their "+
			"names do not end in a number; rename them as the server named them", a.path, b.path)
	case base != other:
		return fmt.Errorf("open binlog files: %s and %s are not of one binlog, because their "+
			"names differ in more than the number", a.path, b.path)
	case y != x+1:
		return fmt.Errorf("open binlog files: a file between %s and %s is missing; give all files",
			a.path, b.path)
	}
	return nil
}

// cutNumber returns the name of a binlog file in two parts.
func cutNumber(name string) (base string, number uint64, ok bool) {
	i := strings.LastIndexByte(name, '.')
	number, err := strconv.ParseUint(name[i+1:], 10, 64)
	return name[:i+1], number, i >= 0 && err == nil
}

// flavorOf returns the flavor of a server by its version.
func flavorOf(version string) mysql.Flavor {
	if strings.Contains(strings.ToLower(version), "mariadb") {
		return mysql.MariaDB
	}
	return mysql.MySQL
}

// head is what the beginning of a file shows.
type head struct {
	version string
	// begun is the time at which the server began the file, in seconds since 1970.
	begun uint32
	// gtids is the state of a MariaDB's GTIDs at the beginning of the file.
	gtids binlog.GTIDSet
	// previous are the GTIDs of the files before.
	previous binlog.GTIDSet
}

// readHead reads the events before the first transaction.
func readHead(f *logFile) (h head, err error) {
	r := newReader([]logFile{*f})
	defer r.close()
	for {
		raw, err := r.next()
		if errors.Is(err, io.EOF) || errors.As(err, new(*tornError)) && h.version != "" {
			return h, nil
		}
		if err != nil {
			return h, err
		}
		if r.startsFile {
			continue
		}
		switch raw[4] {
		case typeFormatDescription:
			h.begun = binary.LittleEndian.Uint32(raw)
			version := raw[headerSize+2 : headerSize+2+50]
			version, _, _ = bytes.Cut(version, []byte{0})
			h.version = string(version)
		case typeGTIDList:
			h.gtids, err = parseGTIDList(r.body(raw))
			h.previous = h.gtids
			return h, err
		case typePreviousGTIDs:
			h.previous, err = events.ParsePreviousGTIDs(r.body(raw))
			if err != nil {
				return h, err
			}
		case typeBinlogCheckpoint:
		default:
			return h, nil
		}
	}
}

// parseGTIDList parses a MariaDB's GTID_LIST_EVENT: the last GTID of each domain and server. The
// last entry of each domain is the domain's last GTID.
func parseGTIDList(body []byte) (set binlog.GTIDSet, err error) {
	errShort := errors.New("the GTID_LIST event is damaged")
	if len(body) < 4 {
		return set, errShort
	}
	n := int(binary.LittleEndian.Uint32(body) & (1<<28 - 1))
	const entry = 4 + 4 + 8
	if body = body[4:]; len(body)/entry < n {
		return set, errShort
	}
	for ; n > 0; n-- {
		set.AddMariaDB(binary.LittleEndian.Uint32(body), binary.LittleEndian.Uint32(body[4:]),
			binary.LittleEndian.Uint64(body[8:]))
		body = body[entry:]
	}
	return set, nil
}

// Flavor returns the flavor of the server that has written the files.
func (l *Log) Flavor() mysql.Flavor { return l.flavor }

// Version returns the version of the server that has written the first file: "8.4.3".
func (l *Log) Version() string { return l.version }

// AfterCrash makes Find accept files at whose end the server has crashed, given by their paths or
// names. Without GTIDs, such a file looks the same as a copy whose end is missing.
func (l *Log) AfterCrash(paths []string) error {
	for _, path := range paths {
		name := filepath.Base(path)
		if _, found := l.index(name); !found {
			return fmt.Errorf("--after-crash %s: no such file is given with --binlog; "+
				"add it there", path)
		}
		if l.afterCrash == nil {
			l.afterCrash = make(map[string]bool)
		}
		l.afterCrash[name] = true
	}
	return nil
}

// Missing makes Find and Stream pass transactions of a MySQL that no file contains, although the
// GTIDs of later files show that the server has executed them, because gtid_purged was set. In
// their place, the stream yields a Progress with Skipped.
func (l *Log) Missing(set string) (err error) {
	if l.missing, err = binlog.ParseGTIDSet(set); err == nil && !l.missing.IsMySQL() {
		err = errors.New("it is not a GTID set of MySQL, such as UUID:1-5")
	}
	if err != nil {
		return fmt.Errorf("--missing %s: %w", set, err)
	}
	return nil
}

// index returns the index of the file with a name, and false if the log has no such file.
func (l *Log) index(name string) (int, bool) {
	i := slices.IndexFunc(l.files, func(f logFile) bool { return f.name == name })
	return i, i >= 0
}

// beginOf is begin for the file with a name.
func (l *Log) beginOf(name string) (p binlog.Position, h head, err error) {
	i, found := l.index(name)
	if !found {
		return p, h, fmt.Errorf("no binlog file is named %s", name)
	}
	return l.begin(i)
}

// bytesTo returns the number of bytes before a place in the files.
func (l *Log) bytesTo(p *binlog.Position) (n int64) {
	for i := range l.files {
		if l.files[i].name == p.File {
			return n + int64(p.Offset)
		}
		n += int64(l.files[i].size)
	}
	return n
}
