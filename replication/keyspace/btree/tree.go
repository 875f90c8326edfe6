// Package btree is a counted, copy-on-write B+tree of byte strings: keys in
// byte order, each with a value, every position known by its rank.
//
// A Tree is a value: a copy of it is a snapshot that later changes of the
// original never disturb. A change names an epoch. Nodes that the same epoch
// has made are changed in place; all others are copied first, along one path.
// So who changes a tree copies the Tree, edits the copy under an epoch that
// nobody used before, and then either keeps the copy or drops it. Entries lie
// packed in their leaf, so that the garbage collector sees two objects for some
// fifty entries.
//
// Changing needs one goroutine; any number may read a Tree that nobody changes.
package btree

import (
	"bytes"
	"encoding/binary"
	"slices"
)

const (
	maxEntries = 64   // entries of a leaf
	maxBytes   = 4096 // bytes of a leaf that has more than one entry
	maxKids    = 32   // children of an inner node
)

// Tree is an ordered map; the zero value is empty.
type Tree struct{ root *node }

// node is a leaf (kids == nil) or an inner node.
type node struct {
	owner uint64 // the epoch that may change it in place

	// A leaf: entry i ends at data[ends[i]] and is a uvarint key length, the
	// key, the value.
	data []byte
	ends []uint32

	kids []kid
}

// kid is one child. Keys under it are >= low (but for the first child, whose
// low is not looked at) and smaller than the next child's low.
type kid struct {
	low   string
	node  *node
	count int // entries under node
}

// Len returns the number of entries.
func (t *Tree) Len() int {
	if t.root == nil {
		return 0
	}
	return t.root.count()
}

// Get returns the value of key, read-only.
func (t *Tree) Get(key []byte) (value []byte, ok bool) {
	n := t.root
	if n == nil {
		return nil, false
	}
	for n.kids != nil {
		n = n.kids[n.child(key)].node
	}
	i, ok := n.find(key)
	if !ok {
		return nil, false
	}
	_, value = n.entry(i)
	return value, true
}

// Rank returns the number of keys smaller than key, and whether key is there.
func (t *Tree) Rank(key []byte) (rank int, found bool) {
	n := t.root
	if n == nil {
		return 0, false
	}
	for n.kids != nil {
		c := n.child(key)
		for _, k := range n.kids[:c] {
			rank += k.count
		}
		n = n.kids[c].node
	}
	i, found := n.find(key)
	return rank + i, found
}

// Set puts an entry, changing the tree under epoch (not 0), and reports whether
// the key is new. Key and value are copied.
func (t *Tree) Set(epoch uint64, key, value []byte) (added bool) {
	if t.root == nil {
		t.root = &node{owner: epoch}
	}
	root, right, low, added := t.root.set(epoch, key, value)
	t.root = root
	if right != nil {
		t.root = &node{owner: epoch, kids: []kid{
			{node: root, count: root.count()},
			{low: low, node: right, count: right.count()},
		}}
	}
	return added
}

// Delete removes an entry, changing the tree under epoch (not 0), and reports
// whether it was there. If it was not, nothing is copied.
func (t *Tree) Delete(epoch uint64, key []byte) bool {
	if _, ok := t.Get(key); !ok {
		return false
	}
	root := t.root.remove(epoch, key)
	for len(root.kids) == 1 {
		root = root.kids[0].node
	}
	if root.count() == 0 {
		root = nil
	}
	t.root = root
	return true
}

// Ascend yields the entries of rank lo up to but not including hi, in order,
// until yield returns false. Key and value are read-only.
func (t *Tree) Ascend(lo, hi int, yield func(key, value []byte) bool) {
	lo, hi = max(lo, 0), min(hi, t.Len())
	if lo < hi {
		t.root.ascend(lo, hi, yield)
	}
}

// Descend yields the entries of rank hi-1 down to lo.
func (t *Tree) Descend(lo, hi int, yield func(key, value []byte) bool) {
	lo, hi = max(lo, 0), min(hi, t.Len())
	if lo < hi {
		t.root.descend(lo, hi, yield)
	}
}

func (n *node) count() int {
	if n.kids == nil {
		return len(n.ends)
	}
	total := 0
	for i := range n.kids {
		total += n.kids[i].count
	}
	return total
}

// child returns the index of the child that key belongs to.
func (n *node) child(key []byte) int {
	lo, hi := 1, len(n.kids)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if n.kids[mid].low <= string(key) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

func (n *node) start(i int) int {
	if i == 0 {
		return 0
	}
	return int(n.ends[i-1])
}

func (n *node) entry(i int) (key, value []byte) {
	e := n.data[n.start(i):n.ends[i]:n.ends[i]]
	size, w := int(e[0]), 1
	if size >= 0x80 {
		u, uw := binary.Uvarint(e)
		size, w = int(u), uw
	}
	return e[w : w+size : w+size], e[w+size:]
}

// find returns the position of key in a leaf, or where it belongs.
func (n *node) find(key []byte) (int, bool) {
	lo, hi := 0, len(n.ends)
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

// own returns n itself if epoch made it, else a copy that epoch may change.
func (n *node) own(epoch uint64) *node {
	if n.owner == epoch {
		return n
	}
	c := &node{owner: epoch}
	if n.kids != nil {
		c.kids = append(make([]kid, 0, len(n.kids)+1), n.kids...)
		return c
	}
	c.data = append(make([]byte, 0, len(n.data)+len(n.data)/8+32), n.data...)
	c.ends = append(make([]uint32, 0, len(n.ends)+4), n.ends...)
	return c
}

func (n *node) set(epoch uint64, key, value []byte) (self, right *node, low string, added bool) {
	n = n.own(epoch)
	if n.kids == nil {
		i, found := n.find(key)
		n.put(i, found, key, value)
		if len(n.ends) > maxEntries || len(n.data) > maxBytes && len(n.ends) > 1 {
			right, low = n.splitLeaf(epoch, i)
		}
		return n, right, low, !found
	}
	c := n.child(key)
	k := &n.kids[c]
	k.node, right, low, added = k.node.set(epoch, key, value)
	if right == nil {
		if added {
			k.count++
		}
		return n, nil, "", added
	}
	k.count = k.node.count()
	n.kids = slices.Insert(n.kids, c+1, kid{low: low, node: right, count: right.count()})
	if len(n.kids) <= maxKids {
		return n, nil, "", added
	}
	cut := len(n.kids) / 2
	if c+2 == len(n.kids) {
		cut = len(n.kids) - 2 // ascending inserts leave full nodes behind
	}
	right = &node{owner: epoch, kids: slices.Clone(n.kids[cut:])}
	low = right.kids[0].low
	clear(n.kids[cut:])
	n.kids = n.kids[:cut]
	return n, right, low, added
}

// put writes an entry at position i of a leaf, in place of the entry there if
// replace is set.
func (n *node) put(i int, replace bool, key, value []byte) {
	from := n.start(i)
	to := from
	if replace {
		to = int(n.ends[i])
	}
	var head [binary.MaxVarintLen64]byte
	w := binary.PutUvarint(head[:], uint64(len(key)))
	size := w + len(key) + len(value)
	old := len(n.data)
	if grow := size - (to - from); grow > 0 {
		n.data = slices.Grow(n.data, grow)[:old+grow]
		copy(n.data[to+grow:], n.data[to:old])
	} else {
		copy(n.data[from+size:], n.data[to:old])
		n.data = n.data[:old+grow]
	}
	at := from + copy(n.data[from:], head[:w])
	at += copy(n.data[at:], key)
	copy(n.data[at:], value)
	if !replace {
		n.ends = slices.Insert(n.ends, i, uint32(from))
	}
	delta := size - (to - from)
	for j := i; j < len(n.ends); j++ {
		n.ends[j] = uint32(int(n.ends[j]) + delta)
	}
}

// splitLeaf moves the upper part of a leaf, by bytes, to a new one; after an
// insert at the end only the last entry, so that ascending inserts leave full
// leaves behind. It returns the shortest key that tells the two apart.
func (n *node) splitLeaf(epoch uint64, inserted int) (right *node, low string) {
	cut := len(n.ends) - 1
	if inserted != cut {
		half := uint32(len(n.data) / 2)
		cut, _ = slices.BinarySearch(n.ends, half)
		cut = min(max(cut, 1), len(n.ends)-1)
	}
	from := n.start(cut)
	right = &node{owner: epoch, data: slices.Clone(n.data[from:]), ends: slices.Clone(n.ends[cut:])}
	for i := range right.ends {
		right.ends[i] -= uint32(from)
	}
	n.data, n.ends = n.data[:from], n.ends[:cut]
	if cap(n.data) > 2*maxBytes && len(n.data) < cap(n.data)/2 {
		n.data = slices.Clone(n.data)
	}
	last, _ := n.entry(cut - 1)
	first, _ := right.entry(0)
	same := 0
	for same < len(last) && last[same] == first[same] {
		same++
	}
	return right, string(first[:same+1])
}

// remove deletes a key that is there.
func (n *node) remove(epoch uint64, key []byte) *node {
	n = n.own(epoch)
	if n.kids == nil {
		i, _ := n.find(key)
		from, to := n.start(i), int(n.ends[i])
		n.data = append(n.data[:from], n.data[to:]...)
		n.ends = slices.Delete(n.ends, i, i+1)
		for j := i; j < len(n.ends); j++ {
			n.ends[j] -= uint32(to - from)
		}
		return n
	}
	c := n.child(key)
	k := &n.kids[c]
	k.node = k.node.remove(epoch, key)
	k.count--
	switch {
	case k.count == 0:
		n.kids = slices.Delete(n.kids, c, c+1)
	case c > 0 && mergeable(n.kids[c-1].node, k.node):
		n.merge(epoch, c-1)
	case c+1 < len(n.kids) && mergeable(k.node, n.kids[c+1].node):
		n.merge(epoch, c)
	}
	return n
}

// mergeable asks whether two neighbours have become so small that one node
// with room to spare holds both.
func mergeable(a, b *node) bool {
	if a.kids != nil {
		return len(a.kids)+len(b.kids) <= maxKids/2
	}
	return len(a.ends)+len(b.ends) <= maxEntries/2 && len(a.data)+len(b.data) <= maxBytes/2
}

// merge moves child c+1 into child c.
func (n *node) merge(epoch uint64, c int) {
	left, right := n.kids[c].node.own(epoch), n.kids[c+1].node
	if left.kids != nil {
		at := len(left.kids)
		left.kids = append(left.kids, right.kids...)
		left.kids[at].low = n.kids[c+1].low
	} else {
		base := uint32(len(left.data))
		left.data = append(left.data, right.data...)
		for _, e := range right.ends {
			left.ends = append(left.ends, base+e)
		}
	}
	n.kids[c] = kid{low: n.kids[c].low, node: left, count: n.kids[c].count + n.kids[c+1].count}
	n.kids = slices.Delete(n.kids, c+1, c+2)
}

func (n *node) ascend(lo, hi int, yield func(key, value []byte) bool) bool {
	if n.kids == nil {
		for i := lo; i < hi; i++ {
			if !yield(n.entry(i)) {
				return false
			}
		}
		return true
	}
	for _, k := range n.kids {
		if lo < k.count && !k.node.ascend(max(lo, 0), min(hi, k.count), yield) {
			return false
		}
		if lo, hi = lo-k.count, hi-k.count; hi <= 0 {
			break
		}
	}
	return true
}

func (n *node) descend(lo, hi int, yield func(key, value []byte) bool) bool {
	if n.kids == nil {
		for i := hi - 1; i >= lo; i-- {
			if !yield(n.entry(i)) {
				return false
			}
		}
		return true
	}
	end := n.count()
	for _, k := range slices.Backward(n.kids) {
		start := end - k.count
		if start < hi && !k.node.descend(max(lo-start, 0), min(hi-start, k.count), yield) {
			return false
		}
		if end = start; end <= lo {
			break
		}
	}
	return true
}
