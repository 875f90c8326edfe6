package rdb

import "encoding/binary"

// jones is the reflected form of the polynomial 0xad93d23594c935a9 of the checksum in RDB files.
// Start value and final xor are 0.
const jones = 0x95ac9329ac4bc9b5

// crcTables[k][b] is the checksum of byte b followed by k zero bytes, so that one step handles
// eight bytes.
var crcTables = func() (t [8][256]uint64) {
	for i := range t[0] {
		c := uint64(i)
		for range 8 {
			c = c>>1 ^ jones&-(c&1)
		}
		t[0][i] = c
	}
	for k := 1; k < len(t); k++ {
		for i := range t[k] {
			c := t[k-1][i]
			t[k][i] = c>>8 ^ t[0][byte(c)]
		}
	}
	return t
}()

// updateCRC returns the checksum of bytes that have the checksum crc, followed by p.
func updateCRC(crc uint64, p []byte) uint64 {
	t := &crcTables
	for ; len(p) >= 8; p = p[8:] {
		crc ^= binary.LittleEndian.Uint64(p)
		crc = t[7][byte(crc)] ^ t[6][byte(crc>>8)] ^ t[5][byte(crc>>16)] ^ t[4][byte(crc>>24)] ^
			t[3][byte(crc>>32)] ^ t[2][byte(crc>>40)] ^ t[1][byte(crc>>48)] ^ t[0][crc>>56]
	}
	for _, b := range p {
		crc = crc>>8 ^ t[0][byte(crc)^b]
	}
	return crc
}
