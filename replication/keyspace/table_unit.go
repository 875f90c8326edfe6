package keyspace

import "rowfall/replication/keyspace/arena"

// This file keeps the slots that Stage finds, so that Publish does not look the keys up again.
// While a unit is staged, no slot of a shard changes, but the shard may be split, resized or
// copied. And the first changes that Publish makes can move the slots of later changes. So each
// slot is only a hint, which Publish verifies by the address in the slot.

// keySlot is where a key was found in the table.
type keySlot struct {
	hash  uint64
	shard *shard // nil: the key was not looked up
	// slot is the first slot of shard with the tag of the hash, and at is the address in it. at is
	// 0 if no slot has the tag. Another key can have the same tag.
	slot int
	at   arena.Addr
}

// seekTag returns the first slot with the tag of a hash, and the record's address in it. at is 0 if
// no slot has the tag, so no key has the hash.
func (s *shard) seekTag(hash uint64) (i int, at arena.Addr) {
	tag := s.tagOf(hash)
	for i = s.home(tag); ; i++ {
		switch e := s.slots.at(i); {
		case e == 0 || e.tag() > tag:
			return i, 0
		case e.tag() == tag:
			return i, e.at()
		}
	}
}

// replaceOld replaces the old record of a change by the new one without reading either. It returns
// false, and changes nothing, if one of the two has trees: then the caller calls put. It needs the
// write lock.
func (t *table) replaceOld(c *change) bool {
	if c.big != nil || c.old.isBig() {
		return false
	}
	s := t.unpinned(c.hash)
	i, ok := s.slotAt(int(c.oldSlot), c.hash, c.oldAt)
	if ok {
		s.slots.set(i, slotOf(s.slots.at(i).tag(), c.at))
	}
	return ok
}

// removeOld deletes the key of a change, whose old record must be present. It needs the write lock.
func (t *table) removeOld(c *change) {
	s := t.unpinned(c.hash)
	i, _ := s.slotAt(int(c.oldSlot), c.hash, c.oldAt)
	if c.old.isBig() {
		delete(s.bigs, c.old.key())
	}
	s.remove(i)
}

// slotAt returns the slot that holds an address, given the hash of its key. hint is where the slot
// was last.
func (s *shard) slotAt(hint int, hash uint64, at arena.Addr) (int, bool) {
	if hint < s.slots.len() && s.slots.at(hint) == slotOf(s.tagOf(hash), at) {
		return hint, true
	}
	return s.locateAt(hash, at)
}
