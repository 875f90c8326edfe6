package rdb

import (
	"fmt"

	"rowfall/replication/replog"
)

// Aux holds the auxiliary fields of a snapshot.
type Aux struct {
	// ReplID is the 40-character replication id, or empty if the file has none.
	ReplID string
	// Offset is the replication offset of the snapshot: how many bytes of the stream it contains.
	// StreamDB is the database that the stream has selected there. Both are valid only with a
	// ReplID.
	Offset   replog.Offset
	StreamDB int
	// Version is the writer's version ("redis-ver" or "valkey-ver").
	Version string
	// CTime is when the file was made, in seconds since 1970; UsedMem is the writer's memory in
	// bytes. 0 means unknown.
	CTime, UsedMem int64
	// Empty is how many collections without elements Read found and skipped. Write ignores it.
	Empty int
}

// magic is the header that Write writes. Every Redis since 5.0 and every Valkey accepts version 9,
// with all types that the server itself knows.
const magic = "REDIS0009"

// Opcodes stand in the place of a key's type.
const (
	opSlotInfo  = 244
	opFunction2 = 245
	opFunction  = 246
	opModuleAux = 247
	opIdle      = 248
	opFreq      = 249
	opAux       = 250
	opResize    = 251
	opExpireMs  = 252
	opExpire    = 253
	opSelect    = 254
	opEOF       = 255
)

// Types of values. Write uses typeString, typeList, typeSet, typeHash, typeSortedSet2, typeSetInts,
// typeHashPack, typeSortedSetPack and typeStream2.
const (
	typeString           = 0
	typeList             = 1
	typeSet              = 2
	typeSortedSet        = 3 // scores as text
	typeHash             = 4
	typeSortedSet2       = 5 // scores as 8 bytes
	typeListZiplist      = 10
	typeSetInts          = 11
	typeSortedSetZiplist = 12
	typeHashZiplist      = 13
	typeListZiplists     = 14 // a quicklist of ziplists
	typeStream           = 15
	typeHashPack         = 16
	typeSortedSetPack    = 17
	typeListPacks        = 18
	typeStream2          = 19 // with first id, greatest deleted id and entries-added
	typeSetPack          = 20
	typeStream3          = 21 // with the active time of consumers
)

// supported reports whether Read accepts a type.
func supported(t byte) bool {
	switch t {
	case typeString, typeHash, typeHashZiplist, typeHashPack,
		typeSet, typeSetInts, typeSetPack,
		typeSortedSet, typeSortedSet2, typeSortedSetZiplist, typeSortedSetPack,
		typeList, typeListZiplist, typeListZiplists, typeListPacks,
		typeStream, typeStream2, typeStream3:
		return true
	}
	return false
}

// typeName names a type that Read does not accept.
func typeName(t byte) string {
	names := map[byte]string{
		6: "module value", 7: "module value", 9: "hash as zipmap",
		22: "hash with field expiry", 23: "hash with field expiry",
		24: "hash with field expiry", 25: "hash with field expiry",
		26: "stream", 27: "stream",
	}
	if n, ok := names[t]; ok {
		return fmt.Sprintf("%s (type %d)", n, t)
	}
	return fmt.Sprintf("unknown type %d", t)
}

// The forms of a length, in the two top bits of its first byte. The longer forms use the whole
// byte.
const (
	len14      = 0x40
	len32      = 0x80
	len64      = 0x81
	lenSpecial = 0xc0 // a string that is an integer or compressed
)

// Special forms of strings.
const (
	specialInt8  = 0
	specialInt16 = 1
	specialInt32 = 2
	specialLZF   = 3
)

// The limits up to which a collection is written as one packed string. They are a server's own
// default limits, so a replica keeps the packed form as it is. Beyond them it would have to convert
// the value.
const (
	maxPackEntries = 128 // fields or members
	maxPackBytes   = 64  // of each field, value or member
	maxPackInts    = 512 // members of a set of integers
)
