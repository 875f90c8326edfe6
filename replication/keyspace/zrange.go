package keyspace

import (
	"bytes"
	"strings"

	"rowfall/replication/resp"
)

// zquery is a range query of the ZRANGE family. Every kind of bound is reduced to a run of ranks
// [lo, hi), counted from the lowest score.
type zquery struct {
	by             byte // 'r' rank, 's' score, 'l' member
	reverse        bool
	withScores     bool
	limited        bool
	offset, count  int64
	from, to       int64 // ranks as given
	lowest, upmost zbound
}

// zbound is one end of a range of scores or of members.
type zbound struct {
	score     float64
	member    []byte
	end       int // -1: below all members, 1: above all
	exclusive bool
}

// zrange executes the commands of the ZRANGE family. With hasOptions, as for ZRANGE itself, options
// select the kind of bound. Each of the older commands has a fixed kind, which q has.
func zrange(q zquery, hasOptions bool) func(*readState, *resp.Writer, [][]byte) {
	return func(k *readState, w *resp.Writer, args [][]byte) {
		q := q
		if message := q.options(args[4:], hasOptions); message != "" {
			w.Error(message)
			return
		}
		k.zquery(w, args, q)
	}
}

// options parses the options after the bounds. It returns an error text or "".
func (q *zquery) options(args [][]byte, hasOptions bool) string {
	q.count = -1
	for i := 0; i < len(args); i++ {
		switch word := strings.ToUpper(string(args[i][:min(len(args[i]), 16)])); {
		case word == "WITHSCORES":
			q.withScores = true
		case hasOptions && word == "BYSCORE" && q.by == 'r':
			q.by = 's'
		case hasOptions && word == "BYLEX" && q.by == 'r':
			q.by = 'l'
		case hasOptions && word == "REV" && !q.reverse:
			q.reverse = true
		case word == "LIMIT" && i+2 < len(args):
			var ok1, ok2 bool
			q.offset, ok1 = ParseInt(args[i+1])
			q.count, ok2 = ParseInt(args[i+2])
			if !ok1 || !ok2 {
				return notInteger
			}
			q.limited = true
			i += 2
		default:
			return syntaxError
		}
	}
	if q.by == 'r' && q.count != -1 { // as in Redis, -1 means no limit
		return "ERR syntax error, LIMIT is only supported in combination with " +
			"either BYSCORE or BYLEX"
	}
	if q.withScores && q.by == 'l' {
		return "ERR syntax error, WITHSCORES not supported in combination with BYLEX"
	}
	return ""
}

// find returns the sorted set of a query and the ranks that the query selects, or renders an error.
func (q *zquery) find(k *readState, w *resp.Writer, args [][]byte) (v Value, lo, hi int, ok bool) {
	if message := q.bounds(args[2], args[3]); message != "" {
		w.Error(message)
		return v, 0, 0, false
	}
	if v, ok = k.fetch(w, args[1], SortedSet); ok {
		lo, hi = q.ranks(v)
	}
	return v, lo, hi, ok
}

func (k *readState) zquery(w *resp.Writer, args [][]byte, q zquery) {
	v, lo, hi, ok := q.find(k, w, args)
	if !ok {
		return
	}
	n := max(hi-lo, 0)
	switch {
	case q.withScores && w.Proto() < 3:
		w.Array(2 * n)
	default:
		w.Array(n)
	}
	v.ScoreRange(lo, hi, q.reverse, func(m []byte, score float64) bool {
		if q.withScores && w.Proto() >= 3 {
			w.Array(2)
		}
		if w.Bulk(m); q.withScores {
			w.Double(score)
		}
		return w.OK()
	})
}

// bounds parses the two ends in the order of the command. The first is the upper end in a reversed
// range of scores or members. It returns an error text or "".
func (q *zquery) bounds(first, second []byte) string {
	if q.by == 'r' {
		var ok1, ok2 bool
		q.from, ok1 = ParseInt(first)
		q.to, ok2 = ParseInt(second)
		if !ok1 || !ok2 {
			return notInteger
		}
		return ""
	}
	if q.reverse {
		first, second = second, first
	}
	parse, message := scoreBound, "ERR min or max is not a float"
	if q.by == 'l' {
		parse, message = memberBound, "ERR min or max not valid string range item"
	}
	var ok1, ok2 bool
	q.lowest, ok1 = parse(first)
	q.upmost, ok2 = parse(second)
	if !ok1 || !ok2 {
		return message
	}
	return ""
}

// spaces are the characters that C's number parsers skip before a number.
const spaces = " \t\n\v\f\r"

func scoreBound(b []byte) (z zbound, ok bool) {
	if len(b) > 0 && b[0] == '(' {
		z.exclusive = true
		b = b[1:]
	}
	// As with the servers' strtod, spaces may precede a number, and an empty text is 0.
	if b = bytes.TrimLeft(b, spaces); len(b) == 0 {
		return z, true
	}
	z.score, ok = parseScore(b)
	return z, ok
}

func memberBound(b []byte) (z zbound, ok bool) {
	switch {
	case string(b) == "-":
		z.end = -1
	case string(b) == "+":
		z.end = 1
	case len(b) > 0 && (b[0] == '(' || b[0] == '['):
		z.exclusive = b[0] == '('
		z.member = b[1:]
	default:
		return z, false
	}
	return z, true
}

// ranks returns the run of ranks that the query selects; it is empty if hi <= lo.
func (q *zquery) ranks(v Value) (lo, hi int) {
	n := v.Len()
	switch q.by {
	case 'r':
		return rankRun(clampInt(q.from), clampInt(q.to), n, q.reverse)
	case 's':
		lo = v.ScoresBelow(q.lowest.score, q.lowest.exclusive)
		hi = v.ScoresBelow(q.upmost.score, !q.upmost.exclusive)
	default:
		lo = q.lowest.membersBelow(v, q.lowest.exclusive)
		hi = q.upmost.membersBelow(v, !q.upmost.exclusive)
	}
	if !q.limited {
		return lo, hi
	}
	if q.offset < 0 {
		return 0, 0
	}
	offset, count := clampInt(q.offset), clampInt(q.count)
	if q.reverse {
		if hi -= offset; count >= 0 {
			lo = max(lo, hi-count)
		}
		return lo, hi
	}
	if lo += offset; count >= 0 {
		hi = min(hi, lo+count)
	}
	return lo, hi
}

func (z zbound) membersBelow(v Value, orEqual bool) int {
	switch z.end {
	case -1:
		return 0
	case 1:
		return v.Len()
	}
	return v.MembersBelow(z.member, orEqual)
}

// rankRun converts a command's ranks (negative: from the end; the last included) to a run of ranks
// in a sorted set of n members.
func rankRun(from, to, n int, reverse bool) (lo, hi int) {
	if from < 0 {
		from = max(from+n, 0)
	}
	if to < 0 {
		to += n
	}
	to = min(to, n-1)
	if from > to {
		return 0, 0
	}
	if reverse {
		return n - 1 - to, n - from
	}
	return from, to + 1
}

func zcount(k *readState, w *resp.Writer, args [][]byte) {
	k.countRange(w, args, zquery{by: 's'})
}

func zlexcount(k *readState, w *resp.Writer, args [][]byte) {
	k.countRange(w, args, zquery{by: 'l'})
}

func (k *readState) countRange(w *resp.Writer, args [][]byte, q zquery) {
	_, lo, hi, ok := q.find(k, w, args)
	if !ok {
		return
	}
	w.Int(int64(max(hi-lo, 0)))
}
