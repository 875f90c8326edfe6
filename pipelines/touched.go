package pipelines

import "iter"

// touchedBytes bounds the memory of a touched: one statement may change every row
// of a table while a chunk of it is read. A variable for tests.
var touchedBytes = 8 << 20

// touchedCost is about what a key takes in a map besides its bytes.
const touchedCost = 64

// touched tells which rows of a chunk the stream has changed since F. While the
// chunk is read nobody knows its rows, so every key of the table is noted. When
// that gets too much, only the rows of the chunk count if they are known by then;
// else the chunk is lost, and read again with its rows known from the start.
type touched struct {
	noted map[string]struct{} // keys that were changed
	size  int                 // of noted
	// left, once not nil, takes the place of noted: the keys of the chunk's rows
	// that were not changed.
	left map[string]struct{}
	// lost says that a chunk with rows must be read again: what was changed is not
	// known.
	lost bool
}

func (t *touched) note(key []byte) {
	if t.left != nil {
		delete(t.left, string(key))
		return
	}
	if _, ok := t.noted[string(key)]; ok {
		return
	}
	if t.noted == nil {
		t.noted = make(map[string]struct{})
	}
	t.noted[string(key)] = struct{}{}
	t.size += len(key) + touchedCost
}

// narrow forgets all but the rows of the chunk.
func (t *touched) narrow(rows iter.Seq[[]byte]) {
	left := make(map[string]struct{})
	for key := range rows {
		if !t.has(key) {
			left[string(key)] = struct{}{}
		}
	}
	*t = touched{left: left}
}

func (t *touched) lose() { *t = touched{lost: true} }

// has reports whether a row of the chunk was changed.
func (t *touched) has(key []byte) bool {
	if t.left != nil {
		_, ok := t.left[string(key)]
		return !ok
	}
	_, ok := t.noted[string(key)]
	return ok
}
