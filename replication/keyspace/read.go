package keyspace

import (
	"math"
	"strings"

	"rowfall/replication/resp"
)

// reader is one read command. run appends the reply; args has its name first.
type reader struct {
	arity int
	run   func(k *Keyspace, dst []byte, proto int, args [][]byte) []byte
}

// readers are the commands that Execute answers.
var readers = joined(keyReaders, stringReaders, hashReaders, setReaders, sortedSetReaders, listReaders, streamReaders)

// keyReaders are the commands of keys of any kind.
var keyReaders = map[string]*reader{
	"EXISTS":      {-2, exists},
	"TOUCH":       {-2, exists},
	"TYPE":        {2, typeOf},
	"TTL":         {2, timeLeft(1000, true)},
	"PTTL":        {2, timeLeft(1, true)},
	"EXPIRETIME":  {2, timeLeft(1000, false)},
	"PEXPIRETIME": {2, timeLeft(1, false)},
	"OBJECT":      {-2, object},
	"SCAN":        {-2, scan},
	"KEYS":        {2, keys},
	"DBSIZE":      {1, dbsize},
	"RANDOMKEY":   {1, randomkey},
}

// stringReaders are the commands of strings.
var stringReaders = map[string]*reader{
	"GET":      {2, get},
	"MGET":     {-2, mget},
	"STRLEN":   {2, strlen},
	"GETRANGE": {4, getrange},
	"SUBSTR":   {4, getrange},
}

// Execute appends the reply of a read command in the shape of protocol 2 or 3,
// an error reply where Redis would give one. handled is false, and dst is as it
// was, if args is not a read command of the keyspace. What is appended shares
// no memory with the keyspace.
func (k *Keyspace) Execute(dst []byte, proto int, args [][]byte) (out []byte, handled bool) {
	r := readCommand(args)
	if r == nil {
		return dst, false
	}
	if !arityOK(r.arity, len(args)) {
		return resp.AppendError(dst, arityError(args[0])), true
	}
	defer k.pin().unpin()
	return r.run(k, dst, proto, args), true
}

// IsRead reports whether args are a read command of the keyspace, and whether it
// takes so many arguments; Execute answers that they are too few or too many.
func (k *Keyspace) IsRead(args [][]byte) (read, takes bool) {
	r := readCommand(args)
	return r != nil, r != nil && arityOK(r.arity, len(args))
}

func readCommand(args [][]byte) *reader {
	if len(args) == 0 {
		return nil
	}
	if r := readers[text(args[0])]; r != nil {
		return r
	}
	var room [maxName]byte
	return readers[string(upper(&room, args[0]))]
}

// fetch returns the value of a key that must be absent or of one kind; if it is
// of another, the error is appended.
func (k *Keyspace) fetch(dst []byte, key []byte, kind Kind) (v Value, out []byte, ok bool) {
	v, _ = k.read(key)
	if v.Kind() != kind && v.Kind() != 0 {
		return v, resp.AppendError(dst, wrongType), false
	}
	return v, dst, true
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func get(k *Keyspace, dst []byte, proto int, args [][]byte) []byte {
	v, dst, ok := k.fetch(dst, args[1], String)
	switch {
	case !ok:
		return dst
	case v.Kind() == 0:
		return resp.AppendNull(dst, proto)
	}
	return resp.AppendBulk(dst, v.Bytes())
}

func mget(k *Keyspace, dst []byte, proto int, args [][]byte) []byte {
	dst = resp.AppendArray(dst, len(args)-1)
	k.readAll(args[1:], func(v Value) {
		if v.Kind() == String {
			dst = resp.AppendBulk(dst, v.Bytes())
		} else {
			dst = resp.AppendNull(dst, proto)
		}
	})
	return dst
}

func strlen(k *Keyspace, dst []byte, _ int, args [][]byte) []byte {
	v, dst, ok := k.fetch(dst, args[1], String)
	if !ok {
		return dst
	}
	return resp.AppendInt(dst, int64(v.Len()))
}

func getrange(k *Keyspace, dst []byte, _ int, args [][]byte) []byte {
	start, ok1 := ParseInt(args[2])
	end, ok2 := ParseInt(args[3])
	if !ok1 || !ok2 {
		return resp.AppendError(dst, notInteger)
	}
	v, dst, ok := k.fetch(dst, args[1], String)
	if !ok {
		return dst
	}
	b := v.Bytes()
	n := int64(len(b))
	if start < 0 && end < 0 && start > end {
		return resp.AppendBulk(dst, nil)
	}
	if start < 0 {
		start = max(start+n, 0)
	}
	if end < 0 {
		end = max(end+n, 0)
	}
	if end = min(end, n-1); start > end {
		return resp.AppendBulk(dst, nil)
	}
	return resp.AppendBulk(dst, b[start:end+1])
}

func exists(k *Keyspace, dst []byte, _ int, args [][]byte) []byte {
	n := int64(0)
	k.readAll(args[1:], func(v Value) { n += flag(v.Kind() != 0) })
	return resp.AppendInt(dst, n)
}

func typeOf(k *Keyspace, dst []byte, _ int, args [][]byte) []byte {
	v, _ := k.read(args[1])
	return resp.AppendSimple(dst, v.Kind().String())
}

// timeLeft answers TTL and its kin: in units of so many ms, rounded, from now
// or since 1970; -2 for no key and -1 for no expiry.
func timeLeft(unit int64, fromNow bool) func(*Keyspace, []byte, int, [][]byte) []byte {
	return func(k *Keyspace, dst []byte, _ int, args [][]byte) []byte {
		v, at := k.read(args[1])
		switch {
		case v.Kind() == 0:
			return resp.AppendInt(dst, -2)
		case at == 0:
			return resp.AppendInt(dst, -1)
		}
		if fromNow {
			at = max(at-k.now(), 0)
		}
		return resp.AppendInt(dst, at/unit+flag(2*(at%unit) >= unit && unit > 1))
	}
}

func object(k *Keyspace, dst []byte, proto int, args [][]byte) []byte {
	sub := strings.ToUpper(string(args[1][:min(len(args[1]), 128)]))
	switch sub {
	case "ENCODING", "REFCOUNT", "IDLETIME":
	default:
		return resp.AppendError(dst, "ERR unknown subcommand '"+string(args[1][:min(len(args[1]), 128)])+"'. Try OBJECT HELP.")
	}
	if len(args) != 3 {
		return resp.AppendError(dst, arityError([]byte("object|"+sub)))
	}
	v, _ := k.read(args[2])
	switch {
	case v.Kind() == 0:
		return resp.AppendNull(dst, proto)
	case sub == "ENCODING":
		return resp.AppendBulkString(dst, encoding(v))
	}
	return resp.AppendInt(dst, flag(sub == "REFCOUNT"))
}

// encoding names what Redis would use for such a value.
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
func length(kind Kind) func(*Keyspace, []byte, int, [][]byte) []byte {
	return func(k *Keyspace, dst []byte, _ int, args [][]byte) []byte {
		v, dst, ok := k.fetch(dst, args[1], kind)
		if !ok {
			return dst
		}
		return resp.AppendInt(dst, int64(v.Len()))
	}
}

// clampInt narrows a 64-bit number to what indexes members.
func clampInt(n int64) int { return int(max(min(n, math.MaxInt32*256), -math.MaxInt32*256)) }
