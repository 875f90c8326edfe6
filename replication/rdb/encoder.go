package rdb

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"rowfall/replication/keyspace"
)

// flushSize is how many bytes are collected before they are checksummed and written.
const flushSize = 64 << 10

// Write writes a snapshot as an RDB file that every Redis since 7.0 and every Valkey loads. All
// keys are written, also those that have expired but are not deleted yet: the replication stream
// from a.Offset on deletes them. Write passes bytes to w in blocks of up to about 64 KiB; longer
// strings are passed unsplit. The caller closes the snapshot.
func Write(w io.Writer, a Aux, s *keyspace.Snapshot) error {
	e := &encoder{w: w, buf: make([]byte, 0, flushSize+4<<10)}
	e.buf = append(e.buf, magic...)
	e.aux(a)
	if keys, expires := s.Len(); keys > 0 {
		e.buf = append(e.buf, opSelect)
		e.length(0)
		e.buf = append(e.buf, opResize)
		e.length(uint64(keys))
		e.length(uint64(expires))
	}
	if err := s.Each(e.entry); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	if err := e.finish(); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// finish writes the end of the file and its checksum.
func (e *encoder) finish() error {
	e.buf = append(e.buf, opEOF)
	if err := e.flush(); err != nil {
		return err
	}
	_, err := e.w.Write(binary.LittleEndian.AppendUint64(nil, e.sum))
	return err
}

type encoder struct {
	w    io.Writer
	buf  []byte
	sum  uint64 // checksum of the bytes flushed so far
	err  error  // first error of w; iterations over a value stop at it
	pack []byte
	ints []int64
	node nodeBuilder
}

// flush writes the collected bytes.
func (e *encoder) flush() error {
	if e.err == nil && len(e.buf) > 0 {
		e.sum = updateCRC(e.sum, e.buf)
		_, e.err = e.w.Write(e.buf)
	}
	e.buf = e.buf[:0]
	return e.err
}

func (e *encoder) aux(a Aux) {
	field := func(name, value string) {
		e.buf = append(e.buf, opAux)
		e.text([]byte(name))
		e.text([]byte(value))
	}
	if a.Version != "" {
		field("redis-ver", a.Version)
	}
	field("redis-bits", "64")
	if a.CTime != 0 {
		field("ctime", strconv.FormatInt(a.CTime, 10))
	}
	if a.UsedMem != 0 {
		field("used-mem", strconv.FormatInt(a.UsedMem, 10))
	}
	if a.ReplID != "" {
		// A server that restarts with the file requests a partial resync only if all three are set.
		field("repl-stream-db", strconv.Itoa(a.StreamDB))
		field("repl-id", a.ReplID)
		field("repl-offset", a.Offset.String())
	}
}

// entry writes one key.
func (e *encoder) entry(n keyspace.Entry) error {
	if len(e.buf) >= flushSize {
		if err := e.flush(); err != nil {
			return err
		}
	}
	if n.ExpireAt != 0 {
		e.buf = append(e.buf, opExpireMs)
		e.buf = binary.LittleEndian.AppendUint64(e.buf, uint64(n.ExpireAt))
	}
	switch kind := n.Value.Kind(); kind {
	case keyspace.String:
		e.key(typeString, n.Key)
		e.text(n.Value.Bytes())
	case keyspace.Hash:
		e.hash(n)
	case keyspace.Set:
		e.set(n)
	case keyspace.SortedSet:
		e.sortedSet(n)
	case keyspace.List:
		e.list(n)
	case keyspace.Stream:
		e.stream(n)
	default:
		return fmt.Errorf("key %.64q has a value of kind %v", n.Key, kind)
	}
	return e.err
}

func (e *encoder) key(kind byte, key []byte) {
	e.buf = append(e.buf, kind)
	e.text(key)
}

func (e *encoder) hash(n keyspace.Entry) {
	if n.Value.Len() <= maxPackEntries {
		e.pack = beginPack(e.pack[:0])
		fits := true
		n.Value.Fields(func(field, value []byte) bool {
			fits = len(field) <= maxPackBytes && len(value) <= maxPackBytes
			if fits {
				e.pack = appendPack(appendPack(e.pack, field), value)
			}
			return fits
		})
		if fits {
			e.packed(typeHashPack, n.Key, 2*n.Value.Len())
			return
		}
	}
	e.key(typeHash, n.Key)
	e.length(uint64(n.Value.Len()))
	n.Value.Fields(func(field, value []byte) bool {
		e.text(field)
		e.text(value)
		return e.err == nil
	})
}

// packed writes a key whose value is the listpack in e.pack.
func (e *encoder) packed(kind byte, key []byte, elements int) {
	e.pack = endPack(e.pack, elements)
	e.key(kind, key)
	e.rawString(e.pack)
}

func (e *encoder) set(n keyspace.Entry) {
	if e.intset(n) {
		return
	}
	e.key(typeSet, n.Key)
	e.length(uint64(n.Value.Len()))
	n.Value.Members(func(m []byte) bool {
		e.text(m)
		return e.err == nil
	})
}

// intset writes a small set of integers as an intset and returns true, or returns false. Other
// small sets have a packed type only since Redis 7.2.
func (e *encoder) intset(n keyspace.Entry) bool {
	if n.Value.Len() > maxPackInts {
		return false
	}
	ok := true
	e.ints = e.ints[:0]
	n.Value.Members(func(m []byte) bool {
		var i int64
		if i, ok = keyspace.ParseInt(m); ok {
			e.ints = append(e.ints, i)
		}
		return ok
	})
	if !ok {
		return false
	}
	slices.Sort(e.ints)
	low, high, size := e.ints[0], e.ints[len(e.ints)-1], 8
	switch {
	case low >= math.MinInt16 && high <= math.MaxInt16:
		size = 2
	case low >= math.MinInt32 && high <= math.MaxInt32:
		size = 4
	}
	b := binary.LittleEndian.AppendUint32(e.pack[:0], uint32(size))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(e.ints)))
	for _, i := range e.ints {
		for k := range size {
			b = append(b, byte(i>>(8*k)))
		}
	}
	e.pack = b
	e.key(typeSetInts, n.Key)
	e.rawString(b)
	return true
}

// sortedSet writes a sorted set. It relies on Scores being in order of score and member, as a
// listpack must be.
func (e *encoder) sortedSet(n keyspace.Entry) {
	if n.Value.Len() <= maxPackEntries {
		e.pack = beginPack(e.pack[:0])
		fits := true
		var text [32]byte
		n.Value.Scores(func(m []byte, score float64) bool {
			if fits = len(m) <= maxPackBytes; fits {
				e.pack = appendPack(appendPack(e.pack, m), appendScore(text[:0], score))
			}
			return fits
		})
		if fits {
			e.packed(typeSortedSetPack, n.Key, 2*n.Value.Len())
			return
		}
	}
	e.key(typeSortedSet2, n.Key)
	e.length(uint64(n.Value.Len()))
	n.Value.Scores(func(m []byte, score float64) bool {
		e.text(m)
		e.score(score)
		return e.err == nil
	})
}

// list writes the items one by one. Servers pack those into their own nodes as tightly as a packed
// form.
func (e *encoder) list(n keyspace.Entry) {
	e.key(typeList, n.Key)
	e.length(uint64(n.Value.Len()))
	n.Value.Items(func(item []byte) bool {
		e.text(item)
		return e.err == nil
	})
}

func (e *encoder) score(score float64) {
	e.maybeFlush()
	e.buf = binary.LittleEndian.AppendUint64(e.buf, math.Float64bits(score))
}

// maybeFlush flushes if enough bytes were collected, so that collections of numbers, which are
// written one by one, do not grow in memory. The error stays in e.err.
func (e *encoder) maybeFlush() {
	if len(e.buf) >= flushSize {
		_ = e.flush()
	}
}

// appendScore appends a score as text that strtod reads back exactly.
func appendScore(dst []byte, score float64) []byte {
	switch {
	case math.IsInf(score, 1):
		return append(dst, "inf"...)
	case math.IsInf(score, -1):
		return append(dst, "-inf"...)
	case score == math.Trunc(score) && math.Abs(score) < 1<<53 &&
		(score != 0 || !math.Signbit(score)):
		return strconv.AppendInt(dst, int64(score), 10)
	}
	return strconv.AppendFloat(dst, score, 'g', -1, 64)
}

// length writes a length in its shortest form.
func (e *encoder) length(n uint64) {
	switch {
	case n < 1<<6:
		e.buf = append(e.buf, byte(n))
	case n < 1<<14:
		e.buf = append(e.buf, len14|byte(n>>8), byte(n))
	case n <= math.MaxUint32:
		e.buf = binary.BigEndian.AppendUint32(append(e.buf, len32), uint32(n))
	default:
		e.buf = binary.BigEndian.AppendUint64(append(e.buf, len64), n)
	}
}

// text writes a string. The text of a small integer is written as that integer, which is shorter.
func (e *encoder) text(b []byte) {
	if len(b) <= 11 {
		if n, ok := keyspace.ParseInt(b); ok && n >= math.MinInt32 && n <= math.MaxInt32 {
			e.number(n)
			return
		}
	}
	e.rawString(b)
}

// number writes the text of an integer.
func (e *encoder) number(n int64) {
	e.maybeFlush()
	switch {
	case n >= math.MinInt8 && n <= math.MaxInt8:
		e.buf = append(e.buf, lenSpecial|specialInt8, byte(n))
	case n >= math.MinInt16 && n <= math.MaxInt16:
		e.buf = append(e.buf, lenSpecial|specialInt16, byte(n), byte(n>>8))
	case n >= math.MinInt32 && n <= math.MaxInt32:
		e.buf = binary.LittleEndian.AppendUint32(append(e.buf, lenSpecial|specialInt32), uint32(n))
	default:
		var text [20]byte
		e.rawString(strconv.AppendInt(text[:0], n, 10))
	}
}

// rawString writes a string without trying the integer form. A long string is not copied.
func (e *encoder) rawString(b []byte) {
	e.length(uint64(len(b)))
	if len(e.buf)+len(b) > flushSize {
		_ = e.flush() // the error stays in e.err
	}
	if len(b) <= flushSize {
		e.buf = append(e.buf, b...)
		return
	}
	if e.err == nil {
		e.sum = updateCRC(e.sum, b)
		_, e.err = e.w.Write(b)
	}
}
