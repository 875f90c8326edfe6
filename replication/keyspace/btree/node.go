package btree

import (
	"bytes"
	"encoding/binary"

	"rowfall/replication/keyspace/arena"
)

const (
	maxLeafEntries = 64   // entries of a leaf
	maxLeafBytes   = 4096 // bytes of the entries of a leaf that has more than one
	maxChildren    = 32   // children of an inner node
)

// The offsets of the parts of a node; see the package comment.
const (
	slotOffset  = 8
	countOffset = 12
	levelOffset = 14
	wideOffset  = 15
	endsOffset  = 16
)

// childHeaderSize is the size of the child's address and count, which precede its low key.
const childHeaderSize = 16

// node is the bytes of a node. A node may be followed by unused bytes.
type node []byte

// owner returns the number of the unit that created the node.
func (n node) owner() uint64 { return binary.LittleEndian.Uint64(n) }

// slot returns the index of the node in Nodes.created. It is valid only in the unit that created
// the node.
func (n node) slot() int { return int(binary.LittleEndian.Uint32(n[slotOffset:])) }

func (n node) setSlot(i int) { binary.LittleEndian.PutUint32(n[slotOffset:], uint32(i)) }

func (n node) count() int { return int(binary.LittleEndian.Uint16(n[countOffset:])) }

func (n node) isLeaf() bool { return n[levelOffset] == 0 }

// endWidth returns the size of an element of ends in bytes.
func (n node) endWidth() int { return 2 + 2*int(n[wideOffset]) }

// end returns the offset at which entry i ends, counted from the start of the first entry.
func (n node) end(i int) int {
	if n[wideOffset] == 0 {
		return int(binary.LittleEndian.Uint16(n[endsOffset+2*i:]))
	}
	return int(binary.LittleEndian.Uint32(n[endsOffset+4*i:]))
}

// start returns the offset at which entry i starts, counted as end does. i may be count().
func (n node) start(i int) int {
	if i == 0 {
		return 0
	}
	return n.end(i - 1)
}

// size returns the bytes of all entries.
func (n node) size() int { return n.start(n.count()) }

// rawEntry returns the encoded bytes of entry i.
func (n node) rawEntry(i int) []byte {
	body := endsOffset + n.count()*n.endWidth()
	start, end := body+n.start(i), body+n.end(i)
	return n[start:end:end]
}

// entry returns the key and the value of entry i of a leaf.
func (n node) entry(i int) (key, value []byte) {
	return splitEntry(n.rawEntry(i))
}

// splitEntry returns the key and the value of an encoded entry of a leaf.
func splitEntry(e []byte) (key, value []byte) {
	size, w := int(e[0]), 1
	if size >= 0x80 {
		u, uw := binary.Uvarint(e)
		size, w = int(u), uw
	}
	return e[w : w+size : w+size], e[w+size:]
}

func keyOf(entry []byte) []byte {
	key, _ := splitEntry(entry)
	return key
}

func appendEntry(dst, key, value []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	return append(append(dst, key...), value...)
}

// childAt returns the address of child i of an inner node, and the number of entries under it.
func (n node) childAt(i int) (at arena.Addr, count int) {
	e := n.rawEntry(i)
	return arena.Addr(binary.LittleEndian.Uint64(e)), int(binary.LittleEndian.Uint64(e[8:]))
}

// lowKey returns the lower bound of the keys under child i. It is undefined for the first child.
func (n node) lowKey(i int) []byte { return n.rawEntry(i)[childHeaderSize:] }

func (n node) setChild(i int, at arena.Addr, count int) {
	e := n.rawEntry(i)
	binary.LittleEndian.PutUint64(e, uint64(at))
	binary.LittleEndian.PutUint64(e[8:], uint64(count))
}

func appendChild(dst []byte, at arena.Addr, count int, low []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(at))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(count))
	return append(dst, low...)
}

// entryCount returns the number of entries in a leaf or under an inner node.
func (n node) entryCount() int {
	if n.isLeaf() {
		return n.count()
	}
	sum := 0
	for i := range n.count() {
		_, count := n.childAt(i)
		sum += count
	}
	return sum
}

// childIndex returns the index of the child that contains key, or would contain it.
func (n node) childIndex(key []byte) int {
	lo, hi := 1, n.count()
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if bytes.Compare(n.lowKey(mid), key) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// find returns the index of key in a leaf and true, or else the index to insert it at.
func (n node) find(key []byte) (int, bool) {
	lo, hi := 0, n.count()
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		k, _ := n.entry(mid)
		switch c := bytes.Compare(k, key); {
		case c == 0:
			return mid, true
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return lo, false
}
