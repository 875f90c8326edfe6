package keyspace

import (
	"bytes"

	"rowfall/replication/resp"
)

// sortedSetReaders are the commands of sorted sets.
var sortedSetReaders = map[string]*reader{
	"ZRANGE":           {arity: -4, run: zrange(zquery{by: 'r'}, true)},
	"ZREVRANGE":        {arity: -4, run: zrange(zquery{by: 'r', reverse: true}, false)},
	"ZRANGEBYSCORE":    {arity: -4, run: zrange(zquery{by: 's'}, false)},
	"ZREVRANGEBYSCORE": {arity: -4, run: zrange(zquery{by: 's', reverse: true}, false)},
	"ZRANGEBYLEX":      {arity: -4, run: zrange(zquery{by: 'l'}, false)},
	"ZREVRANGEBYLEX":   {arity: -4, run: zrange(zquery{by: 'l', reverse: true}, false)},
	"ZSCORE":           {arity: 3, run: zscore},
	"ZMSCORE":          {arity: -3, run: zmscore},
	"ZCARD":            {arity: 2, run: length(SortedSet)},
	"ZRANK":            {arity: -3, run: zrank(false)},
	"ZREVRANK":         {arity: -3, run: zrank(true)},
	"ZCOUNT":           {arity: 4, run: zcount},
	"ZLEXCOUNT":        {arity: 4, run: zlexcount},
	"ZSCAN":            {arity: -3, run: collectionScan(SortedSet)},
}

func zscore(k *readState, w *resp.Writer, args [][]byte) {
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

func zmscore(k *readState, w *resp.Writer, args [][]byte) {
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

func zrank(reverse bool) func(*readState, *resp.Writer, [][]byte) {
	return func(k *readState, w *resp.Writer, args [][]byte) {
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
