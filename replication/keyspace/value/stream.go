package value

import (
	"cmp"
	"encoding/binary"
	"strconv"
)

// StreamID is the id of an entry of a stream: milliseconds since 1970 and a sequence number.
type StreamID struct{ Ms, Seq uint64 }

// String returns the id in Redis's form, milliseconds-sequence.
func (id StreamID) String() string {
	return strconv.FormatUint(id.Ms, 10) + "-" + strconv.FormatUint(id.Seq, 10)
}

// IsZero reports whether the id is 0-0. No entry has this id.
func (id StreamID) IsZero() bool { return id == StreamID{} }

// Compare returns -1, 0 or 1 if id is less than, equal to or greater than other.
func (id StreamID) Compare(other StreamID) int {
	return cmp.Or(cmp.Compare(id.Ms, other.Ms), cmp.Compare(id.Seq, other.Seq))
}

// Next returns the id after id, which must not be the greatest id.
func (id StreamID) Next() StreamID {
	if id.Seq++; id.Seq == 0 {
		id.Ms++
	}
	return id
}

// Previous returns the id before id, which must not be 0-0.
func (id StreamID) Previous() StreamID {
	if id.Seq == 0 {
		id.Ms--
	}
	id.Seq--
	return id
}

// streamIDSize is the size of an encoded id in bytes.
const streamIDSize = 16

// appendTo appends the id as two big-endian numbers, so that the order of bytes is that of ids.
func (id StreamID) appendTo(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, id.Ms), id.Seq)
}

// decodeStreamID reads what appendTo writes.
func decodeStreamID(b []byte) StreamID {
	return StreamID{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

// StreamInfo is the state of a stream besides its entries. A stream without entries still exists
// as a key.
type StreamInfo struct {
	Last       StreamID // Redis's last_id: the greatest id ever added, or set by XSETID
	MaxDeleted StreamID // max_deleted_entry_id: the greatest id that XDEL has removed
	Added      uint64   // entries_added: the number of entries ever added
}

// A packed stream begins with its count and its StreamInfo.
// For each entry follow the id, a length (uvarint), and that many bytes: the entry's fields and
// values, each with its length before it.
const (
	streamHeaderSize       = countSize + 2*streamIDSize + 8 // bytes
	maxPackedStreamBytes   = 4 << 10                        // bytes of a packed stream
	maxPackedStreamEntries = 128                            // entries of a packed stream
)

// encode writes the info into the header of a packed stream.
func (s StreamInfo) encode(head []byte) {
	b := s.MaxDeleted.appendTo(s.Last.appendTo(head[:countSize]))
	binary.BigEndian.PutUint64(head[len(b):], s.Added)
}

// decodeStreamInfo reads the info from the header of a packed stream.
func decodeStreamInfo(head []byte) StreamInfo {
	return StreamInfo{
		Last:       decodeStreamID(head[countSize:]),
		MaxDeleted: decodeStreamID(head[countSize+streamIDSize:]),
		Added:      binary.BigEndian.Uint64(head[countSize+2*streamIDSize:]),
	}
}

// StreamEntry is one entry of a stream. It is valid as long as the Value that it comes from.
type StreamEntry struct {
	ID    StreamID
	pairs []byte
}

// Len returns the number of fields. A field that occurs twice counts twice.
func (s StreamEntry) Len() (n int) {
	for range s.Pairs {
		n++
	}
	return n
}

// Pairs yields fields and values in the order in which they were added, until yield returns false.
// A field may occur more than once. The bytes are read-only.
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

// readEntry reads the entry at p[i:] of a packed stream and returns the offset after it.
func readEntry(p []byte, i int) (StreamEntry, int) {
	pairs, next := readItem(p, i+streamIDSize)
	return StreamEntry{decodeStreamID(p[i:]), pairs}, next
}

// Stream returns the state of a stream besides its entries; the zero StreamInfo for other kinds.
func (v Value) Stream() StreamInfo {
	switch {
	case v.kind != Stream:
		return StreamInfo{}
	case v.big != nil:
		return *v.big.stream
	}
	return decodeStreamInfo(v.packed)
}

// Entries yields the entries of a stream in ascending order of ids, until yield returns false.
func (v Value) Entries(yield func(e StreamEntry) bool) { v.entries(0, v.Len(), false, yield) }

// EntryRanks returns the ranks [lo, hi) of the entries of a stream with ids from first to last,
// both included.
func (v Value) EntryRanks(first, last StreamID) (lo, hi int) {
	if v.kind != Stream || first.Compare(last) > 0 {
		return 0, 0
	}
	lo, _ = v.entryRank(first)
	hi, found := v.entryRank(last)
	if found {
		hi++
	}
	return lo, max(lo, hi)
}

// EntryRange yields the entries of a stream with ranks lo to hi-1, in descending order if reverse
// is set, until yield returns false.
func (v Value) EntryRange(lo, hi int, reverse bool, yield func(e StreamEntry) bool) {
	v.entries(lo, hi, reverse, yield)
}

// entryRank returns the number of entries with smaller ids, and whether an entry has this id.
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

// entries yields the entries from rank lo up to but not including hi.
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

// StreamEditor makes a new stream from an old one in any number of steps.
type StreamEditor struct {
	// Info is what the new stream will know besides its entries. Append and
	// Delete keep it.
	Info   StreamInfo
	editor *Editor
}

// EditStream begins an edit of a stream. The zero Value as old makes a new stream. The result is
// complete after Finish.
func (e *Editor) EditStream(old Value) StreamEditor {
	if old.big != nil {
		e.start()
		e.toBig(Stream, old)
	} else if e.startPacked(old); len(old.packed) == 0 {
		e.Buf = append(e.Buf, make([]byte, streamHeaderSize-countSize)...)
	}
	return StreamEditor{Info: old.Stream(), editor: e}
}

// current returns the stream as edited so far, without its info.
func (s *StreamEditor) current() Value {
	return Value{kind: Stream, packed: s.editor.Buf[s.editor.base:], big: s.editor.Big}
}

// Len returns the number of entries of the edited stream.
func (s *StreamEditor) Len() int { return s.editor.Len() }

// Append adds an entry, whose id must be greater than that of every entry, and updates Last and
// Added of Info. pairs holds fields and values alternately.
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
		size := len(e.Buf) - e.base + streamIDSize + len(e.key)
		if n < maxPackedStreamEntries && size <= maxPackedStreamBytes {
			e.Buf = appendItem(id.appendTo(e.Buf), e.key)
			e.setCount(n + 1)
			return
		}
		e.toBig(Stream, Value{})
	}
	e.Big.members.Set(id.appendTo(nil), e.key)
}

// Delete removes an entry, updates MaxDeleted of Info, and reports whether the entry existed.
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

// skipEntries returns the offset after the first n entries of a packed stream.
func skipEntries(p []byte, n int) int {
	i := streamHeaderSize
	for range n {
		_, i = readEntry(p, i)
	}
	return i
}

// Trim removes the first n entries. Unlike Delete it leaves MaxDeleted of Info unchanged.
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

// CountBefore returns the number of entries with smaller ids.
func (s *StreamEditor) CountBefore(id StreamID) int {
	rank, _ := s.current().entryRank(id)
	return rank
}

// MaxID returns the greatest id of an entry; the zero id if there are no entries.
func (s *StreamEditor) MaxID() (id StreamID) {
	v := s.current()
	v.entries(v.Len()-1, v.Len(), false, func(e StreamEntry) bool {
		id = e.ID
		return false
	})
	return id
}

// Finish completes the result in the Editor. The StreamEditor must not be used after that.
func (s *StreamEditor) Finish() {
	if s.editor.Big != nil {
		info := s.Info
		s.editor.Big.stream = &info
		return
	}
	s.Info.encode(s.editor.Buf[s.editor.base:])
}
