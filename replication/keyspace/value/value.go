// Package value holds one stored value: a string, a hash, a set, a sorted set, a
// list or a stream.
//
// A small collection is packed into one run of bytes, a large one (Big) lies in
// copy-on-write trees. Either way a Value never changes: an Editor makes a new
// one from an old one, and shares with it what stays the same. So a reader or a
// snapshot that holds a Value needs no lock, only that the arenas are pinned or held
// that it lies in, and an edit that is thrown away leaves no trace.
//
// Packed bytes:
//
//	string      the bytes
//	hash        count u16, then per field:  length uvarint, field, length uvarint, value
//	row         0x8000 + number of a Shape u16, then per field: length uvarint, value
//	set         count u16, then per member: length uvarint, member
//	sorted set  count u16, then per member: score 8 bytes, length uvarint, member; by (score, member)
//	list        count u16, then per item:   length uvarint, item
//	stream      see streamHeadSize
//
// Numbers are little-endian. A row is a hash that does not hold its fields' names:
// they are those of a Shape, made once the same names have been seen twice. A tree
// of fields or members is ordered by a hash of the name, then the name, so that a
// scan cursor can be a number: any place in the order of hashes. A sorted set has a
// second tree by (score, member). A tree of a list is ordered by places (see
// placeSize), one of a stream by ids.
//
// The package is a little longer than most here: reading a Value and editing it share
// the packed form of each kind and stay together.
package value

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math"

	"rowfall/replication/keyspace/btree"
)

// Kind is the type of a value.
type Kind uint8

// The kinds. None is the kind of the zero Value: no value at all.
const (
	None Kind = iota
	String
	Hash
	Set
	SortedSet
	List
	Stream
)

// String returns the name that TYPE answers.
func (k Kind) String() string {
	switch k {
	case String:
		return "string"
	case Hash:
		return "hash"
	case Set:
		return "set"
	case SortedSet:
		return "zset"
	case List:
		return "list"
	case Stream:
		return "stream"
	}
	return "none"
}

// Value is an immutable view of one stored value. Every byte slice that its
// methods hand out is read-only and stays as it is for as long as the bytes that
// the Value was made of do: those of a keyspace, while its arena is pinned or held.
type Value struct {
	kind   Kind
	packed []byte
	shape  *Shape // of a packed hash that does not hold its fields' names
	big    *Big
}

// Big holds the trees of a large collection: fields or members by hash, and for
// a sorted set members by score. It is immutable like Value.
type Big struct {
	// hash u32 BE, name -> field value | score bits u64 LE | nothing;
	// place -> item; id -> fields and values
	members btree.Tree
	scores  btree.Tree // ordered score u64 BE, member -> nothing, or one byte for -0
	stream  *StreamInfo
}

// Of returns the Value of what an Editor has made: packed bytes, or big if that
// is not nil.
func Of(kind Kind, packed []byte, big *Big) Value {
	return Value{kind: kind, packed: packed, big: big}
}

// seed orders the trees of this process; it is one for all of them, so that a
// scan cursor stays good when a full resync replaces the keyspace.
var seed = maphash.MakeSeed()

// appendTreeKey appends the key under which the trees hold a name.
func appendTreeKey(dst, name []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(maphash.Bytes(seed, name)))
	return append(dst, name...)
}

// appendScoreKey appends a score so that byte order is numeric order; 0 and -0
// are one score.
func appendScoreKey(dst []byte, score float64) []byte {
	u := math.Float64bits(score)
	switch {
	case score == 0:
		u = 1 << 63
	case u>>63 == 1:
		u = ^u
	default:
		u |= 1 << 63
	}
	return binary.BigEndian.AppendUint64(dst, u)
}

func decodeScoreKey(key, mark []byte) float64 {
	u := binary.BigEndian.Uint64(key)
	switch {
	case len(mark) > 0:
		return math.Copysign(0, -1)
	case u>>63 == 1:
		u &^= 1 << 63
	default:
		u = ^u
	}
	return math.Float64frombits(u)
}

// item reads a length-prefixed item at p[i:] and returns the place after it.
func readItem(p []byte, i int) ([]byte, int) {
	n := int(p[i])
	i++
	if n >= 0x80 {
		u, w := binary.Uvarint(p[i-1:])
		n, i = int(u), i-1+w
	}
	return p[i : i+n : i+n], i + n
}

func appendItem(dst, b []byte) []byte {
	if len(b) < 0x80 {
		dst = append(dst, byte(len(b)))
	} else {
		dst = binary.AppendUvarint(dst, uint64(len(b)))
	}
	return append(dst, b...)
}

const countSize = 2

func packedLen(p []byte) int {
	if len(p) < countSize {
		return 0
	}
	return int(binary.LittleEndian.Uint16(p))
}

// Kind returns the kind; None if there is no value.
func (v Value) Kind() Kind { return v.kind }

// IsBig reports whether the value is a collection kept in trees.
func (v Value) IsBig() bool { return v.big != nil }

// Len returns the number of bytes of a string, else of fields, members,
// items or entries.
func (v Value) Len() int {
	switch {
	case v.kind == String:
		return len(v.packed)
	case v.big != nil:
		return v.big.members.Len()
	case v.shape != nil:
		return len(v.shape.names)
	}
	return packedLen(v.packed)
}

// Bytes returns a string's bytes, nil for other kinds.
func (v Value) Bytes() []byte {
	if v.kind != String {
		return nil
	}
	return v.packed
}

// Fields yields the fields and values of a hash.
func (v Value) Fields(yield func(field, value []byte) bool) {
	if v.kind != Hash {
		return
	}
	if v.big != nil {
		v.big.members.Ascend(0, v.Len(), func(k, val []byte) bool { return yield(k[4:], val) })
		return
	}
	if v.shape != nil {
		i := countSize
		for _, f := range v.shape.names {
			var val []byte
			if val, i = readItem(v.packed, i); !yield(f, val) {
				return
			}
		}
		return
	}
	for i := countSize; i < len(v.packed); {
		var f, val []byte
		f, i = readItem(v.packed, i)
		val, i = readItem(v.packed, i)
		if !yield(f, val) {
			return
		}
	}
}

// Field returns the value of one field of a hash.
func (v Value) Field(name []byte) ([]byte, bool) {
	if v.kind != Hash {
		return nil, false
	}
	if v.big != nil {
		return v.big.get(name)
	}
	if v.shape != nil {
		return v.shapedField(name)
	}
	for i := countSize; i < len(v.packed); {
		var f, val []byte
		f, i = readItem(v.packed, i)
		val, i = readItem(v.packed, i)
		if bytes.Equal(f, name) {
			return val, true
		}
	}
	return nil, false
}

func (v Value) shapedField(name []byte) ([]byte, bool) {
	n := v.shape.fieldIndex(name)
	if n < 0 {
		return nil, false
	}
	i := countSize
	for range n {
		_, i = readItem(v.packed, i)
	}
	val, _ := readItem(v.packed, i)
	return val, true
}

// Members yields the members of a set, or of a sorted set by (score, member).
func (v Value) Members(yield func(member []byte) bool) {
	switch v.kind {
	case SortedSet:
		v.Scores(func(m []byte, _ float64) bool { return yield(m) })
	case Set:
		v.membersFrom(0, yield)
	}
}

// MemberAt returns the i-th member of a set in the order of Members.
func (v Value) MemberAt(i int) (member []byte) {
	v.membersFrom(i, func(m []byte) bool {
		member = m
		return false
	})
	return member
}

func (v Value) membersFrom(rank int, yield func(member []byte) bool) {
	if v.big != nil {
		v.big.members.Ascend(rank, v.Len(), func(k, _ []byte) bool { return yield(k[4:]) })
		return
	}
	for i, n := countSize, 0; i < len(v.packed); n++ {
		var m []byte
		if m, i = readItem(v.packed, i); n >= rank && !yield(m) {
			return
		}
	}
}

// HasMember reports whether a set or sorted set has the member.
func (v Value) HasMember(member []byte) bool {
	if v.kind == SortedSet {
		_, ok := v.Score(member)
		return ok
	}
	if v.kind != Set {
		return false
	}
	if v.big != nil {
		_, ok := v.big.get(member)
		return ok
	}
	return findMember(v.packed, member) >= 0
}

// findMember returns where the entry of a member starts in a packed set, or -1.
func findMember(p, member []byte) int {
	for i := countSize; i < len(p); {
		m, next := readItem(p, i)
		if bytes.Equal(m, member) {
			return i
		}
		i = next
	}
	return -1
}

// Size returns the bytes of memory that the trees take; it looks at all of their nodes.
func (b *Big) Size() int64 { return b.members.Size() + b.scores.Size() }

// Settle moves nodes of the trees out of thin chunks of their arena, in a unit, from a rank
// on, where those of the second tree follow those of the first. It returns the collection in
// the place of b, b itself if nothing has moved, the rank to go on with, 0 at the end, and how
// many nodes it has looked at.
func (b *Big) Defrag(rank int) (settled *Big, next, looked int) {
	c := *b
	n := c.members.Len()
	if rank < n {
		next, looked = c.members.Defrag(rank)
	} else {
		next, looked = c.scores.Defrag(rank - n)
		next += n
	}
	if next == n+c.scores.Len() {
		next = 0
	}
	if c == *b {
		return b, next, looked
	}
	return &c, next, looked
}

func (b *Big) get(name []byte) ([]byte, bool) {
	var scratch [64]byte
	return b.members.Get(appendTreeKey(scratch[:0], name))
}

// Scan yields about count fields with values, members, or members with the text
// of their score left to the caller (as 8 bytes, see ScoreOf), beginning at a
// cursor, and returns the cursor to go on with, 0 at the end. Small collections
// come whole. What is there from the first call (cursor 0) to the last is
// yielded at least once, whatever changes in between.
func (v Value) Scan(cursor uint64, count int, yield func(name, val []byte)) (next uint64) {
	if v.big == nil {
		v.scanPacked(yield)
		return 0
	}
	if cursor > math.MaxUint32 {
		return 0
	}
	t := &v.big.members
	rank, _ := t.Rank(binary.BigEndian.AppendUint32(nil, uint32(cursor)))
	n, last := 0, uint32(0)
	t.Ascend(rank, t.Len(), func(k, val []byte) bool {
		at := binary.BigEndian.Uint32(k)
		if n >= count && at != last {
			next = uint64(at)
			return false
		}
		n, last = n+1, at
		yield(k[4:], val)
		return true
	})
	return next
}

func (v Value) scanPacked(yield func(name, val []byte)) {
	switch v.kind {
	case Hash:
		v.Fields(func(f, val []byte) bool { yield(f, val); return true })
	case Set:
		v.Members(func(m []byte) bool { yield(m, nil); return true })
	case SortedSet:
		for i := countSize; i < len(v.packed); {
			score := v.packed[i : i+8]
			var m []byte
			m, i = readItem(v.packed, i+8)
			yield(m, score)
		}
	}
}

// ScoreOf returns the score that Scan yields for a member of a sorted set.
func DecodeScore(val []byte) float64 {
	return math.Float64frombits(binary.LittleEndian.Uint64(val))
}
