package keyspace

import (
	"bytes"
	"math"
	"strings"

	"rowfall/replication/resp"
)

// listReaders are the commands of lists.
var listReaders = map[string]*reader{
	"LRANGE": {4, lrange},
	"LLEN":   {2, length(List)},
	"LINDEX": {3, lindex},
	"LPOS":   {-3, lpos},
}

func lrange(k *Keyspace, dst []byte, _ int, args [][]byte) []byte {
	from, ok1 := ParseInt(args[2])
	to, ok2 := ParseInt(args[3])
	if !ok1 || !ok2 {
		return resp.AppendError(dst, notInteger)
	}
	v, dst, ok := k.fetch(dst, args[1], List)
	if !ok {
		return dst
	}
	lo, hi := rankRun(clampInt(from), clampInt(to), v.Len(), false)
	dst = resp.AppendArray(dst, hi-lo)
	v.ItemRange(lo, hi, false, func(it []byte) bool {
		dst = resp.AppendBulk(dst, it)
		return true
	})
	return dst
}

func lindex(k *Keyspace, dst []byte, proto int, args [][]byte) []byte {
	v, dst, ok := k.fetch(dst, args[1], List)
	if !ok {
		return dst
	}
	if v.Kind() == 0 {
		return resp.AppendNull(dst, proto) // Redis does not look at the index then
	}
	n, ok := ParseInt(args[2])
	if !ok {
		return resp.AppendError(dst, notInteger)
	}
	if it, ok := v.Item(listIndex(n, v.Len())); ok {
		return resp.AppendBulk(dst, it)
	}
	return resp.AppendNull(dst, proto)
}

// lposOptions are the words behind LPOS.
type lposOptions struct {
	rank   int64
	count  int64 // -1: one, and no array
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
				return "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"
			case n == 0:
				return "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list"
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

func lpos(k *Keyspace, dst []byte, proto int, args [][]byte) []byte {
	var o lposOptions
	if message := o.read(args[3:]); message != "" {
		return resp.AppendError(dst, message)
	}
	v, dst, ok := k.fetch(dst, args[1], List)
	if !ok {
		return dst
	}
	found := o.find(v, args[2])
	if o.count < 0 {
		if len(found) == 0 {
			return resp.AppendNull(dst, proto)
		}
		return resp.AppendInt(dst, int64(found[0]))
	}
	dst = resp.AppendArray(dst, len(found))
	for _, i := range found {
		dst = resp.AppendInt(dst, int64(i))
	}
	return dst
}

// find returns the indexes of equal items in the order it meets them.
func (o *lposOptions) find(v Value, wanted []byte) (found []int) {
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
		if bytes.Equal(it, wanted) {
			if skip--; skip < 0 {
				found = append(found, i)
			}
		}
		i += step
		return len(found) == 0 || o.count == 0 || int64(len(found)) < o.count
	})
	return found
}
