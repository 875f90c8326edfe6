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

// era is a past replication id, and the last offset up to which the log has the bytes of that id.
type era struct {
	id ID
	to replog.Offset
}

// keepEras bounds the history. Redis keeps one past id. More past ids allow partial resyncs to
// replicas that missed several promotions, at the cost of a line each. A server without persistence
// returns after a kill with the id under which it joined, perhaps years ago.
const keepEras = 256

// History is the current replication id and the past ones, each with the last offset up to which it
// is valid. A History never changes; Begin returns a new one.
type History struct {
	id   ID
	past []era // newest first; offsets never increase from one to the next
}

// NewHistory returns a history without past ids.
func NewHistory(id ID) History { return History{id: id} }

// ID returns the current replication id.
func (h History) ID() ID { return h.id }

// Previous returns the newest past id and the last offset up to which it is valid; ok is false if
// there is no past id.
func (h History) Previous() (id ID, to replog.Offset, ok bool) {
	if len(h.past) == 0 {
		return "", 0, false
	}
	return h.past[0].id, h.past[0].to, true
}

// Begin returns the history after a change to id at offset end. The current id becomes a past one
// that is valid up to end, and no past id stays valid beyond end.
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

// Contains reports whether id, in any case, is the current id or a past one.
func (h History) Contains(id string) bool {
	return strings.EqualFold(id, string(h.id)) ||
		slices.ContainsFunc(h.past, func(e era) bool { return strings.EqualFold(id, string(e.id)) })
}

// Holds reports whether data of replication id id up to offset at can be part of this history.
// While the history is full, id may be one that was dropped as too old: any other id is then
// accepted up to the oldest offset in the history.
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

// Answer is the reply to a PSYNC.
type Answer uint8

// The replies to PSYNC.
const (
	Full     Answer = iota // +FULLRESYNC: the log does not have the requested bytes under that id
	Continue               // +CONTINUE, and the stream from the requested byte
	Ahead                  // the replica has bytes of the current id that the log does not have yet
)

// Answer decides the reply to PSYNC id first. first is the number of the first requested byte; the
// first byte of a log is number 1. The log holds the bytes after start, up to and including end.
// The first byte that it can send is start+1, and a replica that has everything requests end+1.
//
// The id "?" never gets Continue: a replica that sends it has no data to continue from, and some
// servers crash at +CONTINUE then.
func (h History) Answer(id string, first, start, end replog.Offset) Answer {
	have := first - 1 // the last byte that the replica has
	if first < 1 {
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
