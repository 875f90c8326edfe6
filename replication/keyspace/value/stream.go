package value

import (
	"cmp"
	"encoding/binary"
	"strconv"
)

// StreamID is the id of an entry of a stream: milliseconds, and a number within
// them.
type StreamID struct{ Ms, Seq uint64 }

// String writes an id as Redis does.
func (id StreamID) String() string {
	return strconv.FormatUint(id.Ms, 10) + "-" + strconv.FormatUint(id.Seq, 10)
}

// IsZero reports whether the id is 0-0, which no entry has.
func (id StreamID) IsZero() bool { return id == StreamID{} }

// Compare returns -1, 0 or 1, as id comes before, is or comes after other.
func (id StreamID) Compare(other StreamID) int {
	return cmp.Or(cmp.Compare(id.Ms, other.Ms), cmp.Compare(id.Seq, other.Seq))
}

// Next returns the id behind id, which must not be the greatest one.
func (id StreamID) Next() StreamID {
	if id.Seq++; id.Seq == 0 {
		id.Ms++
	}
	return id
}

// Previous returns the id before id, which must not be zero.
func (id StreamID) Previous() StreamID {
	if id.Seq == 0 {
		id.Ms--
	}
	id.Seq--
	return id
}

const streamIDSize = 16

func (id StreamID) appendTo(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, id.Ms), id.Seq)
}

func decodeStreamID(b []byte) StreamID {
	return StreamID{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

// StreamInfo is what a stream knows besides its entries. A stream without
// entries is a key all the same.
type StreamInfo struct {
	Last       StreamID // the greatest id that it ever had or was told to count from
	MaxDeleted StreamID // the greatest id that was deleted singly
	Added      uint64   // entries ever added
}

// A packed stream begins with its count and its StreamInfo; then per entry: id,
// length uvarint, and as many bytes of fields and values, each with its length.
const (
	streamHeaderSize       = countSize + 2*streamIDSize + 8
	maxPackedStreamBytes   = 4 << 10
	maxPackedStreamEntries = 128
)

func (s StreamInfo) encode(head []byte) {
	b := s.MaxDeleted.appendTo(s.Last.appendTo(head[:countSize]))
	binary.BigEndian.PutUint64(head[len(b):], s.Added)
}

func decodeStreamInfo(head []byte) StreamInfo {
	return StreamInfo{
		Last:       decodeStreamID(head[countSize:]),
		MaxDeleted: decodeStreamID(head[countSize+streamIDSize:]),
		Added:      binary.BigEndian.Uint64(head[countSize+2*streamIDSize:]),
	}
}

// StreamEntry is one entry of a stream, as read-only as a Value.
type StreamEntry struct {
	ID    StreamID
	pairs []byte
}

// Len returns the number of fields.
func (s StreamEntry) Len() (n int) {
	for range s.Pairs {
		n++
	}
	return n
}

// Pairs yields the fields and their values in the order they were given; a field
// may stand there more than once.
func (s StreamEntry) Pairs(yield func(field, value []byte) bool) {
	for i := 0; i < len(s.pairs); {
		var f, val []byte
		f, i = readItem(s.pairs, i)
		val, i = readItem(s.pairs, i)
		if !yield(f, val) {
			return
		}
	}
}

// packedEntry reads the entry at p[i:] and returns the place after it.
func readEntry(p []byte, i int) (StreamEntry, int) {
	pairs, next := readItem(p, i+streamIDSize)
	return StreamEntry{decodeStreamID(p[i:]), pairs}, next
}

// Stream returns what a stream knows besides its entries.
func (v Value) Stream() StreamInfo {
	switch {
	case v.kind != Stream:
		return StreamInfo{}
	case v.big != nil:
		return *v.big.stream
	}
	return decodeStreamInfo(v.packed)
}

// Entries yields the entries of a stream by id.
func (v Value) Entries(yield func(e StreamEntry) bool) { v.entries(0, v.Len(), false, yield) }

// EntryRange yields the entries of a stream with ids from first to last, both
// included, the greatest first if reverse is set.
func (v Value) EntryRange(first, last StreamID, reverse bool, yield func(e StreamEntry) bool) {
	if v.kind != Stream || first.Compare(last) > 0 {
		return
	}
	lo, _ := v.entryRank(first)
	hi, found := v.entryRank(last)
	if found {
		hi++
	}
	v.entries(lo, hi, reverse, yield)
}

// entryRank returns the number of entries with smaller ids, and whether the id
// is there.
func (v Value) entryRank(id StreamID) (rank int, found bool) {
	if v.big != nil {
		return v.big.members.Rank(id.appendTo(nil))
	}
	for i := streamHeaderSize; i < len(v.packed); rank++ {
		c := decodeStreamID(v.packed[i:]).Compare(id)
		if c >= 0 {
			return rank, c == 0
		}
		_, i = readEntry(v.packed, i)
	}
	return rank, false
}

func (v Value) entries(lo, hi int, reverse bool, yield func(e StreamEntry) bool) {
	if v.kind != Stream {
		return
	}
	if v.big != nil {
		each := func(k, pairs []byte) bool { return yield(StreamEntry{decodeStreamID(k), pairs}) }
		if reverse {
			v.big.members.Descend(lo, hi, each)
		} else {
			v.big.members.Ascend(lo, hi, each)
		}
		return
	}
	var all [maxPackedStreamEntries]StreamEntry
	n := 0
	for i := streamHeaderSize; i < len(v.packed) && n < hi; n++ {
		all[n], i = readEntry(v.packed, i)
	}
	for i := lo; i < n; i++ {
		e := all[i]
		if reverse {
			e = all[n-1-(i-lo)]
		}
		if !yield(e) {
			return
		}
	}
}

// StreamEditor makes a new stream out of an old one in any number of steps.
type StreamEditor struct {
	// Info is what the new stream will know besides its entries. Append and
	// Delete keep it.
	Info   StreamInfo
	editor *Editor
}

// EditStream begins an edit of a stream (or of none, to begin one). The result
// is there after Finish.
func (e *Editor) EditStream(old Value) StreamEditor {
	if old.big != nil {
		e.start()
		e.toBig(Stream, old)
	} else if e.startPacked(old); len(old.packed) == 0 {
		e.Buf = append(e.Buf, make([]byte, streamHeaderSize-countSize)...)
	}
	return StreamEditor{Info: old.Stream(), editor: e}
}

// now is the stream as it has become so far.
func (s *StreamEditor) current() Value {
	return Value{kind: Stream, packed: s.editor.Buf[s.editor.base:], big: s.editor.Big}
}

// Len returns the number of entries.
func (s *StreamEditor) Len() int { return s.editor.Len() }

// Append adds an entry, whose id must be greater than all others, and counts it.
func (s *StreamEditor) Append(id StreamID, pairs [][]byte) {
	e := s.editor
	e.key = e.key[:0]
	for _, p := range pairs {
		e.key = appendItem(e.key, p)
	}
	s.Info.Last = id
	s.Info.Added++
	if e.Big == nil {
		n := packedLen(e.Buf[e.base:])
		if n < maxPackedStreamEntries && len(e.Buf)-e.base+len(e.key)+streamIDSize <= maxPackedStreamBytes {
			e.Buf = appendItem(id.appendTo(e.Buf), e.key)
			e.setCount(n + 1)
			return
		}
		e.toBig(Stream, Value{})
	}
	e.Big.members.Set(id.appendTo(nil), e.key)
}

// Delete removes an entry and reports whether it was there.
func (s *StreamEditor) Delete(id StreamID) bool {
	e := s.editor
	if e.Big != nil {
		if !e.Big.members.Delete(id.appendTo(nil)) {
			return false
		}
	} else {
		rank, found := s.current().entryRank(id)
		if !found {
			return false
		}
		start := skipEntries(e.Buf[e.base:], rank)
		_, end := readEntry(e.Buf[e.base:], start)
		e.removeRange(start, end)
	}
	if id.Compare(s.Info.MaxDeleted) > 0 {
		s.Info.MaxDeleted = id
	}
	return true
}

func skipEntries(p []byte, n int) int {
	i := streamHeaderSize
	for range n {
		_, i = readEntry(p, i)
	}
	return i
}

// Trim removes the first n entries. That is no deletion to Info.
func (s *StreamEditor) Trim(n int) {
	e := s.editor
	if e.Big == nil {
		left := packedLen(e.Buf[e.base:]) - n
		end := skipEntries(e.Buf[e.base:], n)
		e.Buf = append(e.Buf[:e.base+streamHeaderSize], e.Buf[e.base+end:]...)
		e.setCount(left)
		return
	}
	t := &e.Big.members
	if n >= t.Len() {
		e.Nodes.FreeTree(*t)
		*t = e.Nodes.Tree()
		return
	}
	for range n {
		t.Delete(e.keyAt(0))
	}
}

// Before returns the number of entries with smaller ids.
func (s *StreamEditor) CountBefore(id StreamID) int {
	rank, _ := s.current().entryRank(id)
	return rank
}

// Greatest returns the greatest id of an entry; the zero one if there is none.
func (s *StreamEditor) MaxID() (id StreamID) {
	v := s.current()
	v.entries(v.Len()-1, v.Len(), false, func(e StreamEntry) bool {
		id = e.ID
		return false
	})
	return id
}

// Finish leaves the result in the editor.
func (s *StreamEditor) Finish() {
	if s.editor.Big != nil {
		info := s.Info
		s.editor.Big.stream = &info
		return
	}
	s.Info.encode(s.editor.Buf[s.editor.base:])
}
