package keyspace

import (
	"encoding/binary"
	"unsafe"

	"rowfall/replication/keyspace/value"
)

// A record is one key with its expiry and value, as immutable bytes of the
// arena, good for as long as the arena keeps them (see Keyspace.pin):
//
//	flags  u8       bits 0-3 the kind, flagExpires, flagBig
//	size   uvarint  length of the key
//	key
//	expiry u64      ms since 1970, only with flagExpires
//	packed value    (nothing with flagBig: the trees lie beside the record)
//
// The empty record means that there is no such key.
type record string

const (
	kindMask    = 0x0f
	flagExpires = 0x40
	flagBig     = 0x80
)

// appendRecordHead appends all of a record but its value.
func appendRecordHead(dst []byte, kind value.Kind, key []byte, expireAt int64) []byte {
	flags := byte(kind)
	if expireAt != 0 {
		flags |= flagExpires
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	dst = append(dst, key...)
	if expireAt != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(expireAt))
	}
	return dst
}

// bytesOf returns the bytes of s without copying them. They are read-only.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// stringOf returns b as a string without copying it, for the time of a call.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// keySpan returns where the key starts and ends.
func (r record) keySpan() (start, end int) {
	if r[1] < 0x80 {
		return 2, 2 + int(r[1])
	}
	n, w := binary.Uvarint(bytesOf(string(r[1:min(len(r), 1+binary.MaxVarintLen64)])))
	return 1 + w, 1 + w + int(n)
}

func (r record) key() string {
	start, end := r.keySpan()
	return string(r[start:end])
}

func (r record) kind() value.Kind {
	if r == "" {
		return value.None
	}
	return value.Kind(r[0] & kindMask)
}

func (r record) isBig() bool { return r != "" && r[0]&flagBig != 0 }

// expireAt returns the expiry in ms, 0 for none.
func (r record) expireAt() int64 {
	if r == "" || r[0]&flagExpires == 0 {
		return 0
	}
	_, end := r.keySpan()
	return int64(binary.LittleEndian.Uint64(bytesOf(string(r[end : end+8]))))
}

// packed returns the packed value.
func (r record) packed() []byte {
	_, end := r.keySpan()
	if r[0]&flagExpires != 0 {
		end += 8
	}
	return bytesOf(string(r[end:]))
}

// valueOf returns the value of a record whose trees, if any, are big.
func (k *Keyspace) valueOf(r record, big *value.Big) value.Value {
	if r == "" {
		return value.Value{}
	}
	return k.shapes.Of(r.kind(), r.packed(), big)
}

// expired asks whether a time has passed: as in Redis, the millisecond itself
// still belongs to the key's life.
func expired(expireAt, now int64) bool { return expireAt != 0 && now > expireAt }
