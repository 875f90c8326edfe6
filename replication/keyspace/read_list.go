package keyspace

import (
	"bytes"
	"math"
	"strings"

	"rowfall/replication/resp"
)

// listReaders are the commands of lists.
var listReaders = map[string]*reader{
	"LRANGE": {arity: 4, run: lrange},
	"LLEN":   {arity: 2, run: length(List)},
	"LINDEX": {arity: 3, run: lindex},
	"LPOS":   {arity: -3, run: lpos},
}

func lrange(k *readState, w *resp.Writer, args [][]byte) {
	from, ok1 := ParseInt(args[2])
	to, ok2 := ParseInt(args[3])
	if !ok1 || !ok2 {
		w.Error(notInteger)
		return
	}
	v, ok := k.fetch(w, args[1], List)
	if !ok {
		return
	}
	lo, hi := rankRun(clampInt(from), clampInt(to), v.Len(), false)
	w.Array(hi - lo)
	v.ItemRange(lo, hi, false, func(it []byte) bool {
		w.Bulk(it)
		return w.OK()
	})
}

func lindex(k *readState, w *resp.Writer, args [][]byte) {
	v, ok := k.fetch(w, args[1], List)
	if !ok {
		return
	}
	if v.Kind() == 0 {
		w.Null() // Redis ignores the index of an absent key
		return
	}
	n, ok := ParseInt(args[2])
	if !ok {
		w.Error(notInteger)
		return
	}
	if it, ok := v.Item(listIndex(n, v.Len())); ok {
		w.Bulk(it)
		return
	}
	w.Null()
}

// lposOptions are the options of LPOS.
type lposOptions struct {
	rank   int64
	count  int64 // -1: one match, and no array
	maxLen int64 // 0: all
}

func (o *lposOptions) read(words [][]byte) string {
	o.rank, o.count = 1, -1
	for i := 0; i < len(words); i += 2 {
		if i+1 == len(words) {
			return syntaxError
		}
		n, ok := ParseInt(words[i+1])
		switch strings.ToUpper(string(words[i][:min(len(words[i]), 8)])) {
		case "RANK":
			switch {
			case !ok:
				return notInteger
			case n == math.MinInt64:
				return "ERR value is out of range, " +
					"value must between -9223372036854775807 and 9223372036854775807"
			case n == 0:
				return "ERR RANK can't be zero: use 1 to start from the first match, " +
					"2 from the second ... or use negative to start from the end of the list"
			}
			o.rank = n
		case "COUNT":
			if !ok || n < 0 {
				return "ERR COUNT can't be negative"
			}
			o.count = n
		case "MAXLEN":
			if !ok || n < 0 {
				return "ERR MAXLEN can't be negative"
			}
			o.maxLen = n
		default:
			return syntaxError
		}
	}
	return ""
}

func lpos(k *readState, w *resp.Writer, args [][]byte) {
	var o lposOptions
	if message := o.read(args[3:]); message != "" {
		w.Error(message)
		return
	}
	v, ok := k.fetch(w, args[1], List)
	if !ok {
		return
	}
	if o.count < 0 {
		first := -1
		if o.find(v, args[2], func(i int) bool { first = i; return false }); first < 0 {
			w.Null()
			return
		}
		w.Int(int64(first))
		return
	}
	n := int64(0)
	wanted := func() bool { n++; return o.count == 0 || n < o.count }
	o.find(v, args[2], func(int) bool { return wanted() })
	w.Array(int(n))
	n = 0
	o.find(v, args[2], func(i int) bool { w.Int(int64(i)); return wanted() && w.OK() })
}

// find yields the indexes of equal items in the order of the search.
func (o *lposOptions) find(v Value, wanted []byte, yield func(i int) bool) {
	n := v.Len()
	lo, hi, backward := 0, n, o.rank < 0
	skip := o.rank - 1
	if backward {
		skip = -o.rank - 1
	}
	if o.maxLen > 0 && o.maxLen < int64(n) {
		if backward {
			lo = n - int(o.maxLen)
		} else {
			hi = int(o.maxLen)
		}
	}
	i, step := lo, 1
	if backward {
		i, step = hi-1, -1
	}
	v.ItemRange(lo, hi, backward, func(it []byte) bool {
		more := true
		if bytes.Equal(it, wanted) {
			if skip--; skip < 0 {
				more = yield(i)
			}
		}
		i += step
		return more
	})
}
