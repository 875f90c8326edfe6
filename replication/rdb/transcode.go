package rdb

import (
	"errors"
	"fmt"
	"io"
)

// Transcode copies a file that Write made for servers before Redis 7.0, which do not know all its types: packed hashes and
// sorted sets become single fields and members, and streams lose what only newer servers know of them. The rest goes through as it is.
// It checks the checksum and makes a new one, holds one packed value at most, and writes the last bytes only if all was right.
// lossy is the number of streams whose entries-added or max-deleted-entry-id a newer server would not compute from the copy.
func Transcode(w io.Writer, r io.Reader) (lossy int, err error) {
	t := &transcoder{
		d: decoder{r: r, buf: make([]byte, 0, readSize)},
		e: encoder{w: w, buf: make([]byte, 0, 2*flushSize)},
	}
	err = t.file()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = t.e.finish()
	}
	if err != nil {
		return t.lossy, fmt.Errorf("transcode snapshot at byte %d: %w", t.d.base+int64(t.d.at), err)
	}
	return t.lossy, nil
}

type transcoder struct {
	d   decoder
	e   encoder
	err error // a score that is none

	lossy int // streams so far
}

// file copies everything up to the checksum.
func (t *transcoder) file() error {
	head, err := t.d.fixed(uint64(len(magic)))
	if err != nil {
		return err
	}
	if string(head) != magic {
		return fmt.Errorf("it begins with %q, want %q", head, magic)
	}
	t.e.buf = append(t.e.buf, magic...)
	for {
		op, err := t.d.byte()
		if err != nil {
			return err
		}
		switch op {
		case opEOF:
			return t.d.checksum()
		case opAux:
			err = t.copy(op, 2, 0)
		case opExpireMs:
			t.e.buf = append(t.e.buf, op)
			err = t.bytes(8)
		case opSelect:
			err = t.copy(op, 0, 1)
		case opResize:
			err = t.copy(op, 0, 2)
		case typeString, typeSetInts:
			err = t.copy(op, 2, 0)
		case typeList, typeSet:
			err = t.collection(op, 1, 0)
		case typeHash:
			err = t.collection(op, 2, 0)
		case typeSortedSet2:
			err = t.collection(op, 1, 8)
		case typeHashPack, typeSortedSetPack:
			err = t.packed(op)
		case typeStream2:
			err = t.stream()
		default:
			err = fmt.Errorf("it has type %d, which Write does not write", op)
		}
		if err == nil {
			err = t.e.err
		}
		if err != nil {
			return err
		}
	}
}

// copy copies texts and then lengths, behind op.
func (t *transcoder) copy(op byte, texts, lengths int) error {
	t.e.buf = append(t.e.buf, op)
	for range texts {
		if err := t.text(); err != nil {
			return err
		}
	}
	for range lengths {
		if _, err := t.length(); err != nil {
			return err
		}
	}
	return nil
}

// collection copies a key and its elements, each of them some texts and some bytes.
func (t *transcoder) collection(kind byte, texts int, size uint64) error {
	if err := t.copy(kind, 1, 0); err != nil {
		return err
	}
	n, err := t.length()
	if err != nil {
		return err
	}
	for range n {
		for range texts {
			if err := t.text(); err != nil {
				return err
			}
		}
		if err := t.bytes(size); err != nil {
			return err
		}
	}
	return nil
}

// length copies a length.
func (t *transcoder) length() (uint64, error) {
	n, err := t.d.count()
	if err == nil {
		t.e.length(n)
	}
	return n, err
}

// text copies a string in the form that it has.
func (t *transcoder) text() error {
	n, special, err := t.d.length()
	if err != nil {
		return err
	}
	if special && n > specialInt32 {
		return fmt.Errorf("string of form %d, which Write does not write", n)
	}
	if special {
		t.e.buf = append(t.e.buf, lenSpecial|byte(n))
		return t.bytes(1 << n)
	}
	t.e.length(n)
	return t.bytes(n)
}

// bytes copies n bytes.
func (t *transcoder) bytes(n uint64) error {
	for n > 0 {
		if t.d.at == len(t.d.buf) {
			if err := t.d.more(); err != nil {
				return err
			}
		}
		k := int(min(n, uint64(len(t.d.buf)-t.d.at)))
		t.e.buf = append(t.e.buf, t.d.buf[t.d.at:t.d.at+k]...)
		t.d.at, n = t.d.at+k, n-uint64(k)
		if len(t.e.buf) >= flushSize {
			if err := t.e.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// packed writes the elements of a listpack one by one.
func (t *transcoder) packed(kind byte) (err error) {
	d, e := &t.d, &t.e
	if kind == typeHashPack {
		err = t.copy(typeHash, 1, 0)
	} else {
		err = t.copy(typeSortedSet2, 1, 0)
	}
	if err != nil {
		return err
	}
	if d.blob, err = d.text(d.blob[:0]); err != nil {
		return err
	}
	e.length(uint64(packedLen(d.blob)) / 2)
	count := 0
	err = eachPacked(d.blob, func(s []byte, n int64) {
		count++
		switch {
		case kind == typeSortedSetPack && count%2 == 0:
			t.score(s, n)
		case s != nil:
			e.raw(s)
		default:
			e.number(n)
		}
	})
	if err == nil && (count%2 != 0 || count != packedLen(d.blob)) {
		err = errPack
	}
	if err == nil {
		err = t.err
	}
	if err != nil {
		return err
	}
	d.shrink()
	if len(e.buf) >= flushSize {
		return e.flush()
	}
	return nil
}

// score writes the score that a listpack holds.
func (t *transcoder) score(s []byte, n int64) {
	f := float64(n)
	if s != nil {
		var err error
		if f, err = parseScore(s); err != nil {
			t.err = err
		}
	}
	t.e.score(f)
}

// stream copies a stream without what type 15 has no place for.
func (t *transcoder) stream() error {
	if err := t.copy(typeStream, 1, 0); err != nil {
		return err
	}
	nodes, err := t.length()
	if err != nil {
		return err
	}
	for range nodes {
		for range 2 { // its key and its listpack
			if err := t.text(); err != nil {
				return err
			}
		}
	}
	entries, err := t.length()
	if err != nil {
		return err
	}
	for range 2 { // last id
		if _, err := t.length(); err != nil {
			return err
		}
	}
	var left [5]uint64 // first id, greatest deleted id, added
	for i := range left {
		if left[i], err = t.d.count(); err != nil {
			return err
		}
	}
	// Servers take the number of entries for entries-added, and 0-0 for the greatest deleted id.
	if left[2] != 0 || left[3] != 0 || left[4] != entries {
		t.lossy++
	}
	groups, err := t.length()
	if err == nil && groups != 0 {
		err = errors.New("it has a stream with consumer groups, which Write does not write")
	}
	return err
}
