package rdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// members reads the elements of a collection.
func (d *decoder) members(kind byte) (err error) {
	per := uint64(1)
	switch kind {
	case typeHash:
		per = 2
	case typeSet, typeList:
	default:
		if d.blob, err = d.textUpTo(d.blob[:0], maxPacked); err != nil {
			return err
		}
		switch kind {
		case typeSetInts:
			return unpackInts(d.blob, &d.elements)
		case typeHashZiplist, typeSortedSetZiplist, typeListZiplist:
			return unzip(d.blob, &d.elements)
		}
		return unpack(d.blob, &d.elements)
	}
	n, err := d.count()
	if err != nil {
		return err
	}
	if n > math.MaxUint64/per {
		return fmt.Errorf("it has %d elements", n)
	}
	for range n * per {
		if d.elements.buf, err = d.text(d.elements.buf); err != nil {
			return err
		}
		d.elements.endElement()
	}
	return nil
}

// nodes reads the nodes of a list: ziplists, or listpacks (form 2) and single large elements (form
// 1).
func (d *decoder) nodes(kind byte) error {
	n, err := d.count()
	if err != nil {
		return err
	}
	for range n {
		form := uint64(2)
		if kind == typeListPacks {
			if form, err = d.count(); err != nil {
				return err
			}
		}
		limit := uint64(maxNode)
		if form == 1 {
			limit = maxString
		}
		if d.blob, err = d.textUpTo(d.blob[:0], limit); err != nil {
			return err
		}
		switch {
		case kind == typeListZiplists:
			err = d.unpackNode(unzip)
		case form == 1:
			d.elements.add(d.blob)
		case form == 2:
			err = d.unpackNode(unpack)
		default:
			err = fmt.Errorf("node of a list of unknown form %d", form)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unpackNode adds the elements of a node of a list or stream.
func (d *decoder) unpackNode(unpack func(b []byte, e *elements) error) error {
	if d.inflated {
		d.elements.setLimit(maxPacked / 2) // an element takes two bytes at least
		defer d.elements.setLimit(0)
	}
	if err := unpack(d.blob, &d.elements); err != nil {
		return err
	}
	if d.elements.exceeded {
		return fmt.Errorf("compressed node of %d bytes with more than %d elements",
			len(d.blob), maxPacked/2)
	}
	return nil
}

// scored reads a sorted set of members with scores.
func (d *decoder) scored(kind byte) error {
	n, err := d.count()
	if err != nil {
		return err
	}
	for range n {
		if d.elements.buf, err = d.text(d.elements.buf); err != nil {
			return err
		}
		d.elements.endElement()
		s, err := d.score(kind)
		if err != nil {
			return err
		}
		d.scores = append(d.scores, s)
	}
	return nil
}

func (d *decoder) score(kind byte) (float64, error) {
	if kind == typeSortedSet2 {
		b, err := d.fixed(8)
		if err != nil {
			return 0, err
		}
		return math.Float64frombits(binary.LittleEndian.Uint64(b)), nil
	}
	c, err := d.byte()
	if err != nil {
		return 0, err
	}
	switch c {
	case 253:
		return math.NaN(), nil // the loader rejects it
	case 254:
		return math.Inf(1), nil
	case 255:
		return math.Inf(-1), nil
	}
	b, err := d.appendBytes(nil, uint64(c))
	if err != nil {
		return 0, err
	}
	return parseScore(b)
}

// loadList loads the collection in list and scores into the keyspace.
func (d *decoder) loadList(kind byte, expireAt int64) error {
	switch kind {
	case typeList, typeListZiplist, typeListZiplists, typeListPacks:
		return d.load.List(d.key, d.list, expireAt)
	case typeSet, typeSetInts, typeSetPack:
		return d.load.Set(d.key, d.list, expireAt)
	case typeHash, typeHashZiplist, typeHashPack:
		return d.load.Hash(d.key, d.list, expireAt)
	case typeSortedSetZiplist, typeSortedSetPack:
		if err := d.splitScores(); err != nil {
			return err
		}
	}
	return d.load.SortedSet(d.key, d.list, d.scores, expireAt)
}

// splitScores moves every second element of list to scores.
func (d *decoder) splitScores() error {
	if len(d.list)%2 != 0 {
		return errors.New("a member has no score")
	}
	for i := 0; i < len(d.list); i += 2 {
		s, err := parseScore(d.list[i+1])
		if err != nil {
			return err
		}
		d.list[i/2] = d.list[i]
		d.scores = append(d.scores, s)
	}
	d.list = d.list[:len(d.list)/2]
	return nil
}

func parseScore(b []byte) (float64, error) {
	s, err := strconv.ParseFloat(string(b[:min(len(b), 512)]), 64)
	// A score out of range becomes an infinity, as with strtod.
	if err != nil && !errors.Is(err, strconv.ErrRange) || math.IsNaN(s) || len(b) > 512 {
		return 0, fmt.Errorf("score %.64q is not a number", b)
	}
	return s, nil
}
