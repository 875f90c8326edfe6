package binlog

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Position is a position in a server's history, up to and including a transaction: a
// GTID set where the server has GTIDs, and the file and offset in that server's own
// binlog. A copy by assignment is independent of the original.
type Position struct {
	GTID GTIDSet
	// File and Offset (bytes) are the end of the last event included.
	File   string
	Offset uint64
}

// firstEvent is the offset of a binlog file's first event in bytes, after the magic
// number.
const firstEvent = 4

// ParsePosition reads "gtid:SET", with a set that is not empty, or
// "FILE:OFFSET", with an offset from 4 on. The error describes the expected form.
func ParsePosition(s string) (Position, error) {
	if set, ok := strings.CutPrefix(s, "gtid:"); ok {
		g, err := ParseGTIDSet(set)
		if err != nil {
			return Position{}, fmt.Errorf("parse position: %w", err)
		}
		if g.IsZero() {
			return Position{}, fmt.Errorf("parse position %q: the GTID set is empty", s)
		}
		return Position{GTID: g}, nil
	}
	i := strings.LastIndexByte(s, ':')
	if i <= 0 {
		return Position{}, fmt.Errorf("parse position %q: expected gtid:SET or FILE:OFFSET",
			Clip(s, maxQuoted))
	}
	offset, err := strconv.ParseUint(s[i+1:], 10, 64)
	if err != nil || offset < firstEvent {
		return Position{}, fmt.Errorf(
			"parse position %q: the offset must be a number of %d or more", Clip(s, maxQuoted),
			firstEvent,
		)
	}
	return Position{File: s[:i], Offset: offset}, nil
}

// String returns "gtid:SET" where there is a set, else "FILE:OFFSET", else "".
func (p Position) String() string {
	switch {
	case !p.GTID.IsZero():
		return string(p.GTID.AppendText([]byte("gtid:")))
	case p.File != "":
		return p.File + ":" + strconv.FormatUint(p.Offset, 10)
	}
	return ""
}

// IsZero reports whether p names neither a GTID set nor a file.
func (p Position) IsZero() bool { return p.File == "" && p.GTID.IsZero() }

// CompareFile orders two positions of one server by file and offset: -1, 0, 1.
// Files compare by their numeric suffix ("binlog.999999" before
// "binlog.1000000"); a position without a file comes before any other.
func (p Position) CompareFile(o Position) int {
	return cmp.Or(compareBinlogs(p.File, o.File), cmp.Compare(p.Offset, o.Offset))
}

// compareBinlogs compares file names by their numeric suffixes. Names with equal
// suffixes, or without one, belong to different servers and compare as text.
func compareBinlogs(a, b string) int {
	if a == b {
		return 0
	}
	if a == "" || b == "" {
		return cmp.Compare(len(a), len(b))
	}
	x, okA := binlogNumber(a)
	y, okB := binlogNumber(b)
	if okA && okB && x != y {
		return cmp.Compare(x, y)
	}
	return strings.Compare(a, b)
}

// BaseName returns the name of a binlog file without its number, up to and with the last dot. Files
// with different base names cannot be ordered: a server that is started with another log_bin
// numbers its files from 1 again.
func BaseName(file string) string { return file[:strings.LastIndexByte(file, '.')+1] }

func binlogNumber(file string) (uint64, bool) {
	n, err := strconv.ParseUint(file[strings.LastIndexByte(file, '.')+1:], 10, 64)
	return n, err == nil
}
