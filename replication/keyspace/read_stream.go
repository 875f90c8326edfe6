package keyspace

import (
	"bytes"
	"math"
	"strings"

	"rowfall/replication/resp"
)

// streamReaders are the commands of streams.
var streamReaders = map[string]*reader{
	"XRANGE":    {-4, xrange(false)},
	"XREVRANGE": {-4, xrange(true)},
	"XLEN":      {2, length(Stream)},
	"XREAD":     {-4, xread},
	"XINFO":     {-2, xinfo},
}

func appendStreamID(dst []byte, id StreamID) []byte { return resp.AppendBulkString(dst, id.String()) }

func appendEntry(dst []byte, e StreamEntry) []byte {
	dst = appendStreamID(resp.AppendArray(dst, 2), e.ID)
	dst = resp.AppendArray(dst, 2*e.Len())
	for f, val := range e.Pairs {
		dst = resp.AppendBulk(resp.AppendBulk(dst, f), val)
	}
	return dst
}

// appendEntries appends at most so many entries, or all of them with a limit
// below 0, and returns their number.
func appendEntries(dst []byte, v Value, first, last StreamID, reverse bool, limit int64) (out []byte, n int) {
	var items []byte
	v.EntryRange(first, last, reverse, func(e StreamEntry) bool {
		if int64(n) == limit {
			return false
		}
		items = appendEntry(items, e)
		n++
		return true
	})
	return append(resp.AppendArray(dst, n), items...), n
}

// streamBound reads one end of XRANGE. It returns an error text or "".
func streamBound(b []byte, lowest bool) (id StreamID, message string) {
	switch {
	case string(b) == "-":
		return StreamID{}, ""
	case string(b) == "+":
		return maxStreamID, ""
	}
	seq := uint64(0)
	if !lowest {
		seq = math.MaxUint64
	}
	exclusive := len(b) > 1 && b[0] == '('
	if exclusive {
		b = b[1:]
	}
	id, ok := parseStreamID(b, seq)
	switch {
	case !ok:
		return id, invalidStreamID
	case !exclusive:
		return id, ""
	case lowest && id == maxStreamID:
		return id, "ERR invalid start ID for the interval"
	case lowest:
		return id.Next(), ""
	case id.IsZero():
		return id, "ERR invalid end ID for the interval"
	}
	return id.Previous(), ""
}

// xrange answers XRANGE and XREVRANGE.
func xrange(reverse bool) func(*Keyspace, []byte, int, [][]byte) []byte {
	return func(k *Keyspace, dst []byte, proto int, args [][]byte) []byte {
		lowest, greatest := args[2], args[3]
		if reverse {
			lowest, greatest = greatest, lowest
		}
		first, message := streamBound(lowest, true)
		if message != "" {
			return resp.AppendError(dst, message)
		}
		last, message := streamBound(greatest, false)
		if message != "" {
			return resp.AppendError(dst, message)
		}
		limit := int64(-1)
		for i := 4; i < len(args); i += 2 {
			if i+1 == len(args) || !bytes.EqualFold(args[i], []byte("COUNT")) {
				return resp.AppendError(dst, syntaxError)
			}
			n, ok := ParseInt(args[i+1])
			if !ok {
				return resp.AppendError(dst, notInteger)
			}
			limit = max(n, 0)
		}
		v, dst, ok := k.fetch(dst, args[1], Stream)
		switch {
		case !ok:
			return dst
		case v.Kind() != 0 && limit == 0:
			return resp.AppendNullArray(dst, proto)
		}
		dst, _ = appendEntries(dst, v, first, last, reverse, limit)
		return dst
	}
}

// xread answers at once, BLOCK or not: as Redis does inside of MULTI.
func xread(k *Keyspace, dst []byte, proto int, args [][]byte) []byte {
	limit, at := int64(-1), 0
	for i := 1; i < len(args) && at == 0; i++ {
		switch word := strings.ToUpper(string(args[i][:min(len(args[i]), 8)])); {
		case word == "STREAMS" && i+1 < len(args):
			at = i + 1
		case (word == "COUNT" || word == "BLOCK") && i+1 < len(args):
			i++
			n, ok := ParseInt(args[i])
			switch {
			case word == "COUNT" && !ok:
				return resp.AppendError(dst, notInteger)
			case word == "COUNT" && n > 0:
				limit = n
			case word == "COUNT":
				limit = -1
			case !ok:
				return resp.AppendError(dst, "ERR timeout is not an integer or out of range")
			case n < 0:
				return resp.AppendError(dst, "ERR timeout is negative")
			}
		case word == "GROUP" || word == "NOACK":
			return resp.AppendError(dst, "ERR The "+word+" option is only supported by XREADGROUP. You called XREAD instead.")
		default:
			return resp.AppendError(dst, syntaxError)
		}
	}
	keys := args[at:]
	if at == 0 {
		return resp.AppendError(dst, syntaxError)
	}
	if len(keys)%2 != 0 {
		return resp.AppendError(dst, "ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.")
	}
	return k.readStreams(dst, proto, keys[:len(keys)/2], keys[len(keys)/2:], limit)
}

func (k *Keyspace) readStreams(dst []byte, proto int, keys, after [][]byte, limit int64) []byte {
	var items []byte
	message := ""
	i, n := 0, 0
	k.readAll(keys, func(v Value) {
		key, word := keys[i], after[i]
		i++
		if message != "" {
			return
		}
		var entries []byte
		var found int
		if entries, found, message = readAfter(v, word, limit); found == 0 {
			return
		}
		if n++; proto < 3 {
			items = resp.AppendArray(items, 2)
		}
		items = append(resp.AppendBulk(items, key), entries...)
	})
	switch {
	case message != "":
		return resp.AppendError(dst, message)
	case n == 0:
		return resp.AppendNullArray(dst, proto)
	case proto < 3:
		dst = resp.AppendArray(dst, n)
	default:
		dst = resp.AppendMap(dst, proto, n)
	}
	return append(dst, items...)
}

// readAfter renders the entries behind an id; with "+" the last one, with "$"
// what comes from now on, which is nothing.
func readAfter(v Value, word []byte, limit int64) (entries []byte, n int, message string) {
	if v.Kind() != 0 && v.Kind() != Stream {
		return nil, 0, wrongType
	}
	switch string(word) {
	case "$":
		return nil, 0, ""
	case "+":
		entries, n = appendEntries(nil, v, StreamID{}, maxStreamID, true, 1)
		return entries, n, ""
	}
	id, ok := parseStreamID(word, 0)
	switch {
	case !ok:
		return nil, 0, invalidStreamID
	case id == maxStreamID:
		return nil, 0, ""
	}
	entries, n = appendEntries(nil, v, id.Next(), maxStreamID, false, limit)
	return entries, n, ""
}

// xinfo answers XINFO STREAM without FULL, and that there are no groups.
func xinfo(k *Keyspace, dst []byte, proto int, args [][]byte) []byte {
	sub := strings.ToUpper(string(args[1][:min(len(args[1]), 128)]))
	switch {
	case sub != "STREAM" && sub != "GROUPS" && sub != "CONSUMERS":
		return resp.AppendError(dst, "ERR unknown subcommand '"+string(args[1][:min(len(args[1]), 128)])+"'. Try XINFO HELP.")
	case len(args) < 3, sub == "GROUPS" && len(args) != 3, sub == "CONSUMERS" && len(args) != 4:
		return resp.AppendError(dst, arityError([]byte("xinfo|"+sub)))
	}
	v, dst, ok := k.fetch(dst, args[2], Stream)
	switch {
	case !ok:
		return dst
	case v.Kind() == 0:
		return resp.AppendError(dst, "ERR no such key")
	case sub == "GROUPS":
		return resp.AppendArray(dst, 0)
	case sub == "CONSUMERS":
		return resp.AppendError(dst, "NOGROUP No such consumer group '"+string(args[3])+"' for key name '"+string(args[2])+"'")
	case len(args) > 3 && bytes.EqualFold(args[3], []byte("FULL")):
		return resp.AppendError(dst, "ERR XINFO STREAM FULL is not supported")
	case len(args) > 3:
		return resp.AppendError(dst, "ERR unknown subcommand or wrong number of arguments for '"+string(args[1])+"'. Try XINFO HELP.")
	}
	return appendStreamInfo(dst, proto, v)
}

func appendStreamInfo(dst []byte, proto int, v Value) []byte {
	info := v.Stream()
	var first, last StreamEntry
	v.EntryRange(StreamID{}, maxStreamID, false, func(e StreamEntry) bool { first = e; return false })
	v.EntryRange(StreamID{}, maxStreamID, true, func(e StreamEntry) bool { last = e; return false })
	dst = resp.AppendMap(dst, proto, 10)
	number := func(name string, n uint64) { dst = resp.AppendInt(resp.AppendBulkString(dst, name), int64(n)) }
	id := func(name string, id StreamID) { dst = appendStreamID(resp.AppendBulkString(dst, name), id) }
	entry := func(name string, e StreamEntry) {
		if dst = resp.AppendBulkString(dst, name); v.Len() == 0 {
			dst = resp.AppendNull(dst, proto)
		} else {
			dst = appendEntry(dst, e)
		}
	}
	number("length", uint64(v.Len()))
	// How Redis's own radix tree would look: one node of a hundred entries each.
	nodes := uint64(v.Len()+99) / 100
	number("radix-tree-keys", nodes)
	number("radix-tree-nodes", nodes+1)
	id("last-generated-id", info.Last)
	id("max-deleted-entry-id", info.MaxDeleted)
	number("entries-added", info.Added)
	id("recorded-first-entry-id", first.ID)
	number("groups", 0)
	entry("first-entry", first)
	entry("last-entry", last)
	return dst
}
