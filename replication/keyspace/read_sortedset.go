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

func zscore(k *Keyspace, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], SortedSet)
	if !ok {
		return
	}
	if score, ok := v.Score(args[2]); ok {
		w.Double(score)
		return
	}
	w.Null()
}

func zmscore(k *Keyspace, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], SortedSet)
	if !ok {
		return
	}
	w.Array(len(args) - 2)
	for _, m := range args[2:] {
		if score, ok := v.Score(m); ok {
			w.Double(score)
		} else {
			w.Null()
		}
	}
}

func zrank(reverse bool) func(*Keyspace, *resp.Writer, [][]byte) {
	return func(k *Keyspace, w *resp.Writer, args [][]byte) {
		if len(args) > 4 {
			w.Error(arityError(args[0]))
			return
		}
		withScore := len(args) == 4
		if withScore && !bytes.EqualFold(args[3], []byte("withscore")) {
			w.Error(syntaxError)
			return
		}
		v, ok := k.fetch(w, args[1], SortedSet)
		if !ok {
			return
		}
		rank, score, ok := v.Rank(args[2])
		switch {
		case !ok && withScore:
			w.NullArray()
			return
		case !ok:
			w.Null()
			return
		}
		if reverse {
			rank = v.Len() - 1 - rank
		}
		if !withScore {
			w.Int(int64(rank))
			return
		}
		w.Array(2)
		w.Int(int64(rank))
		w.Double(score)
	}
}
