package keyspace

import (
	"bytes"

	"rowfall/replication/resp"
)

// sortedSetReaders are the commands of sorted sets.
var sortedSetReaders = map[string]*reader{
	"ZRANGE":           {-4, zrange(zquery{by: 'r'}, true)},
	"ZREVRANGE":        {-4, zrange(zquery{by: 'r', reverse: true}, false)},
	"ZRANGEBYSCORE":    {-4, zrange(zquery{by: 's'}, false)},
	"ZREVRANGEBYSCORE": {-4, zrange(zquery{by: 's', reverse: true}, false)},
	"ZRANGEBYLEX":      {-4, zrange(zquery{by: 'l'}, false)},
	"ZREVRANGEBYLEX":   {-4, zrange(zquery{by: 'l', reverse: true}, false)},
	"ZSCORE":           {3, zscore},
	"ZMSCORE":          {-3, zmscore},
	"ZCARD":            {2, length(SortedSet)},
	"ZRANK":            {-3, zrank(false)},
	"ZREVRANK":         {-3, zrank(true)},
	"ZCOUNT":           {4, zcount},
	"ZLEXCOUNT":        {4, zlexcount},
	"ZSCAN":            {-3, collectionScan(SortedSet)},
}

func zscore(k *Keyspace, dst []byte, proto int, args [][]byte) []byte {
	v, dst, ok := k.fetch(dst, args[1], SortedSet)
	if !ok {
		return dst
	}
	if score, ok := v.Score(args[2]); ok {
		return resp.AppendDouble(dst, proto, score)
	}
	return resp.AppendNull(dst, proto)
}

func zmscore(k *Keyspace, dst []byte, proto int, args [][]byte) []byte {
	v, dst, ok := k.fetch(dst, args[1], SortedSet)
	if !ok {
		return dst
	}
	dst = resp.AppendArray(dst, len(args)-2)
	for _, m := range args[2:] {
		if score, ok := v.Score(m); ok {
			dst = resp.AppendDouble(dst, proto, score)
		} else {
			dst = resp.AppendNull(dst, proto)
		}
	}
	return dst
}

func zrank(reverse bool) func(*Keyspace, []byte, int, [][]byte) []byte {
	return func(k *Keyspace, dst []byte, proto int, args [][]byte) []byte {
		if len(args) > 4 {
			return resp.AppendError(dst, arityError(args[0]))
		}
		withScore := len(args) == 4
		if withScore && !bytes.EqualFold(args[3], []byte("withscore")) {
			return resp.AppendError(dst, syntaxError)
		}
		v, dst, ok := k.fetch(dst, args[1], SortedSet)
		if !ok {
			return dst
		}
		rank, score, ok := v.Rank(args[2])
		switch {
		case !ok && withScore:
			return resp.AppendNullArray(dst, proto)
		case !ok:
			return resp.AppendNull(dst, proto)
		}
		if reverse {
			rank = v.Len() - 1 - rank
		}
		if !withScore {
			return resp.AppendInt(dst, int64(rank))
		}
		return resp.AppendDouble(resp.AppendInt(resp.AppendArray(dst, 2), int64(rank)), proto, score)
	}
}
