package keyspace

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// hashWriters are the commands of hashes. Servers send HINCRBYFLOAT as HSET, or as HSETEX that
// keeps the expiry. Expiry of fields is not supported.
var hashWriters = map[string]*writer{
	"HSET":    {arity: -4, run: (*Keyspace).hset},
	"HMSET":   {arity: -4, run: (*Keyspace).hset},
	"HSETNX":  {arity: 4, run: (*Keyspace).hsetnx},
	"HSETEX":  {arity: -6, run: (*Keyspace).hsetex},
	"HINCRBY": {arity: 4, run: (*Keyspace).hincrby},
	"HDEL":    {arity: -3, run: (*Keyspace).hdel},
	"HGETDEL": {arity: -5, run: (*Keyspace).hgetdel},
}

func (k *Keyspace) setFields(t *target, pairs ...[]byte) {
	k.edit(t, Hash, t.rec.expireAt()).SetFields(t.value(), pairs)
	k.save(t)
}

func (k *Keyspace) hsetnx(args [][]byte) error {
	t, err := k.targetOfKind(args[1], Hash)
	if err != nil {
		return err
	}
	if _, ok := t.value().Field(args[2]); !ok {
		k.setFields(&t, args[2], args[3])
	}
	return nil
}

func (k *Keyspace) hincrby(args [][]byte) error {
	by, ok := ParseInt(args[3])
	if !ok {
		return errNotInteger
	}
	t, err := k.targetOfKind(args[1], Hash)
	if err != nil {
		return err
	}
	n := int64(0)
	if val, ok := t.value().Field(args[2]); ok {
		if n, ok = ParseInt(val); !ok {
			return errors.New("ERR hash value is not an integer")
		}
	}
	if n, ok = sum(n, by); !ok {
		return errOverflow
	}
	k.setFields(&t, args[2], strconv.AppendInt(nil, n, 10))
	return nil
}

// fieldList returns the arguments after the word FIELDS at args[at]: a count, and that many groups
// of size arguments.
func fieldList(args [][]byte, at, size int) ([][]byte, error) {
	if at+2 > len(args) || !bytes.EqualFold(args[at], []byte("FIELDS")) {
		return nil, errSyntax
	}
	n, ok := ParseInt(args[at+1])
	if rest := args[at+2:]; ok && n > 0 && n*int64(size) == int64(len(rest)) &&
		n <= int64(len(rest)) {
		return rest, nil
	}
	return nil, errSyntax
}

func (k *Keyspace) hsetex(args [][]byte) error {
	newKey, oldKey, onlyNew, onlyOld := false, false, false, false
	at := 2
	for ; at < len(args) && !bytes.EqualFold(args[at], []byte("FIELDS")); at++ {
		switch option := strings.ToUpper(string(args[at][:min(len(args[at]), 8)])); option {
		case "KEEPTTL":
		case "NX": // Valkey forwards it if the client wrote it in lower case
			newKey = true
		case "XX":
			oldKey = true
		case "FNX":
			onlyNew = true
		case "FXX":
			onlyOld = true
		default:
			return errors.New(
				"ERR option " + option + " of HSETEX is not supported: fields cannot expire",
			)
		}
	}
	pairs, err := fieldList(args, at, 2)
	if err != nil {
		return err
	}
	t, err := k.targetOfKind(args[1], Hash)
	if err != nil || newKey && t.rec != "" || oldKey && t.rec == "" {
		return err
	}
	for i := 0; (onlyNew || onlyOld) && i < len(pairs); i += 2 {
		if _, ok := t.value().Field(pairs[i]); ok == onlyNew {
			return nil
		}
	}
	k.setFields(&t, pairs...)
	return nil
}

func (k *Keyspace) hgetdel(args [][]byte) error {
	fields, err := fieldList(args, 2, 1)
	if err != nil {
		return err
	}
	t, err := k.targetOfKind(args[1], Hash)
	if err != nil || t.rec == "" {
		return err
	}
	e := k.edit(&t, Hash, t.rec.expireAt())
	k.saveShrunk(&t, e.DeleteFields(t.value(), fields))
	return nil
}
