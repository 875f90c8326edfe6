package keyspace

import "rowfall/replication/keyspace/value"

// setWriters are the commands of sets. Servers send SPOP as SREM or DEL.
var setWriters = map[string]*writer{
	"SADD":        {arity: -3, run: (*Keyspace).sadd},
	"SREM":        {arity: -3, run: (*Keyspace).srem},
	"SMOVE":       {arity: 4, keys: keyRange{1, 2, 1}, run: (*Keyspace).smove},
	"SUNIONSTORE": {arity: -3, keys: everyArg, run: (*Keyspace).sunionstore},
	"SINTERSTORE": {arity: -3, keys: everyArg, run: (*Keyspace).sinterstore},
	"SDIFFSTORE":  {arity: -3, keys: everyArg, run: (*Keyspace).sdiffstore},
}

func (k *Keyspace) smove(args [][]byte) error {
	from, err := k.targetOfKind(args[1], Set)
	if err != nil || from.rec == "" {
		return err
	}
	to, err := k.targetOfKind(args[2], Set)
	if err != nil || string(args[1]) == string(args[2]) || !from.value().HasMember(args[3]) {
		return err
	}
	member := args[3:4]
	k.saveShrunk(&from, k.edit(&from, Set, from.rec.expireAt()).DeleteMembers(from.value(), member))
	if k.edit(&to, Set, to.rec.expireAt()).AddMembers(to.value(), member) > 0 {
		k.save(&to)
	}
	return nil
}

// sources looks up the keys that a command combines. Each must be absent or of one of the kinds.
func (k *Keyspace) sources(keys [][]byte, kinds ...Kind) ([]Value, error) {
	values := make([]Value, len(keys))
	for i, key := range keys {
		t := k.target(key)
		ok := t.rec == ""
		for _, kind := range kinds {
			ok = ok || t.rec.kind() == kind
		}
		if !ok {
			return nil, errWrongType
		}
		values[i] = t.value()
	}
	return values, nil
}

func (k *Keyspace) sunionstore(args [][]byte) error {
	sets, err := k.sources(args[2:], Set)
	if err != nil {
		return err
	}
	var members [][]byte
	for _, s := range sets {
		members = appendMembers(members, s, func([]byte) bool { return true })
	}
	k.storeSet(args[1], members)
	return nil
}

func (k *Keyspace) sinterstore(args [][]byte) error {
	sets, err := k.sources(args[2:], Set)
	if err != nil {
		return err
	}
	smallest := sets[0]
	for _, s := range sets {
		if s.Len() < smallest.Len() {
			smallest = s
		}
	}
	k.storeSet(args[1], appendMembers(nil, smallest, func(m []byte) bool {
		for _, s := range sets {
			if !s.HasMember(m) {
				return false
			}
		}
		return true
	}))
	return nil
}

func (k *Keyspace) sdiffstore(args [][]byte) error {
	sets, err := k.sources(args[2:], Set)
	if err != nil {
		return err
	}
	k.storeSet(args[1], appendMembers(nil, sets[0], func(m []byte) bool {
		for _, s := range sets[1:] {
			if s.HasMember(m) {
				return false
			}
		}
		return true
	}))
	return nil
}

func appendMembers(dst [][]byte, set Value, keep func(m []byte) bool) [][]byte {
	for m := range set.Members {
		if keep(m) {
			dst = append(dst, m)
		}
	}
	return dst
}

// storeSet replaces whatever key held by a set of these members. Without members it deletes the
// key.
func (k *Keyspace) storeSet(key []byte, members [][]byte) {
	t := k.target(key)
	if len(members) > 0 {
		k.edit(&t, Set, 0).AddMembers(value.Value{}, members)
		k.save(&t)
	} else if t.rec != "" {
		k.remove(&t)
	}
}
