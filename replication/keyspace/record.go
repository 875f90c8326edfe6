package keyspace

import (
	"encoding/binary"
	"unsafe"

	"rowfall/replication/keyspace/value"
)

// A record is one key with its expiry and value, as immutable bytes of the arena. It is valid for
// as long as the arena is pinned (see Keyspace.pin):
//
//	flags  u8       bits 0-3 the kind, flagExpires, flagBig
//	size   uvarint  length of the key
//	key
//	expiry u64      ms since 1970, only with flagExpires
//	packed value    (absent with flagBig: the trees are kept beside the record)
//
// The empty record means that the key is absent.
type record string

const (
	kindMask    = 0x0f
	flagExpires = 0x40
	flagBig     = 0x80
)

// appendRecordHead appends a record without its value.
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

// bytesOf returns the bytes of s without copying them. They must not be changed.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// stringOf returns b as a string without copying it. The string is valid while b is unchanged.
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

// expireAt returns the expiry in milliseconds since 1970, or 0 if the key does not expire.
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

// valueOf returns the value of a record; big holds its trees, if it has any.
func (k *readState) valueOf(r record, big *value.Big) value.Value {
	if r == "" {
		return value.Value{}
	}
	return k.shapes.Of(r.kind(), r.packed(), big)
}

// expired reports whether an expiry has passed. As in Redis, the key still exists in the
// millisecond itself.
func expired(expireAt, now int64) bool { return expireAt != 0 && now > expireAt }
