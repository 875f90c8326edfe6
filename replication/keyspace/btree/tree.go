package btree

import "rowfall/replication/keyspace/arena"

// Tree is an ordered map from byte strings to byte strings. Its zero value cannot be used; see
// Nodes.Tree. Entries are numbered by rank, from 0 in the order of keys.
type Tree struct {
	nodes *Nodes
	root  arena.Addr // 0 if the tree is empty
	len   int
}

// Len returns the number of entries.
func (t *Tree) Len() int { return t.len }

// Get returns the value of key. The value is read-only.
func (t *Tree) Get(key []byte) (value []byte, ok bool) {
	if t.root == 0 {
		return nil, false
	}
	n := t.nodes.node(t.root)
	for !n.isLeaf() {
		child, _ := n.childAt(n.childIndex(key))
		n = t.nodes.node(child)
	}
	i, ok := n.find(key)
	if !ok {
		return nil, false
	}
	_, value = n.entry(i)
	return value, true
}

// Rank returns the number of keys smaller than key, and whether the tree has key.
func (t *Tree) Rank(key []byte) (rank int, found bool) {
	if t.root == 0 {
		return 0, false
	}
	n := t.nodes.node(t.root)
	for !n.isLeaf() {
		c := n.childIndex(key)
		for i := range c {
			_, count := n.childAt(i)
			rank += count
		}
		child, _ := n.childAt(c)
		n = t.nodes.node(child)
	}
	i, found := n.find(key)
	return rank + i, found
}

// Set inserts or replaces an entry and reports whether the key is new. Key and value are copied.
// Setting the value that an entry has changes nothing. Set must be called in a unit; if that has
// failed (see Nodes.Err), the tree becomes empty.
func (t *Tree) Set(key, value []byte) (added bool) {
	if t.nodes.err == nil {
		added, t.nodes.err = t.set(key, value)
	}
	if t.nodes.err != nil {
		t.clear()
		return false
	}
	return added
}

// clear makes the tree empty because its unit has failed.
func (t *Tree) clear() { t.root, t.len = 0, 0 }

func (t *Tree) set(key, value []byte) (added bool, err error) {
	s := t.nodes
	s.newEntry = appendEntry(s.newEntry[:0], key, value)
	if t.root == 0 {
		s.scratch = append(s.scratch[:0], s.newEntry)
		t.root, err = s.newNode(0, s.scratch)
		t.len = 1
		return true, err
	}
	root, more, added, err := s.setUnder(t.root, key)
	if err != nil {
		return false, err
	}
	if added {
		t.len++
	}
	if len(more) > 0 {
		level := s.node(root)[levelOffset] + 1
		entries := [][]byte{appendChild(nil, root, s.node(root).entryCount(), nil)}
		for _, m := range more {
			entries = append(entries, appendChild(nil, m.at, m.count, m.low))
		}
		if root, err = s.newNode(level, entries); err != nil {
			return false, err
		}
	}
	t.root = root
	return added, nil
}

// Delete removes an entry and reports whether it existed. It must be called in a unit; if that has
// failed (see Nodes.Err), the tree becomes empty.
func (t *Tree) Delete(key []byte) bool {
	if t.nodes.err != nil {
		t.clear()
		return false
	}
	if _, ok := t.Get(key); !ok {
		return false
	}
	s := t.nodes
	root, err := s.removeUnder(t.root, key)
	if err != nil {
		s.err = err
		t.clear()
		return false
	}
	for root != 0 {
		n := s.node(root)
		if n.isLeaf() || n.count() > 1 {
			break
		}
		child, _ := n.childAt(0)
		s.discardNode(root)
		root = child
	}
	t.root = root
	t.len--
	return true
}

// Clone copies the tree with all of its nodes. It must be called in a unit; if that has failed (see
// Nodes.Err), the copy is empty.
func (t *Tree) Clone() Tree {
	c, s := *t, t.nodes
	if s.err == nil && c.root != 0 {
		c.root, s.err = s.cloneSubtree(t.root)
	}
	if s.err != nil {
		c.clear()
	}
	return c
}

// Size returns the bytes of memory that the nodes use. It visits all of them.
func (t *Tree) Size() int64 {
	if t.root == 0 {
		return 0
	}
	return t.nodes.subtreeSize(t.root)
}

func (s *Nodes) subtreeSize(at arena.Addr) int64 {
	n := s.node(at)
	size := int64(s.arena.BlockSize(len(n)))
	if !n.isLeaf() {
		for i := range n.count() {
			child, _ := n.childAt(i)
			size += s.subtreeSize(child)
		}
	}
	return size
}

// Ascend yields the entries of rank lo up to but not including hi in ascending order, until yield
// returns false. Ranks outside of the tree are skipped. Key and value are read-only.
func (t *Tree) Ascend(lo, hi int, yield func(key, value []byte) bool) {
	lo, hi = max(lo, 0), min(hi, t.len)
	if lo < hi {
		t.nodes.ascend(t.root, lo, hi, yield)
	}
}

// Descend yields the entries from rank hi-1 down to lo, otherwise as Ascend does.
func (t *Tree) Descend(lo, hi int, yield func(key, value []byte) bool) {
	lo, hi = max(lo, 0), min(hi, t.len)
	if lo < hi {
		t.nodes.descend(t.root, t.len, lo, hi, yield)
	}
}

func (s *Nodes) ascend(at arena.Addr, lo, hi int, yield func(key, value []byte) bool) bool {
	n := s.node(at)
	if n.isLeaf() {
		for i := lo; i < hi; i++ {
			if !yield(n.entry(i)) {
				return false
			}
		}
		return true
	}
	for i := 0; hi > 0 && i < n.count(); i++ {
		child, count := n.childAt(i)
		if lo < count && !s.ascend(child, max(lo, 0), min(hi, count), yield) {
			return false
		}
		lo, hi = lo-count, hi-count
	}
	return true
}

// descend yields entries in or under a node, which are `total` together.
func (s *Nodes) descend(at arena.Addr, total, lo, hi int, yield func(key, value []byte) bool) bool {
	n := s.node(at)
	if n.isLeaf() {
		for i := hi - 1; i >= lo; i-- {
			if !yield(n.entry(i)) {
				return false
			}
		}
		return true
	}
	end := total
	for i := n.count() - 1; i >= 0 && end > lo; i-- {
		child, count := n.childAt(i)
		start := end - count
		if start < hi && !s.descend(child, count, max(lo-start, 0), min(hi-start, count), yield) {
			return false
		}
		end = start
	}
	return true
}
