package value

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// Scores yields the members of a sorted set and their scores in the order of (score, member),
// until yield returns false.
func (v Value) Scores(yield func(member []byte, score float64) bool) {
	v.ScoreRange(0, v.Len(), false, yield)
}

// ScoreRange yields the members of a sorted set from rank lo up to but not including hi, in
// reverse order if reverse is set, until yield returns false. Ranks outside of the set are
// skipped.
func (v Value) ScoreRange(lo, hi int, reverse bool, yield func(member []byte, score float64) bool) {
	if v.kind != SortedSet {
		return
	}
	if v.big != nil {
		each := func(k, val []byte) bool { return yield(k[8:], decodeScoreKey(k, val)) }
		if reverse {
			v.big.scores.Descend(lo, hi, each)
		} else {
			v.big.scores.Ascend(lo, hi, each)
		}
		return
	}
	var scratch [maxPackedMembers]int
	starts := scratch[:0]
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

// Score returns the score of a member of a sorted set, and whether the member exists.
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

// findScoredMember returns the offsets at which a member's element starts and ends in a packed
// sorted set, or -1 twice.
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

// Rank returns the number of members before the given one in a sorted set, and its score. ok is
// false if the member does not exist.
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

// ScoresBelow returns the number of members with a score below bound, or up to bound if orEqual is
// set.
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

// increment adds one to a big-endian number of 8 bytes, and reports whether it did not overflow.
func increment(key []byte) bool {
	u := binary.BigEndian.Uint64(key) + 1
	binary.BigEndian.PutUint64(key, u)
	return u != 0
}

// MembersBelow returns the number of members that are smaller than bound, or not greater if
// orEqual is set, in a sorted set whose members all have the same score.
func (v Value) MembersBelow(bound []byte, orEqual bool) (n int) {
	if v.big != nil {
		var first float64
		v.ScoreRange(0, 1, false,
			func(_ []byte, score float64) bool { first = score; return false })
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
