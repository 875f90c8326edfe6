package keyspace

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"rowfall/replication/keyspace/value"
	"rowfall/replication/resp"
)

// cursorShift makes a cursor of SCAN the top 48 bits of a hash, so that it is
// exact even in clients that keep numbers as doubles.
const cursorShift = 16

// scanOptions are those of SCAN, HSCAN, SSCAN and ZSCAN.
type scanOptions struct {
	pattern  []byte // nil: everything
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

// parseScan reads the options of a scan by a command of the given kind, None
// for SCAN itself.
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

// collectionScan answers HSCAN, SSCAN and ZSCAN.
func collectionScan(kind Kind) func(*Keyspace, []byte, int, [][]byte) []byte {
	return func(k *Keyspace, dst []byte, _ int, args [][]byte) []byte {
		cursor, message := parseCursor(args[2])
		if message != "" {
			return resp.AppendError(dst, message)
		}
		v, dst, ok := k.fetch(dst, args[1], kind)
		switch {
		case !ok:
			return dst
		case v.Kind() == value.None:
			return appendScanned(dst, 0, 0, nil) // Redis looks at no option then
		}
		o, message := parseScan(args[3:], kind)
		if message != "" {
			return resp.AppendError(dst, message)
		}
		var items []byte
		n := 0
		next := v.Scan(cursor, o.count, func(name, val []byte) {
			if !o.matches(name) {
				return
			}
			items = resp.AppendBulk(items, name)
			n++
			switch {
			case kind == Hash && !o.noValues:
				items = resp.AppendBulk(items, val)
				n++
			case kind == SortedSet:
				items = resp.AppendDouble(items, 2, value.DecodeScore(val))
				n++
			}
		})
		return appendScanned(dst, next, n, items)
	}
}

func appendScanned(dst []byte, next uint64, n int, items []byte) []byte {
	dst = resp.AppendArray(dst, 2)
	dst = resp.AppendBulkString(dst, strconv.FormatUint(next, 10))
	return append(resp.AppendArray(dst, n), items...)
}

func scan(k *Keyspace, dst []byte, _ int, args [][]byte) []byte {
	cursor, message := parseCursor(args[1])
	if message != "" {
		return resp.AppendError(dst, message)
	}
	o, message := parseScan(args[2:], value.None)
	if message != "" {
		return resp.AppendError(dst, message)
	}
	var items []byte
	n, now := 0, k.now()
	next := k.scan(cursor, cursorShift, o.count, func(rec record) {
		key := rec.key()
		if k.isHidden(key) || expired(rec.expireAt(), now) || !o.matches(view(key)) ||
			o.kind != "" && o.kind != rec.kind().String() {
			return
		}
		items = resp.AppendBulkString(items, key)
		n++
	})
	return appendScanned(dst, next, n, items)
}

// scan visits about count keys in the order of their hashes, from the place of
// a cursor on, and returns the cursor of the place after them, 0 at the end. A
// place is a hash without its last bits, shift of them; keys that share one are
// never divided. The lock is held for one shard at a time, so a large count does
// not hold writers up. The caller has the arena pinned.
func (k *Keyspace) scan(cursor uint64, shift uint, count int, visit func(rec record)) (next uint64) {
	if cursor >= 1<<(64-shift) {
		return 0
	}
	hash, n, last := cursor<<shift, 0, uint64(0)
	for {
		var found []record
		k.mu.RLock()
		d := k.table.dir.Load()
		s := d.shard(hash)
		for i := k.table.seek(s, hash); i < len(s.slots) && len(found) <= max(count-n, 0); i++ {
			if s.slots[i] != 0 {
				found = append(found, k.table.record(s.slots[i].at()))
			}
		}
		after := s.after(hash)
		k.mu.RUnlock()
		for _, rec := range found {
			place := hashOf(view(rec.key())) >> shift
			if n >= count && place != last {
				return last + 1
			}
			visit(rec)
			n, last = n+1, place
		}
		switch {
		case len(found) > 0 && n > count:
			// Keys that share the last place may go on.
			hash = hashOf(view(found[len(found)-1].key())) + 1
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

// after returns the first hash behind the shard that the given one belongs to,
// 0 if that is the last shard.
func (s *shard) after(hash uint64) uint64 {
	if s.depth == 0 {
		return 0
	}
	return (hash>>(64-s.depth) + 1) << (64 - s.depth)
}

func (k *Keyspace) isHidden(key string) bool {
	return k.hidden != "" && strings.HasPrefix(key, k.hidden)
}

func keys(k *Keyspace, dst []byte, _ int, args [][]byte) []byte {
	now := k.now()
	s := k.snapshot()
	defer s.Close()
	var items []byte
	n := 0
	all := string(args[1]) == "*"
	_ = s.records(func(rec record, _ *value.Big) error { // no error but the visitor's
		key := rec.key()
		if (all || match(args[1], view(key))) && !k.isHidden(key) && !expired(rec.expireAt(), now) {
			items = resp.AppendBulkString(items, key)
			n++
		}
		return nil
	})
	return append(resp.AppendArray(dst, n), items...)
}

func dbsize(k *Keyspace, dst []byte, _ int, _ [][]byte) []byte {
	return resp.AppendInt(dst, int64(k.Len()))
}

// randomkey takes the first key behind a random place that may be shown, going
// round once.
func randomkey(k *Keyspace, dst []byte, proto int, _ [][]byte) []byte {
	now := k.now()
	start := rand.Uint64() >> cursorShift
	for cursor, wrapped := start, false; ; {
		var key string
		next := k.scan(cursor, cursorShift, 16, func(rec record) {
			if name := rec.key(); key == "" && !k.isHidden(name) && !expired(rec.expireAt(), now) {
				key = name
			}
		})
		if key != "" {
			return resp.AppendBulkString(dst, key)
		}
		if next == 0 && !wrapped {
			wrapped = true
		} else if next == 0 || wrapped && next > start {
			return resp.AppendNull(dst, proto)
		}
		cursor = next
	}
}
