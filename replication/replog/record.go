package replog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
)

// Offset counts the bytes of the replication stream. As a position it is the number of bytes before
// that point, so the byte that PSYNC calls n (PSYNC counts from 1) lies just after Offset n-1.
type Offset int64

// ParseOffset parses a decimal offset that is not negative.
func ParseOffset(s string) (Offset, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, errors.New("parse offset: " + strconv.Quote(s) + " is not a whole number from 0")
	}
	return Offset(n), nil
}

// String returns the offset in decimal.
func (o Offset) String() string { return strconv.FormatInt(int64(o), 10) }

// IsZero reports whether o is the start of the stream.
func (o Offset) IsZero() bool { return o == 0 }

// Kind is the purpose of a record's bytes. The log stores it without interpreting it.
type Kind uint8

// The kinds of records. The numbers are stored on disk.
const (
	// Unit holds the commands of one atomic unit.
	Unit Kind = 1
	// Expiry holds the DELs of keys that expired.
	Expiry Kind = 2
	// Ping holds one keep-alive PING.
	Ping Kind = 3
	// GetAck holds one REPLCONF GETACK *.
	GetAck Kind = 4
	// Select holds one SELECT.
	Select Kind = 5
)

// String returns the kind's name in lower case.
func (k Kind) String() string {
	switch k {
	case Unit:
		return "unit"
	case Expiry:
		return "expiry"
	case Ping:
		return "ping"
	case GetAck:
		return "getack"
	case Select:
		return "select"
	}
	return "kind " + strconv.Itoa(int(k))
}

// MaxPayload is the most bytes that one record may hold.
const MaxPayload = 1 << 30

// Record is one entry of the log: bytes that are applied together or not at all.
type Record struct {
	Kind Kind
	// Start is the number of stream bytes before the record.
	Start   Offset
	Payload []byte
}

// End returns the number of stream bytes up to and including the record.
func (r Record) End() Offset { return r.Start + Offset(len(r.Payload)) }

// valid reports whether records of kind k may be in the log.
func (k Kind) valid() bool { return k >= Unit && k <= Select }

// recordHeaderSize is the number of bytes before each payload on disk; doc.go has the layout.
const recordHeaderSize = 16

// maxStart is the highest start that a record's 56 bits can hold.
const maxStart = Offset(1)<<56 - 1

// MaxBegin is the highest offset at which a log may start. It leaves 32 PiB below maxStart, more
// than any log ever writes. So an offset that is too large, for example from a faulty master, is
// rejected before anything changes.
const MaxBegin = Offset(1) << 55

// castagnoli is the table that package crc32 shares: MakeTable does not build another one.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// recordHeader is the fixed part of a record.
type recordHeader struct {
	sum    uint32 // CRC-32C of the header's other bytes and the payload
	length uint32
	kind   Kind
	start  Offset
}

// appendRecordHeader appends the header of a record with the given payload.
func appendRecordHeader(dst []byte, k Kind, start Offset, payload []byte) []byte {
	from := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(start)<<8|uint64(k))
	sum := crc32.Update(0, castagnoli, dst[from+4:])
	binary.LittleEndian.PutUint32(dst[from:], crc32.Update(sum, castagnoli, payload))
	return dst
}

// parseRecordHeader parses the first recordHeaderSize bytes of b.
func parseRecordHeader(b []byte) recordHeader {
	at := binary.LittleEndian.Uint64(b[8:])
	return recordHeader{
		sum:    binary.LittleEndian.Uint32(b),
		length: binary.LittleEndian.Uint32(b[4:]),
		kind:   Kind(at),
		start:  Offset(at >> 8),
	}
}

// validate checks the header without the payload: the record must start at start and have a valid
// kind and length.
func (h recordHeader) validate(start Offset) error {
	switch {
	case h.start != start:
		return fmt.Errorf("record begins at offset %d, want %d", h.start, start)
	case !h.kind.valid():
		return fmt.Errorf("record has unknown %v", h.kind)
	case h.length == 0 || h.length > MaxPayload:
		return fmt.Errorf("record has %d bytes", h.length)
	}
	return nil
}

// end returns the offset after the record.
func (h recordHeader) end() Offset { return h.start + Offset(h.length) }

var errChecksum = errors.New("checksum differs")
