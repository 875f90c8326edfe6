package keyspace

import (
	"bytes"
	"math"
	"strings"

	"rowfall/replication/resp"
)

// streamReaders are the commands of streams.
var streamReaders = map[string]*reader{
	"XRANGE":    {arity: -4, run: xrange(false)},
	"XREVRANGE": {arity: -4, run: xrange(true)},
	"XLEN":      {arity: 2, run: length(Stream)},
	"XREAD":     {arity: -4, flags: keyless | movableKeys, run: xread},
	"XINFO":     {arity: -2, keys: keyRange{2, 2, 1}, run: xinfo},
}

func renderEntry(w *resp.Writer, e StreamEntry) {
	w.Array(2)
	w.BulkString(e.ID.String())
	w.Array(2 * e.Len())
	for f, val := range e.Pairs {
		w.Bulk(f)
		w.Bulk(val)
		if !w.OK() {
			return
		}
	}
}

// entryRun is a run of entries of a stream, by rank.
type entryRun struct {
	v       Value
	lo, hi  int
	reverse bool
}

// runOf returns the entries with ids from first to last: at most limit of them in reading order, or
// all if limit is negative.
func runOf(v Value, first, last StreamID, reverse bool, limit int64) entryRun {
	r := entryRun{v: v, reverse: reverse}
	r.lo, r.hi = v.EntryRanks(first, last)
	switch {
	case limit < 0 || limit >= int64(r.len()):
	case reverse:
		r.lo = r.hi - int(limit)
	default:
		r.hi = r.lo + int(limit)
	}
	return r
}

func (r entryRun) len() int { return r.hi - r.lo }

func (r entryRun) render(w *resp.Writer) {
	w.Array(r.len())
	r.v.EntryRange(r.lo, r.hi, r.reverse, func(e StreamEntry) bool {
		renderEntry(w, e)
		return w.OK()
	})
}

// streamBound parses one end of XRANGE. message is an error text or "".
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
func xrange(reverse bool) func(*readState, *resp.Writer, [][]byte) {
	return func(k *readState, w *resp.Writer, args [][]byte) {
		lowest, greatest := args[2], args[3]
		if reverse {
			lowest, greatest = greatest, lowest
		}
		first, message := streamBound(lowest, true)
		if message != "" {
			w.Error(message)
			return
		}
		last, message := streamBound(greatest, false)
		if message != "" {
			w.Error(message)
			return
		}
		limit := int64(-1)
		for i := 4; i < len(args); i += 2 {
			if i+1 == len(args) || !bytes.EqualFold(args[i], []byte("COUNT")) {
				w.Error(syntaxError)
				return
			}
			n, ok := ParseInt(args[i+1])
			if !ok {
				w.Error(notInteger)
				return
			}
			limit = max(n, 0)
		}
		v, ok := k.fetch(w, args[1], Stream)
		switch {
		case !ok:
			return
		case v.Kind() != 0 && limit == 0:
			w.NullArray()
			return
		}
		runOf(v, first, last, reverse, limit).render(w)
	}
}

// xread answers at once even with BLOCK, as Redis does inside MULTI.
func xread(k *readState, w *resp.Writer, args [][]byte) {
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
				w.Error(notInteger)
				return
			case word == "COUNT" && n > 0:
				limit = n
			case word == "COUNT":
				limit = -1
			case !ok:
				w.Error("ERR timeout is not an integer or out of range")
				return
			case n < 0:
				w.Error("ERR timeout is negative")
				return
			}
		case word == "GROUP" || word == "NOACK":
			w.Error("ERR The " + word + " option is only supported by XREADGROUP. " +
				"You called XREAD instead.")
			return
		default:
			w.Error(syntaxError)
			return
		}
	}
	keys := args[at:]
	if at == 0 {
		w.Error(syntaxError)
		return
	}
	if len(keys)%2 != 0 {
		w.Error("ERR Unbalanced 'xread' list of streams: " +
			"for each stream key an ID, '+', or '$' must be specified.")
		return
	}
	k.readStreams(w, keys[:len(keys)/2], keys[len(keys)/2:], limit)
}

func (k *readState) readStreams(w *resp.Writer, keys, after [][]byte, limit int64) {
	type found struct {
		key []byte
		run entryRun
	}
	var all []found
	message := ""
	i := 0
	k.readAll(keys, func(v Value) bool {
		var run entryRun
		if run, message = runAfter(v, after[i], limit); run.len() > 0 {
			all = append(all, found{keys[i], run})
		}
		i++
		return message == ""
	})
	switch {
	case message != "":
		w.Error(message)
		return
	case len(all) == 0:
		w.NullArray()
		return
	case w.Proto() < 3:
		w.Array(len(all))
	default:
		w.Map(len(all))
	}
	for _, f := range all {
		if w.Proto() < 3 {
			w.Array(2)
		}
		w.Bulk(f.key)
		if f.run.render(w); !w.OK() {
			return
		}
	}
}

// runAfter returns the entries after an id; "+" selects the last entry, and "$" selects later
// entries only, so none.
func runAfter(v Value, word []byte, limit int64) (run entryRun, message string) {
	if v.Kind() != 0 && v.Kind() != Stream {
		return run, wrongType
	}
	switch string(word) {
	case "$":
		return run, ""
	case "+":
		return runOf(v, StreamID{}, maxStreamID, true, 1), ""
	}
	id, ok := parseStreamID(word, 0)
	switch {
	case !ok:
		return run, invalidStreamID
	case id == maxStreamID:
		return run, ""
	}
	return runOf(v, id.Next(), maxStreamID, false, limit), ""
}

// xinfo answers XINFO STREAM without FULL, and XINFO GROUPS and CONSUMERS as for a stream without
// groups.
func xinfo(k *readState, w *resp.Writer, args [][]byte) {
	sub := strings.ToUpper(string(args[1][:min(len(args[1]), 128)]))
	switch {
	case sub != "STREAM" && sub != "GROUPS" && sub != "CONSUMERS":
		w.Error(
			"ERR unknown subcommand '" + string(
				args[1][:min(len(args[1]), 128)],
			) + "'. Try XINFO HELP.",
		)
		return
	case len(args) < 3, sub == "GROUPS" && len(args) != 3, sub == "CONSUMERS" && len(args) != 4:
		w.Error(arityError([]byte("xinfo|" + sub)))
		return
	}
	v, ok := k.fetch(w, args[2], Stream)
	switch {
	case !ok:
		return
	case v.Kind() == 0:
		w.Error("ERR no such key")
		return
	case sub == "GROUPS":
		w.Array(0)
		return
	case sub == "CONSUMERS":
		w.Error(
			"NOGROUP No such consumer group '" + string(args[3]) + "' for key name '" + string(
				args[2],
			) + "'",
		)
		return
	case len(args) > 3 && bytes.EqualFold(args[3], []byte("FULL")):
		w.Error("ERR XINFO STREAM FULL is not supported")
		return
	case len(args) > 3:
		w.Error(
			"ERR unknown subcommand or wrong number of arguments for '" + string(
				args[1],
			) + "'. Try XINFO HELP.",
		)
		return
	}
	renderStreamInfo(w, v)
}

func renderStreamInfo(w *resp.Writer, v Value) {
	info := v.Stream()
	var first, last StreamEntry
	v.EntryRange(0, 1, false, func(e StreamEntry) bool { first = e; return false })
	v.EntryRange(max(v.Len()-1, 0), v.Len(), false,
		func(e StreamEntry) bool { last = e; return false })
	w.Map(10)
	number := func(name string, n uint64) {
		w.BulkString(name)
		w.Int(int64(n))
	}
	id := func(name string, id StreamID) {
		w.BulkString(name)
		w.BulkString(id.String())
	}
	entry := func(name string, e StreamEntry) {
		if w.BulkString(name); v.Len() == 0 {
			w.Null()
		} else {
			renderEntry(w, e)
		}
	}
	number("length", uint64(v.Len()))
	// The numbers of Redis's own radix tree, with a hundred entries in each node.
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
}
