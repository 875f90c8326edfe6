package keyspace

import (
	"bytes"
	"errors"
	"math"
	"strings"
)

// listWriters are the commands of lists. Servers send LMPOP and the blocking
// commands as LPOP, RPOP, LMOVE or RPOPLPUSH.
var listWriters = map[string]*writer{
	"LPUSH":     {arity: -3, run: pushTo(true, false)},
	"RPUSH":     {arity: -3, run: pushTo(false, false)},
	"LPUSHX":    {arity: -3, run: pushTo(true, true)},
	"RPUSHX":    {arity: -3, run: pushTo(false, true)},
	"LPOP":      {arity: -2, run: popFrom(true)},
	"RPOP":      {arity: -2, run: popFrom(false)},
	"LMOVE":     {arity: 5, keys: keyRange{1, 2, 1}, run: (*Keyspace).lmove},
	"RPOPLPUSH": {arity: 3, keys: keyRange{1, 2, 1}, run: (*Keyspace).rpoplpush},
	"LINSERT":   {arity: 5, run: (*Keyspace).linsert},
	"LSET":      {arity: 4, run: (*Keyspace).lset},
	"LREM":      {arity: 4, run: (*Keyspace).lrem},
	"LTRIM":     {arity: 4, run: (*Keyspace).ltrim},
}

func pushTo(head, onlyOld bool) func(*Keyspace, [][]byte) error {
	return func(k *Keyspace, args [][]byte) error {
		t, err := k.targetOfKind(args[1], List)
		if err != nil || onlyOld && t.rec == "" {
			return err
		}
		k.push(&t, args[2:], head)
		return nil
	}
}

func (k *Keyspace) push(t *target, items [][]byte, head bool) {
	k.edit(t, List, t.rec.expireAt()).PushItems(t.value(), items, head)
	k.save(t)
}

func popFrom(head bool) func(*Keyspace, [][]byte) error {
	return func(k *Keyspace, args [][]byte) error {
		count := int64(1)
		switch {
		case len(args) > 3:
			return errors.New(arityError(args[0]))
		case len(args) == 3:
			var ok bool
			if count, ok = ParseInt(args[2]); !ok || count < 0 {
				return errors.New("ERR value is out of range, must be positive")
			}
		}
		t, err := k.targetOfKind(args[1], List)
		if err != nil || t.rec == "" {
			return err
		}
		k.pop(&t, int(min(count, math.MaxInt32)), head)
		return nil
	}
}

func (k *Keyspace) pop(t *target, count int, head bool) {
	n := t.value().Len()
	if head {
		k.trim(t, min(count, n), n)
	} else {
		k.trim(t, 0, max(n-count, 0))
	}
}

// trim stages a list with the items from index lo up to but not including hi.
func (k *Keyspace) trim(t *target, lo, hi int) {
	n := t.value().Len()
	switch {
	case lo == 0 && hi == n:
	case lo >= hi:
		k.remove(t)
	default:
		k.edit(t, List, t.rec.expireAt()).TrimItems(t.value(), lo, hi)
		k.save(t)
	}
}

func (k *Keyspace) lmove(args [][]byte) error {
	var heads [2]bool
	for i, arg := range args[3:] {
		switch strings.ToUpper(string(arg[:min(len(arg), 8)])) {
		case "LEFT":
			heads[i] = true
		case "RIGHT":
		default:
			return errSyntax
		}
	}
	return k.move(args[1], args[2], heads[0], heads[1])
}

func (k *Keyspace) rpoplpush(args [][]byte) error {
	return k.move(args[1], args[2], false, true)
}

func (k *Keyspace) move(from, to []byte, fromHead, toHead bool) error {
	t, err := k.targetOfKind(from, List)
	if err != nil || t.rec == "" {
		return err
	}
	if _, err := k.targetOfKind(to, List); err != nil {
		return err
	}
	v, at := t.value(), 0
	if !fromHead {
		at = v.Len() - 1
	}
	it, _ := v.Item(at)
	// Removing the item may change the node that holds it.
	it = bytes.Clone(it)
	if string(from) == string(to) && v.Len() == 1 {
		return nil // the key stays, with its expiry
	}
	k.pop(&t, 1, fromHead)
	t = k.target(to)
	k.push(&t, [][]byte{it}, toHead)
	return nil
}

func (k *Keyspace) linsert(args [][]byte) error {
	after := int64(0)
	switch strings.ToUpper(string(args[2][:min(len(args[2]), 8)])) {
	case "AFTER":
		after = 1
	case "BEFORE":
	default:
		return errSyntax
	}
	t, err := k.targetOfKind(args[1], List)
	if err != nil || t.rec == "" {
		return err
	}
	at := 0
	for it := range t.value().Items {
		if bytes.Equal(it, args[3]) {
			k.edit(&t, List, t.rec.expireAt()).InsertItem(t.value(), at+int(after), args[4])
			k.save(&t)
			return nil
		}
		at++
	}
	return nil
}

// listIndex converts a command's index, where negative ones count from the tail, to one from the
// head. The result may be outside the list.
func listIndex(n int64, length int) int {
	if n < 0 {
		n += int64(length)
	}
	return clampInt(n)
}

func (k *Keyspace) lset(args [][]byte) error {
	n, ok := ParseInt(args[2])
	if !ok {
		return errNotInteger
	}
	t, err := k.targetOfKind(args[1], List)
	if err != nil {
		return err
	}
	if t.rec == "" {
		return errNoKey
	}
	// Valkey and Redis 8, unlike 7.0, convert the index to a C int: 1<<32 becomes item 0.
	at := listIndex(int64(int32(n)), t.value().Len())
	if at < 0 || at >= t.value().Len() {
		return errors.New("ERR index out of range")
	}
	k.edit(&t, List, t.rec.expireAt()).SetItem(t.value(), at, args[3])
	k.save(&t)
	return nil
}

func (k *Keyspace) lrem(args [][]byte) error {
	n, ok := ParseInt(args[2])
	if !ok {
		return errNotInteger
	}
	t, err := k.targetOfKind(args[1], List)
	if err != nil || t.rec == "" {
		return err
	}
	e := k.edit(&t, List, t.rec.expireAt())
	k.saveShrunk(&t, e.RemoveItems(t.value(), clampInt(n), args[3]))
	return nil
}

func (k *Keyspace) ltrim(args [][]byte) error {
	from, ok1 := ParseInt(args[2])
	to, ok2 := ParseInt(args[3])
	if !ok1 || !ok2 {
		return errNotInteger
	}
	t, err := k.targetOfKind(args[1], List)
	if err != nil || t.rec == "" {
		return err
	}
	lo, hi := rankRun(clampInt(from), clampInt(to), t.value().Len(), false)
	k.trim(&t, lo, hi)
	return nil
}
