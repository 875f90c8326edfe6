package keyspace

import (
	"math/rand/v2"

	"rowfall/replication/resp"
)

// setReaders are the commands of sets.
var setReaders = map[string]*reader{
	"SMEMBERS":    {arity: 2, run: smembers},
	"SISMEMBER":   {arity: 3, run: sismember},
	"SMISMEMBER":  {arity: -3, run: smismember},
	"SCARD":       {arity: 2, run: length(Set)},
	"SRANDMEMBER": {arity: -2, run: srandmember},
	"SSCAN":       {arity: -3, run: collectionScan(Set)},
}

func smembers(k *readState, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], Set)
	if !ok {
		return
	}
	w.Set(v.Len())
	v.Members(func(m []byte) bool {
		w.Bulk(m)
		return w.OK()
	})
}

func sismember(k *readState, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], Set)
	if !ok {
		return
	}
	w.Int(flag(v.HasMember(args[2])))
}

func smismember(k *readState, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], Set)
	if !ok {
		return
	}
	w.Array(len(args) - 2)
	for _, m := range args[2:] {
		w.Int(flag(v.HasMember(m)))
	}
}

// maxRandom is the most members that SRANDMEMBER returns for a negative count.
const maxRandom = 1 << 20

func srandmember(k *readState, w *resp.Writer, args [][]byte) {
	if len(args) > 3 {
		w.Error(syntaxError)
		return
	}
	count := int64(0)
	if len(args) == 3 {
		n, ok := ParseInt(args[2])
		if !ok {
			w.Error(notInteger)
			return
		}
		if count = n; count < -maxRandom {
			w.Error("ERR value is out of range")
			return
		}
	}
	v, ok := k.fetch(w, args[1], Set)
	if !ok {
		return
	}
	n := v.Len()
	switch {
	case len(args) == 2 && n == 0:
		w.Null()
		return
	case len(args) == 2:
		w.Bulk(v.MemberAt(rand.IntN(n)))
		return
	case n == 0:
		w.Array(0)
		return
	case count < 0:
		w.Array(int(-count))
		for i := int64(0); i > count && w.OK(); i-- {
			w.Bulk(v.MemberAt(rand.IntN(n)))
		}
		return
	}
	sample(w, v, int(min(count, int64(n))))
}

// sample renders count different members of a set.
func sample(w *resp.Writer, v Value, count int) {
	w.Array(count)
	left, want := v.Len(), count
	v.Members(func(m []byte) bool {
		if want > 0 && rand.IntN(left) < want {
			w.Bulk(m)
			want--
		}
		left--
		return want > 0 && w.OK()
	})
}
