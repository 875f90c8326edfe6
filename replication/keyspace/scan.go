package keyspace

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"rowfall/replication/keyspace/value"
	"rowfall/replication/resp"
)

// cursorShift makes SCAN cursors the top 48 bits of a hash, so that they stay exact in clients that
// store numbers as doubles.
const cursorShift = 16

// scanOptions are the options of SCAN, HSCAN, SSCAN and ZSCAN.
type scanOptions struct {
	pattern  []byte // nil: all names
	count    int
	kind     string
	noValues bool
}

func parseCursor(arg []byte) (cursor uint64, message string) {
	cursor, err := strconv.ParseUint(string(arg[:min(len(arg), 32)]), 10, 64)
	if err != nil {
		return 0, "ERR invalid cursor"
	}
	return cursor, ""
}

// parseScan parses the options of a scan. command is the kind of value that is scanned, or None for
// SCAN itself.
func parseScan(args [][]byte, command Kind) (o scanOptions, message string) {
	o.count = 10
	for i := 0; i < len(args); i++ {
		word := strings.ToUpper(string(args[i][:min(len(args[i]), 16)]))
		if word == "NOVALUES" && command == Hash {
			o.noValues = true
			continue
		}
		if i+1 == len(args) {
			return o, syntaxError
		}
		i++
		switch {
		case word == "MATCH":
			if o.pattern = args[i]; string(o.pattern) == "*" {
				o.pattern = nil
			}
		case word == "COUNT":
			n, ok := ParseInt(args[i])
			if !ok {
				return o, notInteger
			}
			if n < 1 {
				return o, syntaxError
			}
			o.count = int(min(n, math.MaxInt32))
		case word == "TYPE" && command == value.None:
			o.kind = strings.ToLower(string(args[i][:min(len(args[i]), 16)]))
		default:
			return o, syntaxError
		}
	}
	return o, ""
}

func (o *scanOptions) matches(name []byte) bool {
	return o.pattern == nil || match(o.pattern, name)
}

// collectionScan answers HSCAN, SSCAN and ZSCAN. The reply starts with the number of elements, so
// it walks over them twice.
func collectionScan(kind Kind) func(*readState, *resp.Writer, [][]byte) {
	return func(k *readState, w *resp.Writer, args [][]byte) {
		cursor, message := parseCursor(args[2])
		if message != "" {
			w.Error(message)
			return
		}
		v, ok := k.fetch(w, args[1], kind)
		switch {
		case !ok:
			return
		case v.Kind() == value.None:
			startScanReply(w, 0, 0) // Redis ignores the options of an absent key
			return
		}
		o, message := parseScan(args[3:], kind)
		if message != "" {
			w.Error(message)
			return
		}
		n, each := 0, 1
		if kind == Hash && !o.noValues || kind == SortedSet {
			each = 2
		}
		next := v.Scan(cursor, o.count, func(name, _ []byte) bool {
			if o.matches(name) {
				n += each
			}
			return true
		})
		startScanReply(w, next, n)
		v.Scan(cursor, o.count, func(name, val []byte) bool {
			if !o.matches(name) {
				return true
			}
			w.Bulk(name)
			switch {
			case kind == Hash && !o.noValues:
				w.Bulk(val)
			case kind == SortedSet:
				var room [32]byte
				// A bulk string also in protocol 3.
				w.Bulk(resp.AppendFloat(room[:0], value.DecodeScore(val)))
			}
			return w.OK()
		})
	}
}

// startScanReply renders the cursor and the number of elements that follow.
func startScanReply(w *resp.Writer, next uint64, n int) {
	w.Array(2)
	w.BulkString(strconv.FormatUint(next, 10))
	w.Array(n)
}

// maxRememberedScan is the largest COUNT for which SCAN keeps the keys that it finds in memory, 16
// bytes each. With a larger COUNT it walks over a view twice.
const maxRememberedScan = 4096

func scan(k *readState, w *resp.Writer, args [][]byte) {
	cursor, message := parseCursor(args[1])
	if message != "" {
		w.Error(message)
		return
	}
	o, message := parseScan(args[2:], value.None)
	if message != "" {
		w.Error(message)
		return
	}
	now := k.now()
	shown := func(rec record) bool {
		key := rec.key()
		return !k.isHidden(key) && !expired(rec.expireAt(), now) && o.matches(bytesOf(key)) &&
			(o.kind == "" || o.kind == rec.kind().String())
	}
	if o.count > maxRememberedScan {
		v := k.viewAll()
		defer v.Close()
		n := 0
		next := v.state.scan(cursor, cursorShift, o.count, func(rec record) bool {
			n += int(flag(shown(rec)))
			return true
		})
		startScanReply(w, next, n)
		v.state.scan(cursor, cursorShift, o.count, func(rec record) bool {
			if shown(rec) {
				w.BulkString(rec.key())
			}
			return w.OK()
		})
		return
	}
	var found []string
	next := k.scan(cursor, cursorShift, o.count, func(rec record) bool {
		if shown(rec) {
			found = append(found, rec.key())
		}
		return true
	})
	startScanReply(w, next, len(found))
	for _, key := range found {
		if w.BulkString(key); !w.OK() {
			return
		}
	}
}

// scan visits about count keys in the order of their hashes, starting at the cursor's position. It
// returns the cursor of the position after them, or 0 at the end or if visit returned false. A
// position is a hash without its last shift bits; keys that share a position are never separated.
// The lock is held for one shard at a time, so a large count does not delay writers. The caller
// must have pinned the arenas.
func (k *readState) scan(
	cursor uint64, shift uint, count int, visit func(rec record) bool,
) (next uint64) {
	if cursor >= 1<<(64-shift) {
		return 0
	}
	hash, n, last := cursor<<shift, 0, uint64(0)
	for {
		var found []record
		k.mu.RLock()
		d := k.table.dir.Load()
		s := d.shard(hash)
		for i := k.table.seek(s, hash); i < s.slots.len() && len(found) <= max(count-n, 0); i++ {
			if e := s.slots.at(i); e != 0 {
				found = append(found, k.table.record(e.at()))
			}
		}
		after := s.after(hash)
		k.mu.RUnlock()
		for _, rec := range found {
			place := hashOf(bytesOf(rec.key())) >> shift
			if n >= count && place != last {
				return last + 1
			}
			if !visit(rec) {
				return 0
			}
			n, last = n+1, place
		}
		switch {
		case len(found) > 0 && n > count:
			// More keys may share the last position.
			hash = hashOf(bytesOf(found[len(found)-1].key())) + 1
		case after == 0:
			return 0
		default:
			hash = after
		}
		if hash == 0 {
			return 0
		}
	}
}

// after returns the first hash after the shard that the given hash belongs to, or 0 if that is the
// last shard.
func (s *shard) after(hash uint64) uint64 {
	if s.depth == 0 {
		return 0
	}
	return (hash>>(64-s.depth) + 1) << (64 - s.depth)
}

func (k *readState) isHidden(key string) bool {
	return k.hiddenPrefix != "" && strings.HasPrefix(key, k.hiddenPrefix)
}

// keys answers KEYS. It walks over a view twice, because the reply starts with the number of keys.
func keys(k *readState, w *resp.Writer, args [][]byte) {
	now := k.now()
	all := string(args[1]) == "*"
	shown := func(rec record) bool {
		key := rec.key()
		return (all || match(args[1], bytesOf(key))) && !k.isHidden(key) &&
			!expired(rec.expireAt(), now)
	}
	v := k.viewAll()
	defer v.Close()
	n := 0
	v.state.scan(0, cursorShift, math.MaxInt, func(rec record) bool {
		n += int(flag(shown(rec)))
		return true
	})
	w.Array(n)
	v.state.scan(0, cursorShift, math.MaxInt, func(rec record) bool {
		if shown(rec) {
			w.BulkString(rec.key())
		}
		return w.OK()
	})
}

func dbsize(k *readState, w *resp.Writer, _ [][]byte) {
	w.Int(int64(k.visibleKeys()))
}

// randomkey answers RANDOMKEY with the first visible key after a random position, wrapping around
// once.
func randomkey(k *readState, w *resp.Writer, _ [][]byte) {
	now := k.now()
	start := rand.Uint64() >> cursorShift
	for cursor, wrapped := start, false; ; {
		var key string
		next := k.scan(cursor, cursorShift, 16, func(rec record) bool {
			if name := rec.key(); key == "" && !k.isHidden(name) && !expired(rec.expireAt(), now) {
				key = name
			}
			return true
		})
		if key != "" {
			w.BulkString(key)
			return
		}
		if next == 0 && !wrapped {
			wrapped = true
		} else if next == 0 || wrapped && next > start {
			w.Null()
			return
		}
		cursor = next
	}
}
