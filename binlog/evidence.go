package binlog

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// GTID identifies one transaction, of a MySQL (UUID, Tag, Sequence) or of a MariaDB (Domain,
// Server, Sequence). The zero value identifies no transaction. GTIDs can be compared with ==.
type GTID struct {
	MariaDB        bool
	UUID           [16]byte
	Tag            string
	Domain, Server uint32
	// Sequence is 1 or more, on both servers.
	Sequence uint64
}

// ParseGTID parses the text form of one GTID. Empty text is the zero GTID.
func ParseGTID(s string) (GTID, error) {
	set, err := ParseGTIDSet(s)
	if err != nil || set.IsZero() {
		return GTID{}, err
	}
	if len(set.domains) == 1 && len(set.sources) == 0 {
		d := set.domains[0]
		if d.sequence == 0 {
			return GTID{}, fmt.Errorf("parse GTID %q: its sequence is 0", Clip(s, maxQuoted))
		}
		return GTID{MariaDB: true, Domain: d.domain, Server: d.server, Sequence: d.sequence}, nil
	}
	if len(set.sources) == 1 && len(set.sources[0].intervals) == 1 {
		g := set.sources[0]
		if v := g.intervals[0]; v.end-v.first == 1 {
			return GTID{UUID: g.uuid, Tag: g.tag, Sequence: v.first}, nil
		}
	}
	return GTID{}, fmt.Errorf("parse GTID %q: it holds more than one transaction",
		Clip(s, maxQuoted))
}

// IsZero reports whether g is the zero GTID.
func (g GTID) IsZero() bool { return g.Sequence == 0 }

// AppendText appends the text form; the zero GTID appends nothing.
func (g *GTID) AppendText(dst []byte) []byte {
	if g.Sequence == 0 {
		return dst
	}
	if g.MariaDB {
		dst = append(strconv.AppendUint(dst, uint64(g.Domain), 10), '-')
		dst = append(strconv.AppendUint(dst, uint64(g.Server), 10), '-')
		return strconv.AppendUint(dst, g.Sequence, 10)
	}
	dst = append(appendUUID(dst, g.UUID[:]), ':')
	if g.Tag != "" {
		dst = append(append(dst, g.Tag...), ':')
	}
	return strconv.AppendUint(dst, g.Sequence, 10)
}

// String returns "uuid:5", "uuid:tag:5" or "domain-server-5"; "" for the zero GTID.
func (g GTID) String() string { return string(g.AppendText(nil)) }

// Evidence identifies one transaction in a server's binlog, or, before any transaction was applied,
// the position at which the data begin (IsPosition). A server that was reset or restored gives the
// same GTIDs and offsets to other transactions; the other fields tell these apart. A field is zero
// where the server does not send its value, and a zero proves nothing.
type Evidence struct {
	// GTID is zero on a MySQL without GTIDs.
	GTID GTID
	// Previous is the GTID before this one in the same MariaDB domain. It is zero for the first
	// transaction of a domain, and on MySQL.
	Previous GTID
	// Time is the original commit timestamp in microseconds since 1970. On MariaDB, which has none,
	// it is the time of the transaction's last statement, in whole seconds; for a part of a
	// transaction, that of the first statement.
	Time int64
	// Length is the transaction's length in bytes as its GTID event states it (MySQL 8.0 and
	// later).
	Length uint64

	// Server identifies the server that sent the transaction (mysql.Server.UUID). The fields below
	// belong to that server: another server of the same history has other values.
	Server string
	// File is the binlog file, Start and End are the transaction's offsets in it.
	File       string
	Start, End uint64
	// FileTime is the time at which the server began the file, in seconds since 1970, from the
	// header of the file's FORMAT_DESCRIPTION_EVENT.
	FileTime uint32
}

// IsZero reports whether e identifies no transaction.
func (e *Evidence) IsZero() bool { return e.GTID.IsZero() && e.File == "" }

// IsPosition reports whether e identifies a position instead of a transaction: only Server, File,
// End and FileTime are set. The data have such evidence until their first transaction is applied.
func (e *Evidence) IsPosition() bool {
	return e.GTID.IsZero() && e.Start == 0 && e.File != "" && e.FileTime != 0
}

// Compare compares e with the evidence of the transaction that a server has under the same GTID, or
// at the same offset. On one server all fields must be equal, on another only GTID and Time.
// differs is the name of the first field that differs, "" if none does. proved reports whether a
// value was compared that cannot be equal in another history by chance.
func (e *Evidence) Compare(found *Evidence) (differs string, proved bool) {
	same := e.Server != "" && e.Server == found.Server
	switch {
	case e.GTID != found.GTID:
		return "GTID", false
	case different(e.Time, found.Time):
		return "commit time", false
	case !same:
		return "", e.Time != 0 && found.Time != 0
	case different(e.Length, found.Length):
		return "length", false
	case e.File != found.File && e.File != "" && found.File != "":
		return "file", false
	case different(e.Start, found.Start):
		return "start offset", false
	case different(e.End, found.End):
		return "end offset", false
	case different(e.FileTime, found.FileTime):
		return "time at which the file was begun", false
	}
	return "", e.Time != 0 && found.Time != 0 || e.FileTime != 0 && found.FileTime != 0
}

// different compares two values of which zero means unknown.
func different[T int64 | uint64 | uint32](a, b T) bool { return a != b && a != 0 && b != 0 }

// String describes the transaction for messages.
func (e Evidence) String() string {
	if e.IsZero() {
		return "no transaction"
	}
	var b strings.Builder
	switch {
	case e.IsPosition():
		fmt.Fprintf(&b, "the position %s:%d", e.File, e.End)
	default:
		b.WriteString("transaction")
		if !e.GTID.IsZero() {
			b.WriteString(" " + e.GTID.String())
		}
		if e.File != "" {
			fmt.Fprintf(&b, " at %s:%d", e.File, e.Start)
			if e.End != 0 {
				fmt.Fprintf(&b, "-%d", e.End)
			}
		}
	}
	if e.Server != "" {
		b.WriteString(" of server " + e.Server)
	}
	var facts []string
	if e.Time != 0 {
		at := time.UnixMicro(e.Time).UTC()
		facts = append(facts, "committed "+at.Format("2006-01-02T15:04:05.999999Z"))
	}
	if e.Length != 0 {
		facts = append(facts, fmt.Sprintf("%d bytes", e.Length))
	}
	if e.FileTime != 0 {
		at := time.Unix(int64(e.FileTime), 0).UTC()
		facts = append(facts, "file begun "+at.Format(time.RFC3339))
	}
	if len(facts) > 0 {
		b.WriteString(" (" + strings.Join(facts, ", ") + ")")
	}
	return b.String()
}

// HistoryError is returned when a server's binlog is not the history that a position belongs to:
// the server was reset, restored from a copy, or lost the end of its binlog, and has reused the
// same numbers. A retry fails in the same way.
type HistoryError struct {
	// Held is the transaction that the position includes, Found the server's transaction in its
	// place. Either may be zero.
	Held, Found Evidence
	// Reason describes the difference in a few words.
	Reason string
}

// Error returns a text that names both transactions and the remedy.
func (e *HistoryError) Error() string {
	var b strings.Builder
	b.WriteString("compare histories: ")
	b.WriteString(e.Reason)
	if !e.Held.IsZero() {
		b.WriteString("; the data hold " + e.Held.String())
		if !e.Found.IsZero() {
			b.WriteString(", the server sent " + e.Found.String())
		}
	} else if !e.Found.IsZero() {
		b.WriteString("; the server sent " + e.Found.String())
	}
	b.WriteString("; the server was reset, restored from a copy, or lost the end of its binlog: " +
		"connect to a server that still has the old history, " +
		"or build the data again with --from snapshot")
	return b.String()
}
