package keyspace

import (
	"math"
	"strings"

	"rowfall/replication/resp"
)

// reader is the row of a read command. run renders the reply; args starts with the name.
type reader struct {
	arity int // as Command.Arity
	keys  keyRange
	flags commandFlags
	run   func(k *readState, w *resp.Writer, args [][]byte)
}

// readers are the commands that Execute answers.
var readers map[string]*reader

// init fills readers: without it, the readers would refer to themselves, since SCAN opens a View.
func init() {
	readers = joined(keyReaders, stringReaders, hashReaders, setReaders, sortedSetReaders,
		listReaders, streamReaders)
}

// keyReaders are the commands for keys of any kind.
var keyReaders = map[string]*reader{
	"EXISTS":      {arity: -2, keys: everyArg, run: exists},
	"TOUCH":       {arity: -2, keys: everyArg, run: exists},
	"TYPE":        {arity: 2, run: typeOf},
	"TTL":         {arity: 2, run: timeLeft(1000, true)},
	"PTTL":        {arity: 2, run: timeLeft(1, true)},
	"EXPIRETIME":  {arity: 2, run: timeLeft(1000, false)},
	"PEXPIRETIME": {arity: 2, run: timeLeft(1, false)},
	"OBJECT":      {arity: -2, keys: keyRange{2, 2, 1}, run: object},
	"SCAN":        {arity: -2, flags: keyless | readsOthers, run: scan},
	"KEYS":        {arity: 2, flags: keyless | readsOthers, run: keys},
	"DBSIZE":      {arity: 1, flags: keyless, run: dbsize},
	"RANDOMKEY":   {arity: 1, flags: keyless | readsOthers, run: randomkey},
}

// stringReaders are the commands of strings.
var stringReaders = map[string]*reader{
	"GET":      {arity: 2, run: get},
	"MGET":     {arity: -2, keys: everyArg, run: mget},
	"STRLEN":   {arity: 2, run: strlen},
	"GETRANGE": {arity: 4, run: getrange},
	"SUBSTR":   {arity: 4, run: getrange},
}

// Execute renders the reply of a read command. It returns false, and renders nothing, if args is
// not a read command of the keyspace. See Run.
func (k *Keyspace) Execute(w *resp.Writer, args [][]byte) (handled bool) {
	return k.reply(w, args)
}

// reply is Keyspace.Execute and View.Execute.
func (k *readState) reply(w *resp.Writer, args [][]byte) (handled bool) {
	r := readCommand(args)
	if r == nil {
		return false
	}
	k.run(w, r, args)
	return true
}

// Run renders the reply of the read command of row r: an error reply where Redis would send one.
// What stays in the writer shares no memory with the keyspace; what the writer sends may. Until Run
// returns, replaced data that a reply may still need stay in memory.
func (k *Keyspace) Run(w *resp.Writer, r Row, args [][]byte) { k.run(w, r.read, args) }

// run is Keyspace.Run and View.Run.
func (k *readState) run(w *resp.Writer, r *reader, args [][]byte) {
	if !arityOK(r.arity, len(args)) {
		w.Error(arityError(args[0]))
		return
	}
	defer k.pin().unpin()
	r.run(k, w, args)
}

func readCommand(args [][]byte) *reader {
	if len(args) == 0 {
		return nil
	}
	if r := readers[stringOf(args[0])]; r != nil {
		return r
	}
	var room [resp.MaxName]byte
	return readers[string(resp.Upper(&room, args[0]))]
}

// fetch returns the value of a key that must be absent or of one kind. Otherwise it renders a
// WRONGTYPE error and returns false.
func (k *readState) fetch(w *resp.Writer, key []byte, kind Kind) (v Value, ok bool) {
	v, _ = k.read(key)
	if v.Kind() != kind && v.Kind() != 0 {
		w.Error(wrongType)
		return v, false
	}
	return v, true
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func get(k *readState, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], String)
	switch {
	case !ok:
		return
	case v.Kind() == 0:
		w.Null()
		return
	}
	w.Bulk(v.Bytes())
}

func mget(k *readState, w *resp.Writer, args [][]byte) {
	w.Array(len(args) - 1)
	k.readAll(args[1:], func(v Value) bool {
		if v.Kind() == String {
			w.Bulk(v.Bytes())
		} else {
			w.Null()
		}
		return w.OK()
	})
}

func strlen(k *readState, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], String)
	if !ok {
		return
	}
	w.Int(int64(v.Len()))
}

func getrange(k *readState, w *resp.Writer, args [][]byte) {
	start, ok1 := ParseInt(args[2])
	end, ok2 := ParseInt(args[3])
	if !ok1 || !ok2 {
		w.Error(notInteger)
		return
	}
	v, ok := k.fetch(w, args[1], String)
	if !ok {
		return
	}
	b := v.Bytes()
	n := int64(len(b))
	if start < 0 && end < 0 && start > end {
		w.Bulk(nil)
		return
	}
	if start < 0 {
		start = max(start+n, 0)
	}
	if end < 0 {
		end = max(end+n, 0)
	}
	if end = min(end, n-1); start > end {
		w.Bulk(nil)
		return
	}
	w.Bulk(b[start : end+1])
}

func exists(k *readState, w *resp.Writer, args [][]byte) {
	n := int64(0)
	k.readAll(args[1:], func(v Value) bool {
		n += flag(v.Kind() != 0)
		return true
	})
	w.Int(n)
}

func typeOf(k *readState, w *resp.Writer, args [][]byte) {
	v, _ := k.read(args[1])
	w.Simple(v.Kind().String())
}

// timeLeft answers TTL, PTTL, EXPIRETIME and PEXPIRETIME, in rounded units of the given
// milliseconds, from now or since 1970. The reply is -2 for an absent key and -1 for a key without
// expiry.
func timeLeft(unit int64, fromNow bool) func(*readState, *resp.Writer, [][]byte) {
	return func(k *readState, w *resp.Writer, args [][]byte) {
		v, at := k.read(args[1])
		switch {
		case v.Kind() == 0:
			w.Int(-2)
			return
		case at == 0:
			w.Int(-1)
			return
		}
		if fromNow {
			at = max(at-k.now(), 0)
		}
		w.Int(at/unit + flag(2*(at%unit) >= unit && unit > 1))
	}
}

func object(k *readState, w *resp.Writer, args [][]byte) {
	sub := strings.ToUpper(string(args[1][:min(len(args[1]), 128)]))
	switch sub {
	case "ENCODING", "REFCOUNT", "IDLETIME":
	default:
		w.Error(
			"ERR unknown subcommand '" + string(
				args[1][:min(len(args[1]), 128)],
			) + "'. Try OBJECT HELP.",
		)
		return
	}
	if len(args) != 3 {
		w.Error(arityError([]byte("object|" + sub)))
		return
	}
	v, _ := k.read(args[2])
	switch {
	case v.Kind() == 0:
		w.Null()
		return
	case sub == "ENCODING":
		w.BulkString(encoding(v))
		return
	}
	w.Int(flag(sub == "REFCOUNT"))
}

// encoding returns the encoding that Redis would use for such a value.
func encoding(v Value) string {
	switch {
	case v.Kind() == String:
		if _, ok := ParseInt(v.Bytes()); ok {
			return "int"
		}
		if v.Len() <= 44 {
			return "embstr"
		}
		return "raw"
	case v.Kind() == Stream:
		return "stream"
	case !v.IsBig():
		return "listpack"
	case v.Kind() == List:
		return "quicklist"
	case v.Kind() == SortedSet:
		return "skiplist"
	}
	return "hashtable"
}

// length answers HLEN, SCARD, ZCARD, LLEN and XLEN.
func length(kind Kind) func(*readState, *resp.Writer, [][]byte) {
	return func(k *readState, w *resp.Writer, args [][]byte) {
		v, ok := k.fetch(w, args[1], kind)
		if !ok {
			return
		}
		w.Int(int64(v.Len()))
	}
}

// clampInt narrows a 64-bit number to the range used for member indexes.
func clampInt(n int64) int { return int(max(min(n, math.MaxInt32*256), -math.MaxInt32*256)) }
