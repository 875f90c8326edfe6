package value

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// A large list is a tree whose keys are ordinals. An ordinal is a big-endian number of ordinalSize
// bytes. Where an item was inserted between two neighbouring numbers, more bytes follow, like the
// digits of a fraction. The last of those is not 0, so there is a key between any two keys.
const (
	ordinalSize        = 6
	firstOrdinal       = 1 << (8*ordinalSize - 1)
	ordinalLimit       = 1 << (8 * ordinalSize)
	maxOrdinalKey      = ordinalSize + 16 // a longer key has the list renumbered
	maxPackedListBytes = 4 << 10          // bytes of a packed list, about those of a leaf of a tree
)

// Items yields the items of a list from head to tail, until yield returns false.
func (v Value) Items(yield func(item []byte) bool) { v.ItemRange(0, v.Len(), false, yield) }

// ItemRange yields the items of a list from index lo up to but not including hi, in reverse order
// if reverse is set, until yield returns false. Indexes outside of the list are skipped.
func (v Value) ItemRange(lo, hi int, reverse bool, yield func(item []byte) bool) {
	if v.kind != List {
		return
	}
	if v.big != nil {
		each := func(_, item []byte) bool { return yield(item) }
		if reverse {
			v.big.members.Descend(lo, hi, each)
		} else {
			v.big.members.Ascend(lo, hi, each)
		}
		return
	}
	lo, hi = max(lo, 0), min(hi, v.Len())
	if lo >= hi {
		return
	}
	var scratch [256]uint16
	starts := scratch[:0]
	i := skipItems(v.packed, countSize, lo)
	for n := lo; n < hi; n++ {
		if !reverse {
			var it []byte
			if it, i = readItem(v.packed, i); !yield(it) {
				return
			}
			continue
		}
		starts = append(starts, uint16(i))
		_, i = readItem(v.packed, i)
	}
	for _, i := range slices.Backward(starts) {
		if it, _ := readItem(v.packed, int(i)); !yield(it) {
			return
		}
	}
}

// Item returns the item of a list at an index from 0, and whether the list has such an item.
func (v Value) Item(index int) (it []byte, ok bool) {
	if index < 0 {
		return nil, false
	}
	v.ItemRange(index, index+1, false, func(b []byte) bool {
		it, ok = b, true
		return false
	})
	return it, ok
}

// skipItems returns the offset after n items that begin at offset i.
func skipItems(p []byte, i, n int) int {
	for range n {
		_, i = readItem(p, i)
	}
	return i
}

// packedSizeLimit returns an upper bound of the packed size of items in bytes.
func packedSizeLimit(items [][]byte) (size int) {
	for _, it := range items {
		size += len(it) + binary.MaxVarintLen32
	}
	return size
}

// editBigList begins an edit of a large list: that of old, or its packed bytes converted.
func (e *Editor) editBigList(old Value) *Big {
	if old.big != nil {
		e.start()
	} else {
		e.startPacked(old)
	}
	return e.toBig(List, old)
}

// PushItems adds items one after the other to the tail of a list, or to its head. With head, the
// last of the items becomes the first of the list. The zero Value as old makes a new list.
func (e *Editor) PushItems(old Value, items [][]byte, head bool) {
	if old.big != nil || len(old.packed)+packedSizeLimit(items) > maxPackedListBytes {
		e.editBigList(old)
		for _, it := range items {
			e.pushBig(it, head)
		}
		return
	}
	if !head {
		e.startPacked(old)
		for _, it := range items {
			e.Buf = appendItem(e.Buf, it)
		}
	} else {
		e.start()
		e.Buf = append(e.Buf, 0, 0)
		for _, it := range slices.Backward(items) {
			e.Buf = appendItem(e.Buf, it)
		}
		if len(old.packed) > 0 {
			e.Buf = append(e.Buf, old.packed[countSize:]...)
		}
	}
	e.setCount(packedLen(old.packed) + len(items))
}

// pushBig adds an item to the head or the tail of the large list in Big.
func (e *Editor) pushBig(it []byte, head bool) {
	t := &e.Big.members
	at := uint64(firstOrdinal)
	switch n := t.Len(); {
	case n == 0:
	case head:
		if at = e.ordinalAt(0); at == 0 {
			e.renumber()
			at = e.ordinalAt(0)
		}
		at--
	default:
		if at = e.ordinalAt(n-1) + 1; at == ordinalLimit {
			e.renumber()
			at = e.ordinalAt(n-1) + 1
		}
	}
	t.Set(e.ordinalKey(at), it)
}

// keyAt returns a copy of the key at an index. It is valid until the next use of e.key.
func (e *Editor) keyAt(index int) []byte {
	e.Big.members.Ascend(index, index+1, func(k, _ []byte) bool {
		e.key = append(e.key[:0], k...)
		return false
	})
	return e.key
}

// ordinalAt returns the number that the key at an index begins with.
func (e *Editor) ordinalAt(index int) uint64 {
	var number [8]byte
	copy(number[8-ordinalSize:], e.keyAt(index)[:ordinalSize])
	return binary.BigEndian.Uint64(number[:])
}

// ordinalKey returns the key of an ordinal. It is valid until the next use of e.key.
func (e *Editor) ordinalKey(at uint64) []byte {
	var number [8]byte
	binary.BigEndian.PutUint64(number[:], at)
	e.key = append(e.key[:0], number[8-ordinalSize:]...)
	return e.key
}

// renumber gives the items of Big consecutive ordinals.
func (e *Editor) renumber() {
	old := e.Big.members
	e.Nodes.FreeTree(old)
	e.Big.members = e.Nodes.Tree()
	at := uint64(firstOrdinal - old.Len()/2)
	old.Ascend(0, old.Len(), func(_, it []byte) bool {
		e.Big.members.Set(e.ordinalKey(at), it)
		at++
		return true
	})
}

// keyBetween returns a key that is greater than a and smaller than b.
func keyBetween(a, b []byte) []byte {
	c := make([]byte, 0, len(a)+2)
	for i := 0; ; i++ {
		x, y := 0, 256
		if i < len(a) {
			x = int(a[i])
		}
		if i < len(b) {
			y = int(b[i])
		}
		if y-x > 1 {
			c = append(c, byte((x+y)/2))
			break
		}
		c = append(c, byte(x))
		if x < y {
			b = nil // c is smaller than b already, whatever follows
		}
	}
	for len(c) < ordinalSize {
		c = append(c, 0)
	}
	return c
}

// InsertItem inserts an item before the one at index, or at the tail if index is the list's length.
// A greater index is not allowed.
func (e *Editor) InsertItem(old Value, index int, it []byte) {
	if old.big == nil && len(old.packed)+len(it)+binary.MaxVarintLen32 <= maxPackedListBytes {
		e.start()
		at := skipItems(old.packed, countSize, index)
		e.Buf = appendItem(append(e.Buf, old.packed[:at]...), it)
		e.Buf = append(e.Buf, old.packed[at:]...)
		e.setCount(packedLen(old.packed) + 1)
		return
	}
	t := &e.editBigList(old).members
	if index == 0 || index == t.Len() {
		e.pushBig(it, index == 0)
		return
	}
	key := keyBetween(slices.Clone(e.keyAt(index-1)), e.keyAt(index))
	if len(key) > maxOrdinalKey {
		e.renumber()
		key = keyBetween(slices.Clone(e.keyAt(index-1)), e.keyAt(index))
	}
	t.Set(key, it)
}

// SetItem replaces the item at an index that the list has.
func (e *Editor) SetItem(old Value, index int, it []byte) {
	if old.big == nil && len(old.packed)+len(it)+binary.MaxVarintLen32 <= maxPackedListBytes {
		e.start()
		start := skipItems(old.packed, countSize, index)
		_, end := readItem(old.packed, start)
		e.Buf = appendItem(append(e.Buf, old.packed[:start]...), it)
		e.Buf = append(e.Buf, old.packed[end:]...)
		return
	}
	b := e.editBigList(old)
	b.members.Set(e.keyAt(index), it)
}

// TrimItems keeps the items from index lo up to but not including hi. Both must lie within the
// list, and lo must not exceed hi. The result may be an empty list.
func (e *Editor) TrimItems(old Value, lo, hi int) {
	if old.big == nil {
		e.start()
		start := skipItems(old.packed, countSize, lo)
		end := skipItems(old.packed, start, hi-lo)
		e.Buf = append(append(e.Buf, 0, 0), old.packed[start:end]...)
		e.setCount(hi - lo)
		return
	}
	b := e.editBigList(old)
	if n := b.members.Len(); hi-lo < n/2 {
		e.Nodes.FreeTree(b.members)
		b.members = e.Nodes.Tree()
		old.ItemRange(lo, hi, false, func(it []byte) bool {
			e.pushBig(it, false)
			return true
		})
		return
	}
	for b.members.Len() > hi {
		b.members.Delete(e.keyAt(b.members.Len() - 1))
	}
	for range lo {
		b.members.Delete(e.keyAt(0))
	}
}

// RemoveItems removes items that equal it: the first count ones, the last -count ones if count is
// negative, or all if count is 0. It returns the number of items that it has removed. If that is 0,
// there is no result.
func (e *Editor) RemoveItems(old Value, count int, it []byte) (removed int) {
	var found []int
	i, step := 0, 1
	if count < 0 {
		i, step = old.Len()-1, -1
	}
	old.ItemRange(0, old.Len(), count < 0, func(b []byte) bool {
		if bytes.Equal(b, it) {
			found = append(found, i)
		}
		i += step
		return count == 0 || len(found) != max(count, -count)
	})
	if len(found) == 0 {
		return 0
	}
	if count < 0 {
		slices.Reverse(found)
	}
	if old.big != nil {
		b := e.editBigList(old)
		for _, i := range slices.Backward(found) {
			b.members.Delete(e.keyAt(i))
		}
		return len(found)
	}
	e.start()
	e.Buf = append(e.Buf, 0, 0)
	next, n := countSize, 0
	for _, i := range found {
		start := skipItems(old.packed, next, i-n)
		e.Buf = append(e.Buf, old.packed[next:start]...)
		_, next = readItem(old.packed, start)
		n = i + 1
	}
	e.Buf = append(e.Buf, old.packed[next:]...)
	e.setCount(packedLen(old.packed) - len(found))
	return len(found)
}
