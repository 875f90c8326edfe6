package rdb

import (
	"errors"
	"fmt"
	"io"
)

// Transcode copies a file that Write made, for servers before Redis 7.0. Packed hashes and sorted
// sets become single fields and members, and streams lose the numbers that only newer servers
// store. Everything else is copied unchanged. Transcode verifies the checksum and computes a new
// one, holds at most one packed value in memory, and writes the last bytes only if no error
// occurred. lossy is the number of streams whose entries-added or max-deleted-entry-id a newer
// server would not compute from the copy.
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
	err error // a score that is not a number

	lossy int // number of lossy streams so far
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
			err = t.copyFields(op, 2, 0)
		case opExpireMs:
			t.e.buf = append(t.e.buf, op)
			err = t.copyBytes(8)
		case opSelect:
			err = t.copyFields(op, 0, 1)
		case opResize:
			err = t.copyFields(op, 0, 2)
		case typeString, typeSetInts:
			err = t.copyFields(op, 2, 0)
		case typeList, typeSet:
			err = t.copyCollection(op, 1, 0)
		case typeHash:
			err = t.copyCollection(op, 2, 0)
		case typeSortedSet2:
			err = t.copyCollection(op, 1, 8)
		case typeHashPack, typeSortedSetPack:
			err = t.expandPacked(op)
		case typeStream2:
			err = t.copyStream()
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

// copyFields copies op, then a number of strings, then a number of lengths.
func (t *transcoder) copyFields(op byte, texts, lengths int) error {
	t.e.buf = append(t.e.buf, op)
	for range texts {
		if err := t.copyString(); err != nil {
			return err
		}
	}
	for range lengths {
		if _, err := t.copyLength(); err != nil {
			return err
		}
	}
	return nil
}

// copyCollection copies a key and its elements. Each element is texts strings and size bytes.
func (t *transcoder) copyCollection(kind byte, texts int, size uint64) error {
	if err := t.copyFields(kind, 1, 0); err != nil {
		return err
	}
	n, err := t.copyLength()
	if err != nil {
		return err
	}
	for range n {
		for range texts {
			if err := t.copyString(); err != nil {
				return err
			}
		}
		if err := t.copyBytes(size); err != nil {
			return err
		}
	}
	return nil
}

// copyLength copies a length.
func (t *transcoder) copyLength() (uint64, error) {
	n, err := t.d.count()
	if err == nil {
		t.e.length(n)
	}
	return n, err
}

// copyString copies a string without changing its form.
func (t *transcoder) copyString() error {
	n, special, err := t.d.length()
	if err != nil {
		return err
	}
	if special && n > specialInt32 {
		return fmt.Errorf("string of form %d, which Write does not write", n)
	}
	if special {
		t.e.buf = append(t.e.buf, lenSpecial|byte(n))
		return t.copyBytes(1 << n)
	}
	t.e.length(n)
	return t.copyBytes(n)
}

// copyBytes copies n bytes.
func (t *transcoder) copyBytes(n uint64) error {
	for n > 0 {
		if t.d.at == len(t.d.buf) {
			if err := t.d.nextBlock(); err != nil {
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

// expandPacked writes the elements of a listpack one by one.
func (t *transcoder) expandPacked(kind byte) (err error) {
	d, e := &t.d, &t.e
	if kind == typeHashPack {
		err = t.copyFields(typeHash, 1, 0)
	} else {
		err = t.copyFields(typeSortedSet2, 1, 0)
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
			e.rawString(s)
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

// score writes a score that the listpack holds as a string, or as the integer n if s is nil.
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

// copyStream copies a stream as type 15, without the numbers that only type 19 has.
func (t *transcoder) copyStream() error {
	if err := t.copyFields(typeStream, 1, 0); err != nil {
		return err
	}
	nodes, err := t.copyLength()
	if err != nil {
		return err
	}
	for range nodes {
		for range 2 { // its key and its listpack
			if err := t.copyString(); err != nil {
				return err
			}
		}
	}
	entries, err := t.copyLength()
	if err != nil {
		return err
	}
	for range 2 { // last id
		if _, err := t.copyLength(); err != nil {
			return err
		}
	}
	var omitted [5]uint64 // first id, greatest deleted id, added
	for i := range omitted {
		if omitted[i], err = t.d.count(); err != nil {
			return err
		}
	}
	// From type 15, servers set entries-added to the number of entries, and max-deleted-entry-id
	// to 0-0.
	if omitted[2] != 0 || omitted[3] != 0 || omitted[4] != entries {
		t.lossy++
	}
	groups, err := t.copyLength()
	if err == nil && groups != 0 {
		err = errors.New("it has a stream with consumer groups, which Write does not write")
	}
	return err
}
