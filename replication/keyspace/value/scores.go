package value

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// Scores yields the members of a sorted set with their scores, by (score,
// member).
func (v Value) Scores(yield func(member []byte, score float64) bool) {
	v.ScoreRange(0, v.Len(), false, yield)
}

// ScoreRange yields the members of rank lo up to but not including hi, from the
// highest down if reverse is set.
func (v Value) ScoreRange(lo, hi int, reverse bool, yield func(member []byte, score float64) bool) {
	if v.kind != SortedSet {
		return
	}
	if v.big != nil {
		each := func(k, mark []byte) bool { return yield(k[8:], decodeScoreKey(k, mark)) }
		if reverse {
			v.big.scores.Descend(lo, hi, each)
		} else {
			v.big.scores.Ascend(lo, hi, each)
		}
		return
	}
	var room [maxPackedMembers]int
	starts := room[:0]
	for i := countSize; i < len(v.packed); {
		starts = append(starts, i)
		_, i = readItem(v.packed, i+8)
	}
	lo, hi = max(lo, 0), min(hi, len(starts))
	if lo >= hi {
		return
	}
	starts = starts[lo:hi]
	if reverse {
		slices.Reverse(starts)
	}
	for _, i := range starts {
		m, _ := readItem(v.packed, i+8)
		if !yield(m, DecodeScore(v.packed[i:])) {
			return
		}
	}
}

// Score returns the score of a member of a sorted set.
func (v Value) Score(member []byte) (score float64, ok bool) {
	if v.kind != SortedSet {
		return 0, false
	}
	if v.big != nil {
		bits, ok := v.big.get(member)
		if !ok {
			return 0, false
		}
		return DecodeScore(bits), true
	}
	i, _ := findScoredMember(v.packed, member)
	if i < 0 {
		return 0, false
	}
	return DecodeScore(v.packed[i:]), true
}

// findScored returns where the entry of a member starts in a packed sorted set
// and where it ends, or -1.
func findScoredMember(p, member []byte) (start, end int) {
	for i := countSize; i < len(p); {
		m, next := readItem(p, i+8)
		if bytes.Equal(m, member) {
			return i, next
		}
		i = next
	}
	return -1, -1
}

// Rank returns the number of members before the given one, and its score.
func (v Value) Rank(member []byte) (rank int, score float64, ok bool) {
	score, ok = v.Score(member)
	if !ok {
		return 0, 0, false
	}
	if v.big != nil {
		var scratch [64]byte
		rank, _ = v.big.scores.Rank(append(appendScoreKey(scratch[:0], score), member...))
		return rank, score, true
	}
	v.Scores(func(m []byte, _ float64) bool {
		if bytes.Equal(m, member) {
			return false
		}
		rank++
		return true
	})
	return rank, score, true
}

// ScoresBelow returns how many members score less than the bound, or as much
// as it at most if orEqual is set.
func (v Value) ScoresBelow(bound float64, orEqual bool) (n int) {
	if v.big != nil {
		var scratch [16]byte
		key := appendScoreKey(scratch[:0], bound)
		if orEqual && !increment(key) {
			return v.Len()
		}
		n, _ = v.big.scores.Rank(key)
		return n
	}
	v.Scores(func(_ []byte, score float64) bool {
		if score > bound || score == bound && !orEqual {
			return false
		}
		n++
		return true
	})
	return n
}

// increment adds one to a big-endian number; false if it overflows.
func increment(key []byte) bool {
	u := binary.BigEndian.Uint64(key) + 1
	binary.BigEndian.PutUint64(key, u)
	return u != 0
}

// MembersBelow returns how many members come before the bound, or up to it if
// orEqual is set, in a sorted set whose members have all one score.
func (v Value) MembersBelow(bound []byte, orEqual bool) (n int) {
	if v.big != nil {
		var first float64
		v.ScoreRange(0, 1, false, func(_ []byte, score float64) bool { first = score; return false })
		key := append(appendScoreKey(nil, first), bound...)
		if orEqual {
			key = append(key, 0)
		}
		n, _ = v.big.scores.Rank(key)
		return n
	}
	v.Scores(func(m []byte, _ float64) bool {
		if c := bytes.Compare(m, bound); c > 0 || c == 0 && !orEqual {
			return false
		}
		n++
		return true
	})
	return n
}
