package binlog

import (
	"fmt"
	"strconv"
	"strings"
)

// TransactionID names one transaction: by its GTID, or by the file and offset at which it begins in
// one server's binlog.
type TransactionID struct {
	// GTID is zero if the transaction is named by file and offset.
	GTID GTID
	// File and Start are empty if the transaction is named by its GTID.
	File  string
	Start uint64
}

// ParseTransactionID reads what String returns: "gtid:" and one GTID, or "FILE:OFFSET".
func ParseTransactionID(s string) (TransactionID, error) {
	text, ok := strings.CutPrefix(s, "gtid:")
	if !ok {
		if g, err := ParseGTID(s); err == nil && !g.IsZero() {
			return TransactionID{}, fmt.Errorf("parse transaction %q: it is a GTID; write gtid:%s",
				Clip(s, maxQuoted), s)
		}
		p, err := ParsePosition(s)
		return TransactionID{File: p.File, Start: p.Offset}, err
	}
	g, err := ParseGTID(text)
	if err == nil && g.IsZero() {
		err = fmt.Errorf("parse GTID %q: it is empty", Clip(text, maxQuoted))
	}
	return TransactionID{GTID: g}, err
}

// ID returns the name of the transaction that e identifies: its GTID if it has one, else file and
// offset. ID returns the zero TransactionID if e identifies a position and not a transaction.
func (e *Evidence) ID() TransactionID {
	switch {
	case !e.GTID.IsZero():
		return TransactionID{GTID: e.GTID}
	case e.Start == 0:
		return TransactionID{}
	}
	return TransactionID{File: e.File, Start: e.Start}
}

// IsZero reports whether t names no transaction.
func (t TransactionID) IsZero() bool { return t.GTID.IsZero() && t.File == "" }

// Names reports whether t names the transaction that e identifies. The files and offsets of t and e
// must belong to the binlog of the same server.
func (t TransactionID) Names(e *Evidence) bool {
	if !t.GTID.IsZero() {
		return t.GTID == e.GTID
	}
	return t.File != "" && t.File == e.File && t.Start == e.Start
}

// IsIncludedIn reports whether a position includes the transaction, or lies beyond its beginning.
func (t TransactionID) IsIncludedIn(p *Position) bool {
	if t.GTID.IsZero() {
		return p.CompareFile(Position{File: t.File, Offset: t.Start}) > 0
	}
	var one GTIDSet
	one.AddGTID(t.GTID)
	return p.GTID.Contains(one)
}

// String returns "gtid:" and the GTID, or "FILE:OFFSET"; "" for the zero TransactionID.
func (t TransactionID) String() string { return string(t.AppendText(nil)) }

// AppendText appends what String returns.
func (t TransactionID) AppendText(dst []byte) []byte {
	switch {
	case !t.GTID.IsZero():
		return t.GTID.AppendText(append(dst, "gtid:"...))
	case t.File == "":
		return dst
	}
	return strconv.AppendUint(append(append(dst, t.File...), ':'), t.Start, 10)
}
