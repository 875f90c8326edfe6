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
func (s *Nodes) set(at arena.Addr, key []byte) (self arena.Addr, more []sibling, added bool) {
	n := s.at(at)
	if n.leaf() {
		return s.setLeaf(at, n, key)
	}
	c := n.child(key)
	was, count := n.kid(c)
	kid, more, added := s.set(was, key)
	if kid == was && len(more) == 0 && !added {
		return at, nil, false
	}
	at, n = s.own(at)
	switch {
	case len(more) > 0:
		count = s.at(kid).total()
	case added:
		count++
	}
	n.setKid(c, kid, count)
	if len(more) == 0 {
		return at, nil, added
	}
	var kids [][]byte
	for _, k := range more {
		kids = append(kids, appendKid(nil, k.at, k.count, k.low))
	}
	at = s.splice(at, c+1, c+1, kids...)
	if n = s.at(at); n.count() <= maxKids {
		return at, nil, added
	}
	cut := n.count() / 2
	if c+1+len(more) == n.count() {
		cut = n.count() - 2 // ascending inserts leave full nodes behind
	}
	right, all := sibling{low: append([]byte(nil), n.low(cut)...)}, n.count()
	right.at = s.make(n[levelAt], s.rawFrom(n, cut, all))
	right.count = s.at(right.at).total()
	return s.splice(at, cut, all), []sibling{right}, added
}

// rawFrom returns entries of a node, from i up to but not including j.
func (s *Nodes) rawFrom(n node, i, j int) [][]byte {
	s.list = s.list[:0]
	for ; i < j; i++ {
		s.list = append(s.list, n.raw(i))
	}
	return s.list
}

func (s *Nodes) setLeaf(at arena.Addr, n node, key []byte) (self arena.Addr, more []sibling, added bool) {
	i, found := n.find(key)
	j := i
	if found {
		if string(n.raw(i)) == string(s.entry) {
			return at, nil, false
		}
		j++
	}
	count, size := n.count()+1-(j-i), n.size()+len(s.entry)-(n.start(j)-n.start(i))
	if count <= maxEntries && size <= maxBytes || count == 1 {
		return s.splice(at, i, j, s.entry), nil, !found
	}
	// The entries as they shall be, in two leaves, or three if one of them is long.
	s.list = s.rawFrom(n, 0, i)
	s.list = append(s.list, s.entry)
	for k := j; k < n.count(); k++ {
		s.list = append(s.list, n.raw(k))
	}
	cuts := cutsOf(s.list, size, i)
	first := s.make(0, s.list[:cuts[0]])
	for k, from := range cuts {
		to := len(s.list)
		if k+1 < len(cuts) {
			to = cuts[k+1]
		}
		more = append(more, sibling{s.make(0, s.list[from:to]), to - from, separator(s.list[from-1], s.list[from])})
	}
	s.discard(at)
	return first, more, !found
}

// cutsOf returns where a leaf of too many or too long entries is cut: where the two parts are
// most alike in size; before the last entry if that is the new one, so that ascending inserts
// leave full leaves behind; or before and behind the new one if it does not go with others.
func cutsOf(entries [][]byte, size, inserted int) []int {
	last := len(entries) - 1
	if inserted == last && fits(size-len(entries[last]), last) {
		return []int{last}
	}
	best, least := 0, size
	left := 0
	for i := 1; i <= last; i++ {
		left += len(entries[i-1])
		off := max(left, size-left) - size/2
		if off < least && fits(left, i) && fits(size-left, last+1-i) {
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
func fits(size, count int) bool { return count == 1 || size <= maxBytes && count <= maxEntries }

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
func (s *Nodes) remove(at arena.Addr, key []byte) arena.Addr {
	n := s.at(at)
	if n.leaf() {
		if n.count() == 1 {
			s.discard(at)
			return 0
		}
		i, _ := n.find(key)
		return s.splice(at, i, i+1)
	}
	c := n.child(key)
	was, count := n.kid(c)
	kid := s.remove(was, key)
	if kid == 0 {
		if n.count() == 1 {
			s.discard(at)
			return 0
		}
		return s.splice(at, c, c+1)
	}
	at, n = s.own(at)
	n.setKid(c, kid, count-1)
	switch {
	case c > 0 && s.mergeable(n, c-1):
		return s.merge(at, c-1)
	case c+1 < n.count() && s.mergeable(n, c):
		return s.merge(at, c)
	}
	return at
}

// mergeable asks whether child c of a node and the next one have become so small that one node
// with room to spare holds both.
func (s *Nodes) mergeable(n node, c int) bool {
	left, _ := n.kid(c)
	right, _ := n.kid(c + 1)
	a, b := s.at(left), s.at(right)
	if !a.leaf() {
		return a.count()+b.count() <= maxKids/2
	}
	return a.count()+b.count() <= maxEntries/2 && a.size()+b.size() <= maxBytes/2
}

// merge makes one child of child c of a node and the next one.
func (s *Nodes) merge(at arena.Addr, c int) arena.Addr {
	n := s.at(at)
	left, lefts := n.kid(c)
	right, rights := n.kid(c + 1)
	a, b := s.at(left), s.at(right)
	entries := s.rawFrom(a, 0, a.count())
	for i := range b.count() {
		e := b.raw(i)
		if i == 0 && !b.leaf() {
			kid, count := b.kid(0)
			e = appendKid(nil, kid, count, n.low(c+1))
		}
		entries = append(entries, e)
	}
	s.list = entries
	both := s.make(a[levelAt], entries)
	s.discard(left)
	s.discard(right)
	return s.splice(at, c, c+2, appendKid(nil, both, lefts+rights, n.low(c)))
}
