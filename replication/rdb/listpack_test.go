package rdb

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// The greatest lengths of two and three bytes are written in two ways. Read accepts both, also that
// of new Redis versions.
func TestPackLenOfBothForms(t *testing.T) {
	for size, forms := range map[int][]string{
		1<<14 - 2: {"\x7f\xfe"},
		1<<14 - 1: {"\x00\xff\xff", "\x7f\xff"},
		1 << 14:   {"\x01\x80\x80"},
		1<<21 - 1: {"\x00\xff\xff\xff", "\x7f\xff\xff"},
		1 << 21:   {"\x01\x80\x80\x80"},
	} {
		text := bytes.Repeat([]byte("v"), size-5)
		for i, form := range forms {
			b := binary.LittleEndian.AppendUint32(append(beginPack(nil), 0xf0), uint32(len(text)))
			b = append(append(b, text...), form...)
			b = endPack(appendPack(b, []byte("next")), 2)
			if i == 0 {
				ours := appendPack(appendPack(beginPack(nil), text), []byte("next"))
				if !bytes.Equal(endPack(ours, 2), b) {
					t.Errorf("an element of %d bytes is not written as the older servers do", size)
				}
			}
			var all [][]byte
			err := eachPacked(b, func(s []byte, _ int64) { all = append(all, s) })
			if err != nil || len(all) != 2 || !bytes.Equal(all[0], text) ||
				string(all[1]) != "next" {
				t.Errorf("an element of %d bytes that ends with %x: %d elements, %v", size, form,
					len(all), err)
			}
		}
	}
	if got := appendPackLen(nil, 1<<28-1); string(got) != "\x00\xff\xff\xff\xff" {
		t.Errorf("the greatest length of four bytes is written as %x", got)
	}
}
