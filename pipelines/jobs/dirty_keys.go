package jobs

import "iter"

// dirtyKeyCost estimates the memory of a key in a map, besides the key's bytes.
const dirtyKeyCost = 64

// dirtyKeys records the row keys that the stream changes between a chunk's start and its fence.
// Rows with these keys are discarded from the chunk.
//
// While the SELECT runs, the chunk's rows are unknown, so every changed key of the table is
// recorded. When the keys exceed Config.DirtyKeyBytes, they are restricted to the chunk's own rows
// if those are known by then. Otherwise the set overflows, and the chunk must be read again.
type dirtyKeys struct {
	seen map[string]struct{} // changed keys
	size int                 // estimated memory of seen
	// clean replaces seen once it is not nil: the keys of the chunk's rows that did not change.
	clean map[string]struct{}
	// overflowed means that the changed keys are unknown.
	overflowed bool
}

func (d *dirtyKeys) add(key []byte) {
	if d.clean != nil {
		delete(d.clean, string(key))
		return
	}
	if _, ok := d.seen[string(key)]; ok {
		return
	}
	if d.seen == nil {
		d.seen = make(map[string]struct{})
	}
	d.seen[string(key)] = struct{}{}
	d.size += len(key) + dirtyKeyCost
}

// restrictTo discards all keys but those of the chunk's rows.
func (d *dirtyKeys) restrictTo(rows iter.Seq[[]byte]) {
	clean := make(map[string]struct{})
	for key := range rows {
		if !d.contains(key) {
			clean[string(key)] = struct{}{}
		}
	}
	*d = dirtyKeys{clean: clean}
}

// overflow discards all keys.
func (d *dirtyKeys) overflow() { *d = dirtyKeys{overflowed: true} }

// isEmpty reports whether contains returns false for every row.
func (d *dirtyKeys) isEmpty() bool { return d.clean == nil && len(d.seen) == 0 }

// contains reports whether a row of the chunk was changed.
func (d *dirtyKeys) contains(key []byte) bool {
	if d.clean != nil {
		_, ok := d.clean[string(key)]
		return !ok
	}
	_, ok := d.seen[string(key)]
	return ok
}
