package btree

// SetHugeNode changes from which size nodes are built in the arena, until the returned
// function is called.
func SetHugeNode(n int) (restore func()) {
	was := hugeNode
	hugeNode = n
	return func() { hugeNode = was }
}

// Kept returns the bytes of the buffers that are kept from unit to unit, and whether an entry is.
func (s *Nodes) Kept() (bytes int, entries bool) {
	for _, e := range s.scratch[:cap(s.scratch)] {
		entries = entries || len(e) > 64*maxLeafBytes
	}
	return cap(s.newEntry) + cap(s.draft), entries
}
