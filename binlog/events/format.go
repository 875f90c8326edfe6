package events

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strconv"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/sqltext"
)

// startEventV3 is the first event of a file of a server before MySQL 5.0. From 5.0 on it is
// formatDescriptionEvent.
const startEventV3 eventType = 1

// sizeOfStartV1 is the size of a START_EVENT_V3 of MySQL 3.23, whose headers have 13 bytes.
const sizeOfStartV1 = 13 + 2 + 50 + 4

// format is the content of a FORMAT_DESCRIPTION_EVENT.
type format struct {
	version uint16 // of the binlog format
	server  string // the server's version
	// headerLength is the length of every event's header, and lengths has those of the post-headers
	// by event type, from type 1 on.
	headerLength uint8
	lengths      []byte
	// algorithm is that of the checksums; 0 without checksums. An event that declares the algorithm
	// has a checksum of its own. Servers before MySQL 5.6.1 and MariaDB 5.3 write neither.
	algorithm byte
}

// parseFormat parses the body of a FORMAT_DESCRIPTION_EVENT.
func parseFormat(body []byte) (f format, err error) {
	c := cursor{b: body}
	f.version = c.uint16()
	server, _, _ := bytes.Cut(c.bytes(50), []byte{0})
	f.server = string(server)
	c.bytes(4) // creation time
	f.headerLength = c.byte()
	if c.truncated || len(c.b) == 0 {
		return f, errTruncated
	}
	if f.lengths = c.b; !DeclaresChecksums(f.server) {
		return f, nil
	}
	const tail = 1 + checksumSize
	n := len(c.b) - tail
	if n < 0 {
		return f, errTruncated
	}
	f.lengths, f.algorithm = c.b[:n], c.b[n]
	return f, nil
}

// DeclaresChecksums reports whether a server of a version declares in its FORMAT_DESCRIPTION_EVENT
// whether events have checksums. MySQL 5.6.1 and MariaDB 5.3 are the first that do. A version that
// is not a number is not an old one.
func DeclaresChecksums(version string) bool {
	first := 50601
	if isMariaDB(version) {
		first = 50300
	}
	n := versionNumber(version)
	return n == 0 || n >= first
}

func isMariaDB(version string) bool {
	return strings.Contains(strings.ToLower(version), "mariadb")
}

// versionNumber returns a server's version as a number, 80036 for "8.0.36". It is 0 for a version
// that does not begin with three numbers.
func versionNumber(version string) int {
	number, rest := 0, version
	for range 3 {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.Atoi(rest[:digits])
		if err != nil || n > 99 {
			return 0
		}
		number = number*100 + n
		rest = strings.TrimPrefix(rest[digits:], ".")
	}
	return number
}

// check returns an error if the format is not supported.
func (f *format) check() error {
	switch {
	case f.version != 4:
		return reject("version %d of the binlog format (server %s) is not supported; "+
			"Rowfall reads version 4, of MySQL 5.1 and later", f.version, binlog.Clip(f.server, 50))
	case f.headerLength != HeaderSize:
		return reject("the headers of events have %d bytes instead of %d (server %s), "+
			"which no known server writes", f.headerLength, HeaderSize, binlog.Clip(f.server, 50))
	case f.algorithm > 1:
		return reject("checksum algorithm %d is unknown; set binlog_checksum=CRC32 on the server",
			f.algorithm)
	}
	return nil
}

// HasChecksums reports whether the events after a FORMAT_DESCRIPTION_EVENT end in a checksum. raw
// is the whole event.
func HasChecksums(raw []byte) (bool, error) {
	if len(raw) < HeaderSize {
		return false, errTruncated
	}
	f, err := parseFormat(raw[HeaderSize:])
	return f.algorithm == 1, err
}

// CheckStart returns an error that names the version of the binlog format if the first event of a
// file is that of a server before MySQL 5.0. Those servers do not log rows.
func CheckStart(raw []byte) error {
	if len(raw) < sizeOfStartV1 || eventType(raw[4]) != startEventV3 {
		return nil
	}
	header, version, of := HeaderSize, 3, "4.0 or 4.1"
	if len(raw) == sizeOfStartV1 {
		header, version, of = sizeOfStartV1-2-50-4, 1, "3.23"
	}
	var server []byte
	if len(raw) >= header+2+50 {
		server, _, _ = bytes.Cut(raw[header+2:header+2+50], []byte{0})
	}
	return reject("version %d of the binlog format, of MySQL %s (server %s), is not supported: "+
		"such servers do not log rows; Rowfall reads version 4, of MySQL 5.1 and later",
		version, of, binlog.Clip(server, 50))
}

// formatDescription handles FORMAT_DESCRIPTION_EVENT, which declares the layout of the events that
// follow.
func (p *Parser) formatDescription(h header, body []byte) (*binlog.Event, error) {
	f, err := parseFormat(body)
	if err == nil {
		err = f.check()
	}
	if err != nil {
		return nil, err
	}
	if f.algorithm == 1 && p.verifyChecksums && !p.formatChecksumMatches(h, body) {
		return nil, errChecksum
	}
	if err := p.breakOff(stateGTID); err != nil {
		return nil, err
	}
	p.postHeaders = [256]uint8{}
	p.knownTypes = min(copy(p.postHeaders[1:], f.lengths), 255)
	p.checksum = f.algorithm == 1
	p.dialect = sqltext.Dialect{MariaDB: p.mariaDB, Version: versionNumber(f.server)}
	p.fileTime = h.time
	return p.progress(h), nil
}

// formatChecksumMatches verifies the checksum of a FORMAT_DESCRIPTION_EVENT. The server computes it
// without the flag that the file is in use.
func (p *Parser) formatChecksumMatches(h header, body []byte) bool {
	var head [HeaderSize]byte
	binary.LittleEndian.PutUint32(head[0:], h.time)
	head[4] = byte(h.typ)
	binary.LittleEndian.PutUint32(head[5:], h.server)
	binary.LittleEndian.PutUint32(head[9:], h.size)
	binary.LittleEndian.PutUint32(head[13:], h.end)
	binary.LittleEndian.PutUint16(head[17:], h.flags&^flagInUse)
	n := len(body) - checksumSize
	sum := crc32.Update(crc32.ChecksumIEEE(head[:]), crc32.IEEETable, body[:n])
	return sum == binary.LittleEndian.Uint32(body[n:])
}
