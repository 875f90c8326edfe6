package keyspace

import (
	"bytes"
	"errors"
	"math"
	"strings"

	"rowfall/replication/resp"
)

var errBitOffset = errors.New("ERR bit offset is not an integer or out of range")

// bitOffset parses the offset of a bit in a string of the greatest allowed size.
func bitOffset(b []byte) (int64, bool) {
	n, ok := ParseInt(b)
	return n, ok && n >= 0 && n < 8*resp.MaxBulk
}

func (k *Keyspace) setbit(args [][]byte) error {
	offset, ok := bitOffset(args[2])
	if !ok {
		return errBitOffset
	}
	bit, ok := ParseInt(args[3])
	if !ok || bit&^1 != 0 {
		return errors.New("ERR bit is not an integer or out of range")
	}
	t, err := k.targetOfKind(args[1], String)
	if err != nil {
		return err
	}
	text := k.resize(&t, int(offset/8)+1)
	mask := byte(0x80) >> (offset % 8)
	text[offset/8] &^= mask
	if bit == 1 {
		text[offset/8] |= mask
	}
	k.save(&t)
	return nil
}

// bitop combines strings bit by bit; shorter strings are padded with zeros.
func (k *Keyspace) bitop(args [][]byte) error {
	op := strings.ToUpper(string(args[1][:min(len(args[1]), 8)]))
	switch {
	case op == "NOT" && len(args) != 4:
		return redisError("ERR BITOP NOT must be called with a single source key.")
	case op != "AND" && op != "OR" && op != "XOR" && op != "NOT":
		return errors.New("ERR operation " + op + " of BITOP is not supported")
	}
	var result []byte
	for i, key := range args[3:] {
		t, err := k.targetOfKind(key, String)
		if err != nil {
			return err
		}
		result = combineBits(op, result, t.value().Bytes(), i == 0)
	}
	t := k.target(args[2])
	switch {
	case len(result) > 0:
		k.saveString(&t, result, 0)
	case t.rec != "":
		k.remove(&t)
	}
	return nil
}

func combineBits(op string, result, text []byte, first bool) []byte {
	if first {
		result = bytes.Clone(text)
		for i := range result {
			if op == "NOT" {
				result[i] = ^result[i]
			}
		}
		return result
	}
	if grow := len(text) - len(result); grow > 0 {
		result = append(result, make([]byte, grow)...)
	}
	for i := range result {
		b := byte(0)
		if i < len(text) {
			b = text[i]
		}
		switch op {
		case "AND":
			result[i] &= b
		case "OR":
			result[i] |= b
		case "XOR":
			result[i] ^= b
		}
	}
	return result
}

// bitfieldOp is one SET or INCRBY of BITFIELD.
type bitfieldOp struct {
	field    bitField
	incr     bool
	value    int64
	overflow byte // 'W' wrap, 'S' saturate, 'F' do nothing
}

// bitField is an integer of a number of bits at an offset in a string.
type bitField struct {
	signed bool
	bits   int
	offset int64 // in bits
}

func parseBitField(kind, offset []byte) (f bitField, err error) {
	if len(kind) > 0 {
		n, ok := ParseInt(kind[1:])
		f.signed, f.bits = kind[0] == 'i', int(n)
		if !ok || n < 1 || n > 64 || kind[0] != 'i' && (kind[0] != 'u' || n > 63) {
			f.bits = 0
		}
	}
	if f.bits == 0 {
		return f, redisError("ERR Invalid bitfield type. Use something like i16 u8. " +
			"Note that u64 is not supported but i64 is.")
	}
	times := int64(1)
	if len(offset) > 0 && offset[0] == '#' {
		offset, times = offset[1:], int64(f.bits)
	}
	n, ok := ParseInt(offset)
	if !ok || n < 0 || n > 8*resp.MaxBulk || n*times+int64(f.bits) > 8*resp.MaxBulk {
		return f, errBitOffset
	}
	f.offset = n * times
	return f, nil
}

// get reads the field from a string, which must be long enough.
func (f bitField) get(text []byte) (u uint64) {
	for i := f.offset; i < f.offset+int64(f.bits); i++ {
		u = u<<1 | uint64(text[i/8]>>(7-i%8)&1)
	}
	if f.signed && f.bits < 64 && u>>(f.bits-1) == 1 {
		u |= math.MaxUint64 << f.bits
	}
	return u
}

func (f bitField) put(text []byte, u uint64) {
	for i := f.offset + int64(f.bits) - 1; i >= f.offset; i-- {
		mask := byte(0x80) >> (i % 8)
		text[i/8] &^= mask
		if u&1 == 1 {
			text[i/8] |= mask
		}
		u >>= 1
	}
}

// overflow reports whether value plus incr is outside the field's range, and the limit that
// OVERFLOW SAT stores then. SET passes its argument as value and 0 as incr.
//
// Does the result match what Redis and Valkey store? They compare incr with the distances from
// value to both limits, in 64 bits that wrap around. Far outside the field the distance to the
// upper limit wraps to a negative number, so that a value far below the lower limit saturates at
// the upper one. Replicas execute the same command and must produce the same bytes.
func (f bitField) overflow(value uint64, incr int64) (limit uint64, yes bool) {
	if !f.signed {
		greatest := uint64(1)<<f.bits - 1
		switch {
		case value > greatest, incr > 0 && incr > int64(greatest-value):
			return greatest, true
		case incr < 0 && incr < int64(-value):
			return 0, true
		}
		return 0, false
	}
	n := int64(value)
	greatest := int64(1)<<(f.bits-1) - 1
	least := -greatest - 1
	toGreatest, toLeast := greatest-n, least-n // signed overflow wraps around in Go
	narrow := f.bits != 64
	switch {
	case n > greatest, (narrow || n >= 0 && incr > 0) && incr > toGreatest:
		return uint64(greatest), true
	case n < least, (narrow || n < 0 && incr < 0) && incr < toLeast:
		return uint64(least), true
	}
	return 0, false
}

func parseBitfield(args [][]byte) (ops []bitfieldOp, size int64, err error) {
	overflow := byte('W')
	for i := 0; i < len(args); {
		word := strings.ToUpper(string(args[i][:min(len(args[i]), 12)]))
		switch {
		case word == "OVERFLOW" && i+1 < len(args):
			mode := strings.ToUpper(string(args[i+1][:min(len(args[i+1]), 8)]))
			if mode != "WRAP" && mode != "SAT" && mode != "FAIL" {
				return nil, 0, errors.New("ERR Invalid OVERFLOW type specified")
			}
			overflow = mode[0]
			i += 2
			continue
		case word == "GET" && i+2 < len(args):
			if _, err := parseBitField(args[i+1], args[i+2]); err != nil {
				return nil, 0, err
			}
			i += 3
			continue
		case (word == "SET" || word == "INCRBY") && i+3 < len(args):
		default:
			return nil, 0, errSyntax
		}
		op := bitfieldOp{incr: word == "INCRBY", overflow: overflow}
		if op.field, err = parseBitField(args[i+1], args[i+2]); err != nil {
			return nil, 0, err
		}
		var ok bool
		if op.value, ok = ParseInt(args[i+3]); !ok {
			return nil, 0, errNotInteger
		}
		ops = append(ops, op)
		size = max(size, (op.field.offset+int64(op.field.bits)+7)/8)
		i += 4
	}
	return ops, size, nil
}

func (k *Keyspace) bitfield(args [][]byte) error {
	ops, size, err := parseBitfield(args[2:])
	if err != nil {
		return err
	}
	t, err := k.targetOfKind(args[1], String)
	if err != nil || len(ops) == 0 {
		return err
	}
	text := k.resize(&t, int(size))
	for _, op := range ops {
		value, incr := uint64(op.value), int64(0)
		if op.incr {
			value, incr = op.field.get(text), op.value
		}
		limit, overflows := op.field.overflow(value, incr)
		switch {
		case !overflows || op.overflow == 'W':
			op.field.put(text, value+uint64(incr))
		case op.overflow == 'S':
			op.field.put(text, limit)
		}
	}
	k.save(&t)
	return nil
}
