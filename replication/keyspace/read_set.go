package keyspace

import (
	"math/rand/v2"

	"rowfall/replication/resp"
)

// setReaders are the commands of sets.
var setReaders = map[string]*reader{
	"SMEMBERS":    {2, smembers},
	"SISMEMBER":   {3, sismember},
	"SMISMEMBER":  {-3, smismember},
	"SCARD":       {2, length(Set)},
	"SRANDMEMBER": {-2, srandmember},
	"SSCAN":       {-3, collectionScan(Set)},
}

func smembers(k *Keyspace, dst []byte, proto int, args [][]byte) []byte {
	v, dst, ok := k.fetch(dst, args[1], Set)
	if !ok {
		return dst
	}
	dst = resp.AppendSet(dst, proto, v.Len())
	v.Members(func(m []byte) bool {
		dst = resp.AppendBulk(dst, m)
		return true
	})
	return dst
}

func sismember(k *Keyspace, dst []byte, _ int, args [][]byte) []byte {
	v, dst, ok := k.fetch(dst, args[1], Set)
	if !ok {
		return dst
	}
	return resp.AppendInt(dst, flag(v.HasMember(args[2])))
}

func smismember(k *Keyspace, dst []byte, _ int, args [][]byte) []byte {
	v, dst, ok := k.fetch(dst, args[1], Set)
	if !ok {
		return dst
	}
	dst = resp.AppendArray(dst, len(args)-2)
	for _, m := range args[2:] {
		dst = resp.AppendInt(dst, flag(v.HasMember(m)))
	}
	return dst
}

// maxRandom bounds how many members SRANDMEMBER repeats for a negative count.
const maxRandom = 1 << 20

func srandmember(k *Keyspace, dst []byte, proto int, args [][]byte) []byte {
	if len(args) > 3 {
		return resp.AppendError(dst, syntaxError)
	}
	count := int64(0)
	if len(args) == 3 {
		n, ok := ParseInt(args[2])
		if !ok {
			return resp.AppendError(dst, notInteger)
		}
		if count = n; count < -maxRandom {
			return resp.AppendError(dst, "ERR value is out of range")
		}
	}
	v, dst, ok := k.fetch(dst, args[1], Set)
	if !ok {
		return dst
	}
	n := v.Len()
	switch {
	case len(args) == 2 && n == 0:
		return resp.AppendNull(dst, proto)
	case len(args) == 2:
		return resp.AppendBulk(dst, v.MemberAt(rand.IntN(n)))
	case n == 0:
		return resp.AppendArray(dst, 0)
	case count < 0:
		dst = resp.AppendArray(dst, int(-count))
		for range -count {
			dst = resp.AppendBulk(dst, v.MemberAt(rand.IntN(n)))
		}
		return dst
	}
	return appendSample(dst, v, int(min(count, int64(n))))
}

// appendSample appends so many different members of a set.
func appendSample(dst []byte, v Value, count int) []byte {
	dst = resp.AppendArray(dst, count)
	left, want := v.Len(), count
	v.Members(func(m []byte) bool {
		if want > 0 && rand.IntN(left) < want {
			dst = resp.AppendBulk(dst, m)
			want--
		}
		left--
		return want > 0
	})
	return dst
}
