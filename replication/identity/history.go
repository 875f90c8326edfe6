package identity

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"rowfall/replication/replog"
)

// ID is a replication id: 40 lower-case hex digits. Redis clears an id of any
// other length and never resyncs partially with it.
type ID string

// NewID returns a random id.
func NewID() ID {
	var b [20]byte
	rand.Read(b[:]) //nolint:errcheck // it never fails: crypto/rand ends the process instead
	return ID(hex.EncodeToString(b[:]))
}

// ParseID checks s and returns it in lower case.
func ParseID(s string) (ID, error) {
	if len(s) != 40 {
		return "", fmt.Errorf("replication id %q has %d characters instead of 40", s, len(s))
	}
	if _, err := hex.DecodeString(s); err != nil {
		return "", fmt.Errorf("replication id %q is not hex", s)
	}
	return ID(strings.ToLower(s)), nil
}

// An era is a past id and the last offset up to which our bytes are its bytes.
type era struct {
	id ID
	to replog.Offset
}

// keepEras bounds the history. Redis keeps one past id; more of them cost a line
// each and save the replicas that slept through several promotions. A server that
// never saves comes back, after a kill, with the id under which it joined, which
// may be years ago.
const keepEras = 256

// History is the replication id and the past ones, each with the offset up to
// which it is still right. It is a value: changes return a new one.
type History struct {
	id   ID
	past []era // newest first; offsets never increase from one to the next
}

// NewHistory returns a history that begins with id.
func NewHistory(id ID) History { return History{id: id} }

// ID returns the current replication id.
func (h History) ID() ID { return h.id }

// Previous returns the id before the current one and the last offset that it is
// good for; ok is false if there is none.
func (h History) Previous() (id ID, to replog.Offset, ok bool) {
	if len(h.past) == 0 {
		return "", 0, false
	}
	return h.past[0].id, h.past[0].to, true
}

// Begin returns the history after a change of id at offset end: the current id
// is good up to end, and no past one is good beyond it.
func (h History) Begin(id ID, end replog.Offset) History {
	if id == h.id {
		return h
	}
	past := make([]era, 0, len(h.past)+1)
	past = append(past, era{h.id, end})
	for _, e := range h.past {
		if e.id != id && len(past) < keepEras {
			past = append(past, era{e.id, min(e.to, end)})
		}
	}
	return History{id: id, past: past}
}

// Knows says whether id is the current or a past one.
func (h History) Knows(id string) bool {
	return strings.EqualFold(id, string(h.id)) ||
		slices.ContainsFunc(h.past, func(e era) bool { return strings.EqualFold(id, string(e.id)) })
}

// Holds says whether the bytes of id up to offset at are ours: whether data that say they are
// of there belong to this history. Of an id that was too old to be kept nobody knows.
func (h History) Holds(id string, at replog.Offset) bool {
	if strings.EqualFold(id, string(h.id)) {
		return true
	}
	for _, e := range h.past {
		if strings.EqualFold(id, string(e.id)) {
			return at <= e.to
		}
	}
	return id != "" && len(h.past) == keepEras && at <= h.past[keepEras-1].to
}

// Answer is what a PSYNC gets.
type Answer uint8

// The answers to PSYNC.
const (
	Full     Answer = iota // +FULLRESYNC: we do not have these bytes, or not under that id
	Continue               // +CONTINUE and the bytes from the one asked for
	Ahead                  // it has bytes of the current id that we do not have (yet)
)

// Answer decides a PSYNC for id and offset, the number of the first byte wanted
// (the first byte of a stream is number 1). The log holds the bytes after start,
// up to and including end. So the first byte it can give is start+1, and a
// replica that has everything asks for end+1.
//
// "?" is never continued: a replica that asked so has no state to continue, and
// some crash on it.
func (h History) Answer(id string, offset int64, start, end replog.Offset) Answer {
	have := replog.Offset(offset - 1) // what the replica has, up to and including
	if offset < 1 {
		return Full
	}
	if strings.EqualFold(id, string(h.id)) {
		switch {
		case have > end:
			return Ahead
		case have < start:
			return Full
		}
		return Continue
	}
	for _, e := range h.past {
		if strings.EqualFold(id, string(e.id)) {
			if have >= start && have <= min(e.to, end) {
				return Continue
			}
			return Full
		}
	}
	return Full
}
