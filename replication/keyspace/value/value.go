// Package value implements stored values: strings, hashes, sets, sorted sets,
// lists and streams.
//
// A small collection is packed into a run of bytes. A large collection (Big)
// lies in copy-on-write trees. A Value never changes: an Editor makes a new value
// from an old one, and the two share what is the same. So a reader or a snapshot
// needs no lock to use a Value, as long as the arenas that its bytes lie in are
// pinned or held. An edit that is discarded has no effect.
//
// # Packed bytes
//
//	string      the bytes
//	hash        count u16, then per field:  length uvarint, field, length uvarint, value
//	row         0x8000 + number of a Shape u16, then per field: length uvarint, value
//	set         count u16, then per member: length uvarint, member
//	sorted set  count u16, then per member, in the order of (score, member):
//	            score 8 bytes, length uvarint, member
//	list        count u16, then per item:   length uvarint, item
//	stream      see streamHeaderSize
//
// Numbers are little-endian. A row is a hash without field names: the names are
// those of a Shape, which is made when the same names have been seen twice.
//
// # Trees
//
// A tree of fields or members is ordered by a 32-bit hash of the name and then by
// the name, so that a cursor of HSCAN, SSCAN or ZSCAN can be such a hash. A sorted
// set has a second tree ordered by (score, member). The tree of a list is ordered
// by ordinals (see ordinalSize), the tree of a stream by entry ids.
//
// The package is a little longer than most in this repository, because reading
// and editing of a kind both depend on its packed form.
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

// The kinds. None is the kind of the zero Value, which stands for an absent key.
const (
	None Kind = iota
	String
	Hash
	Set
	SortedSet
	List
	Stream
)

// String returns the name of the kind in the reply of TYPE.
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

// Value is an immutable view of one stored value. The byte slices that its methods return or yield
// are read-only. They are valid as long as the bytes that the Value was made from: in a keyspace,
// while its arenas are pinned or held.
type Value struct {
	kind   Kind
	packed []byte
	shape  *Shape // of a row; nil for any other value
	big    *Big
}

// Big holds the trees of a large collection. It is immutable, as a Value is.
type Big struct {
	// The key and value of an entry are
	//   - of a hash or set: hash of the name u32 BE and the name; the field's value or nothing
	//   - of a sorted set: hash of the member u32 BE and the member; score bits u64 LE
	//   - of a list: ordinal; item
	//   - of a stream: id; fields and values
	members btree.Tree
	// scores is used by sorted sets only. A key is a score (see appendScoreKey) and the member. The
	// value is empty, or one byte if the score is -0.
	scores btree.Tree
	stream *StreamInfo // of a stream
}

// Of returns the Value that an Editor without shapes has made: packed bytes, or big if it is not
// nil. A Value of an Editor with shapes is made by Shapes.Of.
func Of(kind Kind, packed []byte, big *Big) Value {
	return Value{kind: kind, packed: packed, big: big}
}

// seed is the seed of all hashes of names in this process. There is only one, so that a scan cursor
// stays valid when a full resync replaces the keyspace.
var seed = maphash.MakeSeed()

// appendTreeKey appends the key of a field or member in Big.members.
func appendTreeKey(dst, name []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(maphash.Bytes(seed, name)))
	return append(dst, name...)
}

// appendScoreKey appends a score as 8 bytes whose byte order is the order of scores. 0 and -0
// give the same bytes.
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

// decodeScoreKey returns the score of an entry of Big.scores.
func decodeScoreKey(key, negativeZero []byte) float64 {
	u := binary.BigEndian.Uint64(key)
	switch {
	case len(negativeZero) > 0:
		return math.Copysign(0, -1)
	case u>>63 == 1:
		u &^= 1 << 63
	default:
		u = ^u
	}
	return math.Float64frombits(u)
}

// readItem returns the length-prefixed item at p[i:] and the offset after it.
func readItem(p []byte, i int) ([]byte, int) {
	n := int(p[i])
	i++
	if n >= 0x80 {
		u, w := binary.Uvarint(p[i-1:])
		n, i = int(u), i-1+w
	}
	return p[i : i+n : i+n], i + n
}

// appendItem appends an item with its length before it.
func appendItem(dst, b []byte) []byte {
	if len(b) < 0x80 {
		dst = append(dst, byte(len(b)))
	} else {
		dst = binary.AppendUvarint(dst, uint64(len(b)))
	}
	return append(dst, b...)
}

// countSize is the size in bytes of the count that begins a packed collection.
const countSize = 2

// packedLen returns the count of a packed collection that is not a row; 0 if p is empty.
func packedLen(p []byte) int {
	if len(p) < countSize {
		return 0
	}
	return int(binary.LittleEndian.Uint16(p))
}

// Kind returns the kind of the value.
func (v Value) Kind() Kind { return v.kind }

// IsBig reports whether the value is a collection that is stored in trees.
func (v Value) IsBig() bool { return v.big != nil }

// Len returns the number of bytes of a string, or of fields, members, items or entries.
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

// Bytes returns the bytes of a string; nil for every other kind.
func (v Value) Bytes() []byte {
	if v.kind != String {
		return nil
	}
	return v.packed
}

// Fields yields the fields and values of a hash until yield returns false. It yields nothing for
// other kinds.
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

// Field returns the value of one field of a hash, and whether the field exists.
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

// shapedField is Field for a row.
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

// Members yields the members of a set in no particular order, or those of a sorted set in the order
// of (score, member), until yield returns false.
func (v Value) Members(yield func(member []byte) bool) {
	switch v.kind {
	case SortedSet:
		v.Scores(func(m []byte, _ float64) bool { return yield(m) })
	case Set:
		v.membersFrom(0, yield)
	}
}

// MemberAt returns member i of a set, counted from 0 in the order of Members; nil if there are not
// so many.
func (v Value) MemberAt(i int) (member []byte) {
	v.membersFrom(i, func(m []byte) bool {
		member = m
		return false
	})
	return member
}

// membersFrom yields the members of a set from index rank on.
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

// HasMember reports whether a set or sorted set contains member.
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

// findMember returns the offset of a member's item in a packed set, or -1.
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

// Size returns the bytes of memory that the trees use. It visits all of their nodes.
func (b *Big) Size() int64 { return b.members.Size() + b.scores.Size() }

// Defrag copies nodes of the trees that lie in sparse chunks of their arena, a few at a time; see
// btree.Tree.Defrag. rank is where to continue: below Len in the first tree, and from Len on in the
// second tree. Defrag returns the changed collection, or b itself if no node was copied, the next
// rank, which is 0 when all nodes have been visited, and the number of nodes that it has examined.
// It must be called in a unit of the trees.
func (b *Big) Defrag(rank int) (moved *Big, next, examined int) {
	c := *b
	n := c.members.Len()
	if rank < n {
		next, examined = c.members.Defrag(rank)
	} else {
		next, examined = c.scores.Defrag(rank - n)
		next += n
	}
	if next == n+c.scores.Len() {
		next = 0
	}
	if c == *b {
		return b, next, examined
	}
	return &c, next, examined
}

// get returns the value of a field or member in the first tree.
func (b *Big) get(name []byte) ([]byte, bool) {
	var scratch [64]byte
	return b.members.Get(appendTreeKey(scratch[:0], name))
}

// Scan yields about count fields with values, members with nil, or members with a score as 8 bytes
// (see DecodeScore). It begins at cursor, 0 for the first call, and returns the cursor of the next
// call, 0 at the end. A packed collection is yielded as a whole. A member that exists from the
// first call to the last is yielded at least once, whatever changes in between. It stops, and
// returns 0, when yield returns false.
func (v Value) Scan(cursor uint64, count int, yield func(name, val []byte) bool) (next uint64) {
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
		return yield(k[4:], val)
	})
	return next
}

// scanPacked yields a whole packed collection for Scan.
func (v Value) scanPacked(yield func(name, val []byte) bool) {
	switch v.kind {
	case Hash:
		v.Fields(yield)
	case Set:
		v.Members(func(m []byte) bool { return yield(m, nil) })
	case SortedSet:
		for i := countSize; i < len(v.packed); {
			score := v.packed[i : i+8]
			var m []byte
			m, i = readItem(v.packed, i+8)
			if !yield(m, score) {
				return
			}
		}
	}
}

// DecodeScore returns the score that Scan yields for a member of a sorted set.
func DecodeScore(val []byte) float64 {
	return math.Float64frombits(binary.LittleEndian.Uint64(val))
}
