package btree

import "rowfall/replication/keyspace/arena"

// sibling is a node that a change has made behind another one.
type sibling struct {
	at    arena.Addr
	count int // entries in or under it
	low   []byte
}

// set puts the entry that is ready, whose key is given, in or under a node. It returns
// the node in its place, those that come behind it now, and whether the key is new.
func (s *Nodes) setUnder(at arena.Addr, key []byte) (self arena.Addr, more []sibling, added bool) {
	n := s.node(at)
	if n.isLeaf() {
		return s.setInLeaf(at, n, key)
	}
	c := n.childIndex(key)
	was, count := n.childAt(c)
	kid, more, added := s.setUnder(was, key)
	if kid == was && len(more) == 0 && !added {
		return at, nil, false
	}
	at, n = s.writable(at)
	switch {
	case len(more) > 0:
		count = s.node(kid).entryCount()
	case added:
		count++
	}
	n.setChild(c, kid, count)
	if len(more) == 0 {
		return at, nil, added
	}
	var kids [][]byte
	for _, k := range more {
		kids = append(kids, appendChild(nil, k.at, k.count, k.low))
	}
	at = s.replaceEntries(at, c+1, c+1, kids...)
	if n = s.node(at); n.count() <= maxChildren {
		return at, nil, added
	}
	cut := n.count() / 2
	if c+1+len(more) == n.count() {
		cut = n.count() - 2 // ascending inserts leave full nodes behind
	}
	right, all := sibling{low: append([]byte(nil), n.lowKey(cut)...)}, n.count()
	right.at = s.newNode(n[levelOffset], s.rawEntries(n, cut, all))
	right.count = s.node(right.at).entryCount()
	return s.replaceEntries(at, cut, all), []sibling{right}, added
}

// rawFrom returns entries of a node, from i up to but not including j.
func (s *Nodes) rawEntries(n node, i, j int) [][]byte {
	s.scratch = s.scratch[:0]
	for ; i < j; i++ {
		s.scratch = append(s.scratch, n.rawEntry(i))
	}
	return s.scratch
}

func (s *Nodes) setInLeaf(at arena.Addr, n node, key []byte) (self arena.Addr, more []sibling, added bool) {
	i, found := n.find(key)
	j := i
	if found {
		if string(n.rawEntry(i)) == string(s.newEntry) {
			return at, nil, false
		}
		j++
	}
	count, size := n.count()+1-(j-i), n.size()+len(s.newEntry)-(n.start(j)-n.start(i))
	if count <= maxLeafEntries && size <= maxLeafBytes || count == 1 {
		return s.replaceEntries(at, i, j, s.newEntry), nil, !found
	}
	// The entries as they shall be, in two leaves, or three if one of them is long.
	s.scratch = s.rawEntries(n, 0, i)
	s.scratch = append(s.scratch, s.newEntry)
	for k := j; k < n.count(); k++ {
		s.scratch = append(s.scratch, n.rawEntry(k))
	}
	cuts := splitPoints(s.scratch, size, i)
	first := s.newNode(0, s.scratch[:cuts[0]])
	for k, from := range cuts {
		to := len(s.scratch)
		if k+1 < len(cuts) {
			to = cuts[k+1]
		}
		more = append(more, sibling{s.newNode(0, s.scratch[from:to]), to - from, separator(s.scratch[from-1], s.scratch[from])})
	}
	s.discardNode(at)
	return first, more, !found
}

// cutsOf returns where a leaf of too many or too long entries is cut: where the two parts are
// most alike in size; before the last entry if that is the new one, so that ascending inserts
// leave full leaves behind; or before and behind the new one if it does not go with others.
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

// fits asks whether so many bytes of so many entries may be a leaf.
func fitsLeaf(size, count int) bool {
	return count == 1 || size <= maxLeafBytes && count <= maxLeafEntries
}

// separator returns the shortest key that is greater than the key of one entry of a leaf and not
// greater than that of the next one.
func separator(before, behind []byte) []byte {
	last, first := keyOf(before), keyOf(behind)
	same := 0
	for same < len(last) && last[same] == first[same] {
		same++
	}
	return append([]byte(nil), first[:same+1]...)
}

// remove deletes a key that is in or under a node, and returns the node in its place, 0
// if nothing is left.
func (s *Nodes) removeUnder(at arena.Addr, key []byte) arena.Addr {
	n := s.node(at)
	if n.isLeaf() {
		if n.count() == 1 {
			s.discardNode(at)
			return 0
		}
		i, _ := n.find(key)
		return s.replaceEntries(at, i, i+1)
	}
	c := n.childIndex(key)
	was, count := n.childAt(c)
	kid := s.removeUnder(was, key)
	if kid == 0 {
		if n.count() == 1 {
			s.discardNode(at)
			return 0
		}
		return s.replaceEntries(at, c, c+1)
	}
	at, n = s.writable(at)
	n.setChild(c, kid, count-1)
	switch {
	case c > 0 && s.canMerge(n, c-1):
		return s.mergeChildren(at, c-1)
	case c+1 < n.count() && s.canMerge(n, c):
		return s.mergeChildren(at, c)
	}
	return at
}

// mergeable asks whether child c of a node and the next one have become so small that one node
// with room to spare holds both.
func (s *Nodes) canMerge(n node, c int) bool {
	left, _ := n.childAt(c)
	right, _ := n.childAt(c + 1)
	a, b := s.node(left), s.node(right)
	if !a.isLeaf() {
		return a.count()+b.count() <= maxChildren/2
	}
	return a.count()+b.count() <= maxLeafEntries/2 && a.size()+b.size() <= maxLeafBytes/2
}

// merge makes one child of child c of a node and the next one.
func (s *Nodes) mergeChildren(at arena.Addr, c int) arena.Addr {
	n := s.node(at)
	left, lefts := n.childAt(c)
	right, rights := n.childAt(c + 1)
	a, b := s.node(left), s.node(right)
	entries := s.rawEntries(a, 0, a.count())
	for i := range b.count() {
		e := b.rawEntry(i)
		if i == 0 && !b.isLeaf() {
			kid, count := b.childAt(0)
			e = appendChild(nil, kid, count, n.lowKey(c+1))
		}
		entries = append(entries, e)
	}
	s.scratch = entries
	both := s.newNode(a[levelOffset], entries)
	s.discardNode(left)
	s.discardNode(right)
	return s.replaceEntries(at, c, c+2, appendChild(nil, both, lefts+rights, n.lowKey(c)))
}
