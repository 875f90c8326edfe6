package trie

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A packed table is compressed. Below the compression are the runs of Table.Four: their number,
// then each run's distance from the run before and its code point, all as varints. The pages
// follow: the root, then the page of each of its entries that has one, in the order of the bytes,
// each before its own children. If the base has a page for the same bytes, an entry is stored as
// its difference from the entry of that page, otherwise as its difference from the entry before.
// The low bytes of all entries come first.

// The codes of packed pages for entries that continue in another page.
const (
	child      = 0xdffe
	emptyChild = 0xdffc
)

// maxPages is the largest number of pages that the codes can refer to.
const maxPages = 0x700

// maxUnpacked bounds the size of an unpacked table.
const maxUnpacked = 1 << 20

// Pack returns the packed form of t. base is a similar table, or nil.
func Pack(t, base *Table) ([]byte, error) {
	if len(t.Pages) > maxPages {
		return nil, fmt.Errorf("pack table: %d pages, at most %d fit", len(t.Pages), maxPages)
	}
	raw := binary.AppendUvarint(nil, uint64(len(t.Four)))
	last := 0
	for _, run := range t.Four {
		raw = binary.AppendUvarint(raw, uint64(run.First-last))
		raw = binary.AppendUvarint(raw, uint64(run.Rune))
		last = run.First
	}
	var low, high []byte
	var pack func(p, of *Page)
	pack = func(p, of *Page) {
		before := uint16(0)
		for b := range p {
			c := t.packedCode(p[b])
			if of != nil {
				before = base.packedCode(of[b])
			}
			low, high = append(low, byte(c-before)), append(high, byte((c-before)>>8))
			before = c
		}
		for b := range p {
			if t.packedCode(p[b]) == child {
				pack(t.Pages[p[b]-Node], base.childOf(of, b))
			}
		}
	}
	var root *Page
	if base != nil {
		root = base.Pages[0]
	}
	pack(t.Pages[0], root)
	raw = append(append(raw, low...), high...)
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err == nil {
		_, err = w.Write(raw)
	}
	if err == nil {
		err = w.Close()
	}
	return packed.Bytes(), err
}

// packedCode returns the code of an entry in a packed page.
func (t *Table) packedCode(c uint16) uint16 {
	switch {
	case c < Node || c >= Node+maxPages:
		return c
	case *t.Pages[c-Node] == *empty:
		return emptyChild
	}
	return child
}

// childOf returns the page in which the entry b of a page continues, or nil.
func (t *Table) childOf(p *Page, b int) *Page {
	if p == nil || t.packedCode(p[b]) != child {
		return nil
	}
	return t.Pages[p[b]-Node]
}

// errCorrupt is returned for bytes that Pack has not written.
var errCorrupt = errors.New("the packed table is corrupt")

// Unpack returns the table that was packed with this base.
func Unpack(packed []byte, base *Table) (*Table, error) {
	raw, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxUnpacked))
	if err != nil {
		return nil, fmt.Errorf("unpack table: %w", err)
	}
	u := unpacker{raw: raw, base: base, t: new(Table)}
	last := 0
	for range u.uvarint() {
		last += u.uvarint()
		u.t.Four = append(u.t.Four, Run{last, rune(u.uvarint())})
	}
	if len(u.raw)%2 != 0 || u.isCorrupt {
		return nil, errCorrupt
	}
	u.low, u.high = u.raw[:len(u.raw)/2], u.raw[len(u.raw)/2:]
	var root *Page
	if base != nil {
		root = base.Pages[0]
	}
	u.page(root, 0)
	if u.isCorrupt || len(u.low) > 0 {
		return nil, errCorrupt
	}
	return u.t, nil
}

type unpacker struct {
	raw       []byte
	low, high []byte
	base, t   *Table
	emptyPage int // the index of empty in t.Pages, 0 if it is not there
	isCorrupt bool
}

func (u *unpacker) uvarint() int {
	v, n := binary.Uvarint(u.raw)
	if n <= 0 || v > maxUnpacked*16 {
		u.isCorrupt, u.raw = true, nil
		return 0
	}
	u.raw = u.raw[n:]
	return int(v)
}

// page reads a page and its children, and returns its index. of is the base's page.
func (u *unpacker) page(of *Page, depth int) (index int) {
	if len(u.low) < 256 || depth > 4 || len(u.t.Pages) >= maxPages-1 {
		u.isCorrupt = true
		return 0
	}
	p := new(Page)
	index = len(u.t.Pages)
	u.t.Pages = append(u.t.Pages, p)
	before := uint16(0)
	for b := range p {
		if of != nil {
			before = u.base.packedCode(of[b])
		}
		before += uint16(u.low[b]) | uint16(u.high[b])<<8
		p[b] = before
	}
	u.low, u.high = u.low[256:], u.high[256:]
	for b := range p {
		switch {
		case p[b] == child:
			p[b] = Node + uint16(u.page(u.base.childOf(of, b), depth+1))
		case p[b] == emptyChild:
			if u.emptyPage == 0 {
				u.emptyPage = len(u.t.Pages)
				u.t.Pages = append(u.t.Pages, empty)
			}
			p[b] = Node + uint16(u.emptyPage)
		case p[b] >= Node && p[b] <= lastCode && p[b] != Illegal && p[b] != Four:
			u.isCorrupt = true
		}
	}
	return index
}
