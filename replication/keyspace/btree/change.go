package btree

import "rowfall/replication/keyspace/arena"

// sibling is a new node that a change has made to the right of an existing node.
type sibling struct {
	at    arena.Addr
	count int    // entries in or under it
	low   []byte // a lower bound of its keys, greater than all keys to the left
}

// setUnder inserts s.newEntry, whose key is key, in or under the node at `at`, and splits nodes
// that become too large. It returns the node that replaces `at`, the new siblings to its right,
// and whether the key is new.
func (s *Nodes) setUnder(
	at arena.Addr, key []byte,
) (self arena.Addr, more []sibling, added bool, err error) {
	n := s.node(at)
	if n.isLeaf() {
		return s.setInLeaf(at, n, key)
	}
	c := n.childIndex(key)
	child, count := n.childAt(c)
	newChild, more, added, err := s.setUnder(child, key)
	if err != nil {
		return 0, nil, false, err
	}
	if newChild == child && len(more) == 0 && !added {
		return at, nil, false, nil
	}
	if at, n, err = s.writable(at); err != nil {
		return 0, nil, false, err
	}
	switch {
	case len(more) > 0:
		count = s.node(newChild).entryCount()
	case added:
		count++
	}
	n.setChild(c, newChild, count)
	if len(more) == 0 {
		return at, nil, added, nil
	}
	var entries [][]byte
	for _, m := range more {
		entries = append(entries, appendChild(nil, m.at, m.count, m.low))
	}
	if at, err = s.replaceEntries(at, c+1, c+1, entries...); err != nil {
		return 0, nil, false, err
	}
	if n = s.node(at); n.count() <= maxChildren {
		return at, nil, added, nil
	}
	cut := n.count() / 2
	if c+1+len(more) == n.count() {
		cut = n.count() - 2 // ascending inserts leave full nodes to the left
	}
	right, all := sibling{low: append([]byte(nil), n.lowKey(cut)...)}, n.count()
	if right.at, err = s.newNode(n[levelOffset], s.rawEntries(n, cut, all)); err != nil {
		return 0, nil, false, err
	}
	right.count = s.node(right.at).entryCount()
	at, err = s.replaceEntries(at, cut, all)
	return at, []sibling{right}, added, err
}

// rawEntries returns the encoded entries of a node, from i up to but not including j, in s.scratch.
func (s *Nodes) rawEntries(n node, i, j int) [][]byte {
	s.scratch = s.scratch[:0]
	for ; i < j; i++ {
		s.scratch = append(s.scratch, n.rawEntry(i))
	}
	return s.scratch
}

// setInLeaf is setUnder for a leaf.
func (s *Nodes) setInLeaf(
	at arena.Addr, n node, key []byte,
) (self arena.Addr, more []sibling, added bool, err error) {
	i, found := n.find(key)
	j := i
	if found {
		if string(n.rawEntry(i)) == string(s.newEntry) {
			return at, nil, false, nil
		}
		j++
	}
	count, size := n.count()+1-(j-i), n.size()+len(s.newEntry)-(n.start(j)-n.start(i))
	if count <= maxLeafEntries && size <= maxLeafBytes || count == 1 {
		at, err = s.replaceEntries(at, i, j, s.newEntry)
		return at, nil, !found, err
	}
	// Distribute the entries over two leaves, or three if one entry is long.
	s.scratch = s.rawEntries(n, 0, i)
	s.scratch = append(s.scratch, s.newEntry)
	for k := j; k < n.count(); k++ {
		s.scratch = append(s.scratch, n.rawEntry(k))
	}
	cuts := splitPoints(s.scratch, size, i)
	first, err := s.newNode(0, s.scratch[:cuts[0]])
	if err != nil {
		return 0, nil, false, err
	}
	for k, from := range cuts {
		to := len(s.scratch)
		if k+1 < len(cuts) {
			to = cuts[k+1]
		}
		low := separator(s.scratch[from-1], s.scratch[from])
		right, err := s.newNode(0, s.scratch[from:to])
		if err != nil {
			return 0, nil, false, err
		}
		more = append(more, sibling{right, to - from, low})
	}
	s.discardNode(at)
	return first, more, !found, nil
}

// splitPoints returns the indexes at which a leaf that has become too large is split. entries has
// size bytes together, and the entry at index inserted is new. There are three cases:
//   - The new entry is the last one: it gets a leaf of its own, so that ascending inserts leave
//     full leaves to the left.
//   - Otherwise the leaf is split where the two parts are closest in size.
//   - If no split in two gives leaves of allowed size, the new entry is long and gets its own leaf.
func splitPoints(entries [][]byte, size, inserted int) []int {
	last := len(entries) - 1
	if inserted == last && fitsLeaf(size-len(entries[last]), last) {
		return []int{last}
	}
	best, least := 0, size
	left := 0
	for i := 1; i <= last; i++ {
		left += len(entries[i-1])
		off := max(left, size-left) - size/2
		if off < least && fitsLeaf(left, i) && fitsLeaf(size-left, last+1-i) {
			best, least = i, off
		}
	}
	switch {
	case best > 0:
		return []int{best}
	case inserted == 0:
		return []int{1}
	case inserted == last:
		return []int{last}
	}
	return []int{inserted, inserted + 1}
}

// fitsLeaf reports whether a leaf may have count entries of size bytes together.
func fitsLeaf(size, count int) bool {
	return count == 1 || size <= maxLeafBytes && count <= maxLeafEntries
}

// separator returns the shortest key that is greater than the key of entry `left` and not greater
// than the key of entry `right`, the next one.
func separator(left, right []byte) []byte {
	last, first := keyOf(left), keyOf(right)
	same := 0
	for same < len(last) && last[same] == first[same] {
		same++
	}
	return append([]byte(nil), first[:same+1]...)
}

// removeUnder deletes a key that exists in or under a node. It returns the node that replaces `at`,
// or 0 if no entry is left.
func (s *Nodes) removeUnder(at arena.Addr, key []byte) (arena.Addr, error) {
	n := s.node(at)
	if n.isLeaf() {
		if n.count() == 1 {
			s.discardNode(at)
			return 0, nil
		}
		i, _ := n.find(key)
		return s.replaceEntries(at, i, i+1)
	}
	c := n.childIndex(key)
	child, count := n.childAt(c)
	newChild, err := s.removeUnder(child, key)
	if err != nil {
		return 0, err
	}
	if newChild == 0 {
		if n.count() == 1 {
			s.discardNode(at)
			return 0, nil
		}
		return s.replaceEntries(at, c, c+1)
	}
	if at, n, err = s.writable(at); err != nil {
		return 0, err
	}
	n.setChild(c, newChild, count-1)
	switch {
	case c > 0 && s.canMerge(n, c-1):
		return s.mergeChildren(at, c-1)
	case c+1 < n.count() && s.canMerge(n, c):
		return s.mergeChildren(at, c)
	}
	return at, nil
}

// canMerge reports whether child c of a node and the child after it are small enough to become one
// node that is at most half full.
func (s *Nodes) canMerge(n node, c int) bool {
	left, _ := n.childAt(c)
	right, _ := n.childAt(c + 1)
	a, b := s.node(left), s.node(right)
	if !a.isLeaf() {
		return a.count()+b.count() <= maxChildren/2
	}
	return a.count()+b.count() <= maxLeafEntries/2 && a.size()+b.size() <= maxLeafBytes/2
}

// mergeChildren replaces child c of a node and the child after it by one node.
func (s *Nodes) mergeChildren(at arena.Addr, c int) (arena.Addr, error) {
	n := s.node(at)
	left, leftCount := n.childAt(c)
	right, rightCount := n.childAt(c + 1)
	a, b := s.node(left), s.node(right)
	entries := s.rawEntries(a, 0, a.count())
	for i := range b.count() {
		e := b.rawEntry(i)
		if i == 0 && !b.isLeaf() {
			first, count := b.childAt(0)
			e = appendChild(nil, first, count, n.lowKey(c+1))
		}
		entries = append(entries, e)
	}
	s.scratch = entries
	merged, err := s.newNode(a[levelOffset], entries)
	if err != nil {
		return 0, err
	}
	s.discardNode(left)
	s.discardNode(right)
	return s.replaceEntries(at, c, c+2, appendChild(nil, merged, leftCount+rightCount, n.lowKey(c)))
}
