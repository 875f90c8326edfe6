package keyspace

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"strings"

	"rowfall/replication/resp"
)

// stringWriters are the commands of strings. Servers send GETSET, GETDEL,
// GETEX, SETEX, PSETEX and INCRBYFLOAT as SET, DEL, PEXPIREAT or PERSIST.
var stringWriters = map[string]*writer{
	"SET":      {arity: -3, run: (*Keyspace).set},
	"SETNX":    {arity: 3, run: (*Keyspace).setnx},
	"MSET":     {arity: -3, keys: keyRange{1, -1, 2}, run: (*Keyspace).mset},
	"MSETNX":   {arity: -3, keys: keyRange{1, -1, 2}, run: (*Keyspace).msetnx},
	"MSETEX":   {arity: -4, flags: keyless | movableKeys, run: (*Keyspace).msetex},
	"INCR":     {arity: 2, run: (*Keyspace).incr},
	"DECR":     {arity: 2, run: (*Keyspace).decr},
	"INCRBY":   {arity: 3, run: (*Keyspace).incrby},
	"DECRBY":   {arity: 3, run: (*Keyspace).decrby},
	"APPEND":   {arity: 3, run: (*Keyspace).appendTo},
	"SETRANGE": {arity: 4, run: (*Keyspace).setrange},
	"SETBIT":   {arity: 4, run: (*Keyspace).setbit},
	"BITOP":    {arity: -4, keys: keyRange{2, -1, 1}, run: (*Keyspace).bitop},
	"BITFIELD": {arity: -2, run: (*Keyspace).bitfield},
}

var (
	errOverflow = errors.New("ERR increment or decrement would overflow")
	errTooLong  = errors.New("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
)

// setOptions are the options of SET and MSETEX.
type setOptions struct {
	onlyNew, onlyOld bool
	get              bool
	equal            []byte // IFEQ: only if the current value equals this
	keep             bool   // keep the current expiry
	expireAt         int64
}

// errRelative rejects a time to live, which every replay of the log would count from another
// moment.
var errRelative = errors.New("ERR a time to live counts from the moment it is executed; " +
	"send the time itself (PEXPIREAT, EXAT, PXAT), as servers since Redis 7.0 do")

// read parses the options; name is the command's name, for error texts.
func (o *setOptions) read(args [][]byte, name string) error {
	for i := 0; i < len(args); i++ {
		option := strings.ToUpper(string(args[i][:min(len(args[i]), 8)]))
		timed := o.keep || o.expireAt != 0
		bound := o.onlyNew || o.onlyOld || o.equal != nil
		switch option {
		case "NX", "XX":
			if bound {
				return errSyntax
			}
			o.onlyNew, o.onlyOld = option == "NX", option == "XX"
		case "GET":
			o.get = true
		case "KEEPTTL":
			if timed {
				return errSyntax
			}
			o.keep = true
		case "IFEQ":
			if bound || i+1 == len(args) {
				return errSyntax
			}
			i++
			o.equal = args[i]
		case "EX", "PX":
			return errRelative
		case "EXAT", "PXAT":
			if timed || i+1 == len(args) {
				return errSyntax
			}
			i++
			if err := o.setExpiry(option, args[i], name); err != nil {
				return err
			}
		default:
			return errSyntax
		}
	}
	return nil
}

func (o *setOptions) setExpiry(option string, arg []byte, name string) error {
	unit := int64(1)
	if option == "EXAT" {
		unit = 1000
	}
	n, ok := ParseInt(arg)
	if !ok {
		return errNotInteger
	}
	if n <= 0 || n > math.MaxInt64/unit {
		return errors.New("ERR invalid expire time in '" + name + "' command")
	}
	o.expireAt = n * unit
	return nil
}

func (k *Keyspace) set(args [][]byte) error {
	var o setOptions
	if err := o.read(args[3:], "set"); err != nil {
		return err
	}
	t := k.target(args[1])
	switch {
	case (o.get || o.equal != nil) && t.rec != "" && t.rec.kind() != String:
		return errWrongType
	case o.onlyNew && t.rec != "",
		o.onlyOld && t.rec == "",
		o.equal != nil && (t.rec == "" || !bytes.Equal(t.value().Bytes(), o.equal)):
		return nil
	}
	if o.keep {
		o.expireAt = t.rec.expireAt()
	}
	k.saveString(&t, args[2], o.expireAt)
	return nil
}

func (k *Keyspace) saveString(t *target, text []byte, expireAt int64) {
	e := k.edit(t, String, expireAt)
	e.Buf = append(e.Buf, text...)
	k.save(t)
}

func (k *Keyspace) setnx(args [][]byte) error {
	if t := k.target(args[1]); t.rec == "" {
		k.saveString(&t, args[2], 0)
	}
	return nil
}

func (k *Keyspace) mset(args [][]byte) error {
	if len(args)%2 == 0 {
		return errors.New(arityError(args[0]))
	}
	k.setAll(args[1:], setOptions{})
	return nil
}

func (k *Keyspace) msetnx(args [][]byte) error {
	if len(args)%2 == 0 {
		return errors.New(arityError(args[0]))
	}
	k.setAll(args[1:], setOptions{onlyNew: true})
	return nil
}

// setAll sets pairs of keys and values, all or none.
func (k *Keyspace) setAll(pairs [][]byte, o setOptions) {
	for i := 0; (o.onlyNew || o.onlyOld) && i < len(pairs); i += 2 {
		if t := k.target(pairs[i]); o.onlyNew == (t.rec != "") {
			return
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		t := k.target(pairs[i])
		at := o.expireAt
		if o.keep {
			at = t.rec.expireAt()
		}
		k.saveString(&t, pairs[i+1], at)
	}
}

func (k *Keyspace) msetex(args [][]byte) error {
	n, ok := ParseInt(args[1])
	if !ok || n < 1 || n > int64(len(args)-2)/2 {
		return errors.New("ERR invalid numkeys value")
	}
	var o setOptions
	if err := o.read(args[2+2*n:], "msetex"); err != nil {
		return err
	}
	if o.get || o.equal != nil {
		return errSyntax
	}
	k.setAll(args[2:2+2*n], o)
	return nil
}

func (k *Keyspace) incr(args [][]byte) error { return k.addInt(args[1], 1) }

func (k *Keyspace) decr(args [][]byte) error { return k.addInt(args[1], -1) }

func (k *Keyspace) incrby(args [][]byte) error {
	n, ok := ParseInt(args[2])
	if !ok {
		return errNotInteger
	}
	return k.addInt(args[1], n)
}

func (k *Keyspace) decrby(args [][]byte) error {
	n, ok := ParseInt(args[2])
	if !ok {
		return errNotInteger
	}
	if n == math.MinInt64 {
		return errors.New("ERR decrement would overflow")
	}
	return k.addInt(args[1], -n)
}

// sum adds two integers; the result is false on overflow.
func sum(a, b int64) (int64, bool) {
	c := a + b
	return c, (c > a) == (b > 0)
}

func (k *Keyspace) addInt(key []byte, by int64) error {
	t, err := k.targetOfKind(key, String)
	if err != nil {
		return err
	}
	n := int64(0)
	if t.rec != "" {
		var ok bool
		if n, ok = ParseInt(t.value().Bytes()); !ok {
			return errNotInteger
		}
	}
	n, ok := sum(n, by)
	if !ok {
		return errOverflow
	}
	var room [20]byte
	k.saveString(&t, strconv.AppendInt(room[:0], n, 10), t.rec.expireAt())
	return nil
}

func (k *Keyspace) appendTo(args [][]byte) error {
	t, err := k.targetOfKind(args[1], String)
	if err != nil {
		return err
	}
	old := t.value().Bytes()
	if len(old)+len(args[2]) > resp.MaxBulk {
		return errTooLong
	}
	e := k.edit(&t, String, t.rec.expireAt())
	e.Buf = append(append(e.Buf, old...), args[2]...)
	k.save(&t)
	return nil
}

func (k *Keyspace) setrange(args [][]byte) error {
	offset, ok := ParseInt(args[2])
	if !ok {
		return errNotInteger
	}
	if offset < 0 {
		return errors.New("ERR offset is out of range")
	}
	t, err := k.targetOfKind(args[1], String)
	if err != nil || len(args[3]) == 0 {
		return err
	}
	if offset > int64(resp.MaxBulk-len(args[3])) {
		return errTooLong
	}
	text := k.resize(&t, int(offset)+len(args[3]))
	copy(text[offset:], args[3])
	k.save(&t)
	return nil
}

// resize starts the record of a string of at least the given size, padded with zeros. It returns
// the string's bytes, which may be changed before save.
func (k *Keyspace) resize(t *target, size int) []byte {
	old := t.value().Bytes()
	e := k.edit(t, String, t.rec.expireAt())
	start := len(e.Buf)
	e.Buf = append(e.Buf, old...)
	if grow := size - len(old); grow > 0 {
		e.Buf = append(e.Buf, make([]byte, grow)...)
	}
	return e.Buf[start:]
}
