package rdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
)

// maxString is the longest string that is accepted, as in commands.
const maxString = 512 << 20

// maxPacked is the longest packed collection that is accepted, far more than a server packs. In
// compressed form its elements can need some thousand times the memory of the bytes in the file.
const maxPacked = 64 << 20

// maxNode is the longest node of a list or stream. A node holds at least one element or entry,
// which may be as long as a command, 1 GiB. A compressed node that decompresses to more than
// maxPacked may not have more elements than a node of maxPacked could, so that a few bytes cannot
// expand to more.
const maxNode = 1<<30 + 1<<20

// Read fills a keyspace from an RDB file of any version of Redis or Valkey. The file may hold
// strings, hashes, lists, sets, sorted sets and streams without consumer groups, in database 0.
// Anything else is an error that names it. Nothing is skipped, except collections without
// elements, which are counted, and a server's metadata on idle times and access frequencies. The
// checksum is verified unless the file has none.
//
// Read may read beyond the file's end from r. Memory beside the keyspace is bounded by the largest
// value in the file, whatever lengths the file claims.
func Read(r io.Reader, l *keyspace.Loader) (Aux, error) {
	d := &decoder{r: r, load: l, buf: make([]byte, 0, readSize)}
	if err := d.file(); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Aux{}, fmt.Errorf("read snapshot at byte %d: %w", d.base+int64(d.at), err)
	}
	return d.aux, nil
}

// readSize is how many bytes are read at once.
const readSize = 64 << 10

type decoder struct {
	r    io.Reader
	load *keyspace.Loader
	aux  Aux

	// buf holds bytes of the file. at is the next byte in buf, and base the position of buf[0] in
	// the file.
	buf  []byte
	at   int
	base int64
	sum  uint64 // checksum of everything before base

	key, blob, packed []byte
	inflated          bool // blob was compressed and is longer than maxPacked
	elements          elements
	list              [][]byte
	scores            []float64
}

// nextBlock reads the next bytes of the file; all of buf must have been used.
func (d *decoder) nextBlock() error {
	d.sum = updateCRC(d.sum, d.buf)
	d.base += int64(len(d.buf))
	d.buf, d.at = d.buf[:cap(d.buf)], 0
	n, err := io.ReadAtLeast(d.r, d.buf, 1)
	d.buf = d.buf[:n]
	return err
}

func (d *decoder) byte() (byte, error) {
	if d.at == len(d.buf) {
		if err := d.nextBlock(); err != nil {
			return 0, err
		}
	}
	d.at++
	return d.buf[d.at-1], nil
}

// appendBytes appends the next n bytes of the file to dst, which grows only with bytes that were
// read.
func (d *decoder) appendBytes(dst []byte, n uint64) ([]byte, error) {
	for n > 0 {
		if d.at == len(d.buf) {
			if err := d.nextBlock(); err != nil {
				return dst, err
			}
		}
		k := int(min(n, uint64(len(d.buf)-d.at)))
		dst = append(dst, d.buf[d.at:d.at+k]...)
		d.at, n = d.at+k, n-uint64(k)
	}
	return dst, nil
}

// fixed reads n bytes, at most 9. They are valid until the next read.
func (d *decoder) fixed(n uint64) ([]byte, error) {
	if uint64(len(d.buf)-d.at) >= n {
		b := d.buf[d.at : d.at+int(n)]
		d.at += int(n)
		return b, nil
	}
	return d.appendBytes(make([]byte, 0, 9), n)
}

// file reads the whole file.
func (d *decoder) file() error {
	checked, err := d.header()
	if err != nil {
		return err
	}
	var db, expireAt uint64
	for {
		op, err := d.byte()
		if err != nil {
			return err
		}
		switch op {
		case opEOF:
			if !checked {
				return nil
			}
			return d.checksum()
		case opSelect:
			db, err = d.count()
		case opExpireMs, opExpire:
			expireAt, err = d.expiry(op)
		default:
			if op >= opSlotInfo {
				err = d.readMetadata(op)
				break
			}
			if db != 0 {
				return fmt.Errorf("it has keys in database %d; only database 0 is supported", db)
			}
			err = d.entry(op, int64(expireAt))
			expireAt = 0
		}
		if err != nil {
			return err
		}
	}
}

// header reads magic and version, and reports whether the file ends with a checksum.
func (d *decoder) header() (checked bool, err error) {
	b, err := d.fixed(9)
	if err != nil {
		return false, err
	}
	s := string(b)
	if v, ok := strings.CutPrefix(s, "VALKEY"); ok {
		if n, err := strconv.ParseUint(v, 10, 16); err == nil && n >= 80 {
			return true, nil
		}
		return false, fmt.Errorf("%q is not a version of Valkey's files", s)
	}
	v, ok := strings.CutPrefix(s, "REDIS")
	n, err := strconv.ParseUint(v, 10, 16)
	if !ok || err != nil || n == 0 {
		return false, fmt.Errorf("it begins with %q: not an RDB file", s)
	}
	// Files of newer versions are accepted: new types and opcodes (242 and 243 so far) are rejected
	// where they occur.
	return n >= 5, nil
}

// checksum verifies the trailer. A trailer of zeros means that the writer computed no checksum.
func (d *decoder) checksum() error {
	sum := updateCRC(d.sum, d.buf[:d.at])
	b, err := d.fixed(8)
	if err != nil {
		return err
	}
	if got := binary.LittleEndian.Uint64(b); got != 0 && got != sum {
		return fmt.Errorf("checksum is %016x, want %016x: the file is damaged", got, sum)
	}
	return nil
}

// expiry reads the time at which the next key expires, in milliseconds. 0 would mean never, so it
// becomes 1.
func (d *decoder) expiry(op byte) (uint64, error) {
	size, unit := uint64(8), uint64(1)
	if op == opExpire {
		size, unit = 4, 1000
	}
	b, err := d.fixed(size)
	if err != nil {
		return 0, err
	}
	at := uint64(0)
	for i, c := range b {
		at |= uint64(c) << (8 * i)
	}
	if at > math.MaxInt64/unit {
		return 0, fmt.Errorf("expiry %d is out of range", at)
	}
	return max(at*unit, 1), nil
}

// readMetadata reads an opcode that stands between keys and loads no data: auxiliary fields, sizes,
// idle times and frequencies.
func (d *decoder) readMetadata(op byte) error {
	skip := 0
	switch op {
	case opAux:
		return d.readAux()
	case opFreq:
		_, err := d.byte()
		return err
	case opIdle:
		skip = 1
	case opResize:
		skip = 2
	case opSlotInfo:
		skip = 3
	case opFunction, opFunction2:
		return errors.New("it has function libraries, which are not supported: " +
			"delete them on its writer with FUNCTION FLUSH")
	case opModuleAux:
		return errors.New("it has the data of a module, which is not supported")
	}
	for range skip {
		if _, err := d.count(); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) readAux() (err error) {
	if d.key, err = d.text(d.key[:0]); err != nil {
		return err
	}
	if d.blob, err = d.text(d.blob[:0]); err != nil {
		return err
	}
	value := string(d.blob[:min(len(d.blob), 256)])
	number := func() (n int64) {
		n, err = strconv.ParseInt(value, 10, 64)
		return n
	}
	switch name := string(d.key); name {
	case "redis-ver", "valkey-ver":
		d.aux.Version = value
	case "repl-id":
		d.aux.ReplID = value
	case "repl-offset":
		d.aux.Offset = replog.Offset(number())
	case "repl-stream-db":
		d.aux.StreamDB = int(number())
	case "ctime":
		d.aux.CTime = number()
	case "used-mem":
		d.aux.UsedMem = number()
	}
	if err != nil {
		return fmt.Errorf("its %.64q is %.64q, want a number", d.key, value)
	}
	return nil
}

// entry reads one key and loads it.
func (d *decoder) entry(kind byte, expireAt int64) (err error) {
	if d.key, err = d.text(d.key[:0]); err != nil {
		if !supported(kind) {
			err = fmt.Errorf("it has a %s, which is not supported", typeName(kind))
		}
		return err
	}
	d.elements.reset()
	clear(d.list)
	d.list, d.scores = d.list[:0], d.scores[:0]
	switch kind {
	case typeString:
		if d.blob, err = d.text(d.blob[:0]); err == nil {
			err = d.load.String(d.key, d.blob, expireAt)
		}
		d.shrink()
		return err
	case typeSet, typeSetInts, typeSetPack:
		err = d.members(kind)
	case typeHash, typeHashZiplist, typeHashPack:
		err = d.members(kind)
		if err == nil && len(d.elements.ends)%2 != 0 {
			err = errors.New("a field has no value")
		}
	case typeSortedSet, typeSortedSet2:
		err = d.scored(kind)
	case typeSortedSetZiplist, typeSortedSetPack, typeList, typeListZiplist:
		err = d.members(kind)
	case typeListZiplists, typeListPacks:
		err = d.nodes(kind)
	case typeStream, typeStream2, typeStream3:
		err = d.stream(kind, expireAt)
		d.shrink()
		return err
	default:
		err = fmt.Errorf("it is a %s, which is not supported", typeName(kind))
	}
	switch {
	case err == nil && len(d.elements.ends) == 0:
		// Some servers have saved such keys by mistake. Redis skips them, too.
		d.aux.Empty++
	case err == nil:
		d.list = d.elements.list(d.list)
		err = d.loadList(kind, expireAt)
	}
	d.shrink()
	if err != nil {
		return fmt.Errorf("key %.64q: %w", d.key, err)
	}
	return nil
}

// shrink releases large buffers that one huge value needed.
func (d *decoder) shrink() {
	if cap(d.blob) > 1<<20 {
		d.blob = nil
	}
	if cap(d.packed) > 1<<20 {
		d.packed = nil
	}
	if cap(d.list) > 1<<16 {
		d.list, d.scores = nil, nil
	}
}

// count reads a length that must not be a special form of string.
func (d *decoder) count() (uint64, error) {
	n, special, err := d.length()
	if err == nil && special {
		err = errors.New("a count is expected where a string is")
	}
	return n, err
}

// length reads a length, or the number of a special form of string.
func (d *decoder) length() (n uint64, special bool, err error) {
	c, err := d.byte()
	if err != nil {
		return 0, false, err
	}
	switch {
	case c&0xc0 == lenSpecial:
		return uint64(c & 0x3f), true, nil
	case c&0xc0 == 0:
		return uint64(c), false, nil
	case c&0xc0 == len14:
		low, err := d.byte()
		return uint64(c&0x3f)<<8 | uint64(low), false, err
	case c == len32:
		b, err := d.fixed(4)
		if err != nil {
			return 0, false, err
		}
		return uint64(binary.BigEndian.Uint32(b)), false, nil
	case c == len64:
		b, err := d.fixed(8)
		if err != nil {
			return 0, false, err
		}
		return binary.BigEndian.Uint64(b), false, nil
	}
	return 0, false, fmt.Errorf("length of unknown form %#x", c)
}

// text reads the next string and appends it to dst.
func (d *decoder) text(dst []byte) ([]byte, error) { return d.textUpTo(dst, maxString) }

func (d *decoder) textUpTo(dst []byte, limit uint64) ([]byte, error) {
	n, special, err := d.length()
	d.inflated = false
	if err != nil {
		return dst, err
	}
	if !special {
		if n > limit {
			return dst, fmt.Errorf("string of %d bytes; %d are allowed", n, limit)
		}
		return d.appendBytes(dst, n)
	}
	switch n {
	case specialInt8, specialInt16, specialInt32:
		b, err := d.fixed(1 << n)
		if err != nil {
			return dst, err
		}
		return strconv.AppendInt(dst, littleInt(b), 10), nil
	case specialLZF:
		return d.compressed(dst, limit)
	}
	return dst, fmt.Errorf("string of unknown form %d", n)
}

func (d *decoder) compressed(dst []byte, limit uint64) ([]byte, error) {
	packed, err := d.count()
	if err != nil {
		return dst, err
	}
	size, err := d.count()
	if err != nil {
		return dst, err
	}
	if size > limit {
		return dst, fmt.Errorf("string of %d bytes; %d are allowed", size, limit)
	}
	// Three compressed bytes expand to 264 bytes at most.
	if packed > limit || size > packed*88 {
		return dst, fmt.Errorf("string of %d bytes compressed to %d", size, packed)
	}
	if d.packed, err = d.appendBytes(d.packed[:0], packed); err != nil {
		return dst, err
	}
	d.inflated = size > maxPacked
	return decompress(dst, d.packed, int(size))
}
