package pipelines

import "iter"

// dirtyKeyBytes bounds the memory of a touched: one statement may change every row
// of a table while a chunk of it is read. A variable for tests.
var dirtyKeyBytes = 8 << 20

// dirtyKeyCost is about what a key takes in a map besides its bytes.
const dirtyKeyCost = 64

// touched tells which rows of a chunk the stream has changed since F. While the
// chunk is read nobody knows its rows, so every key of the table is noted. When
// that gets too much, only the rows of the chunk count if they are known by then;
// else the chunk is lost, and read again with its rows known from the start.
type dirtyKeys struct {
	seen map[string]struct{} // keys that were changed
	size int                 // of noted
	// left, once not nil, takes the place of noted: the keys of the chunk's rows
	// that were not changed.
	clean map[string]struct{}
	// lost says that a chunk with rows must be read again: what was changed is not
	// known.
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

// narrow forgets all but the rows of the chunk.
func (d *dirtyKeys) restrictTo(rows iter.Seq[[]byte]) {
	clean := make(map[string]struct{})
	for key := range rows {
		if !d.contains(key) {
			clean[string(key)] = struct{}{}
		}
	}
	*d = dirtyKeys{clean: clean}
}

func (d *dirtyKeys) overflow() { *d = dirtyKeys{overflowed: true} }

// has reports whether a row of the chunk was changed.
func (d *dirtyKeys) contains(key []byte) bool {
	if d.clean != nil {
		_, ok := d.clean[string(key)]
		return !ok
	}
	_, ok := d.seen[string(key)]
	return ok
}
