package keyspace

import (
	"errors"
	"math"
	"slices"
	"strings"

	"rowfall/replication/keyspace/value"
)

// sortedSetWriters are the commands of sorted sets. Servers send ZMPOP and the blocking commands as
// ZPOPMIN or ZPOPMAX, and GEOADD as ZADD.
var sortedSetWriters = map[string]*writer{
	"ZADD":             {arity: -4, run: (*Keyspace).zadd},
	"ZINCRBY":          {arity: 4, run: (*Keyspace).zincrby},
	"ZREM":             {arity: -3, run: (*Keyspace).zrem},
	"ZPOPMIN":          {arity: -2, run: (*Keyspace).zpopmin},
	"ZPOPMAX":          {arity: -2, run: (*Keyspace).zpopmax},
	"ZREMRANGEBYRANK":  {arity: 4, run: zremrange('r')},
	"ZREMRANGEBYSCORE": {arity: 4, run: zremrange('s')},
	"ZREMRANGEBYLEX":   {arity: 4, run: zremrange('l')},
	"ZRANGESTORE":      {arity: -5, keys: keyRange{1, 2, 1}, run: (*Keyspace).zrangestore},
	"ZUNIONSTORE":      {arity: -4, flags: movableKeys, run: (*Keyspace).zunionstore},
	"ZINTERSTORE":      {arity: -4, flags: movableKeys, run: (*Keyspace).zinterstore},
	"ZDIFFSTORE":       {arity: -4, flags: movableKeys, run: (*Keyspace).zdiffstore},
}

// zaddOptions are the options of ZADD between the key and the scores.
type zaddOptions struct {
	onlyNew, onlyOld bool
	greater, less    bool
	incr             bool
}

// read parses the options and returns how many arguments they take.
func (o *zaddOptions) read(args [][]byte) (n int, err error) {
	for _, arg := range args {
		switch strings.ToUpper(string(arg[:min(len(arg), 8)])) {
		case "NX":
			o.onlyNew = true
		case "XX":
			o.onlyOld = true
		case "GT":
			o.greater = true
		case "LT":
			o.less = true
		case "CH":
		case "INCR":
			o.incr = true
		default:
			return n, o.check()
		}
		n++
	}
	return n, o.check()
}

func (o *zaddOptions) check() error {
	if o.onlyNew && o.onlyOld {
		return errors.New("ERR XX and NX options at the same time are not compatible")
	}
	if o.greater && (o.onlyNew || o.less) || o.less && o.onlyNew {
		return errors.New("ERR GT, LT, and/or NX options at the same time are not compatible")
	}
	return nil
}

func (k *Keyspace) zadd(args [][]byte) error {
	var o zaddOptions
	n, err := o.read(args[2:])
	if err != nil {
		return err
	}
	pairs := args[2+n:]
	if len(pairs) == 0 || len(pairs)%2 != 0 {
		return errSyntax
	}
	if o.incr && len(pairs) > 2 {
		return errors.New("ERR INCR option supports a single increment-element pair")
	}
	return k.addScores(args[1], pairs, o)
}

func (k *Keyspace) zincrby(args [][]byte) error {
	return k.addScores(args[1], args[2:], zaddOptions{incr: true})
}

// addScores adds pairs of score and member, subject to the options' conditions.
func (k *Keyspace) addScores(key []byte, pairs [][]byte, o zaddOptions) error {
	st := &k.stage
	st.scores, st.members = st.scores[:0], st.members[:0]
	for i := 0; i < len(pairs); i += 2 {
		score, ok := parseScore(pairs[i])
		if !ok {
			return errNotFloat
		}
		st.scores = append(st.scores, score)
		st.members = append(st.members, pairs[i+1])
	}
	t, err := k.targetOfKind(key, SortedSet)
	if err != nil {
		return err
	}
	if o != (zaddOptions{}) {
		if err := st.chooseScores(t.value(), o); err != nil || len(st.members) == 0 {
			return err
		}
	}
	added, changed := k.edit(&t, SortedSet, t.rec.expireAt()).
		SetScores(t.value(), st.members, st.scores)
	if added+changed > 0 {
		k.save(&t)
	}
	return nil
}

// chooseScores removes from st.members and st.scores the pairs that the conditions exclude, in
// order, and replaces increments by scores.
func (st *stage) chooseScores(old Value, o zaddOptions) error {
	set := map[string]float64{} // scores set by earlier pairs
	n := 0
	for i, m := range st.members {
		score := st.scores[i]
		was, there := set[string(m)]
		if !there {
			was, there = old.Score(m)
		}
		switch {
		case there && o.onlyNew, !there && o.onlyOld:
			continue
		case there && o.incr:
			if score += was; math.IsNaN(score) {
				return errors.New("ERR resulting score is not a number (NaN)")
			}
		}
		if there && (o.greater && score <= was || o.less && score >= was) {
			continue
		}
		set[string(m)] = score
		st.members[n], st.scores[n] = m, score
		n++
	}
	st.members, st.scores = st.members[:n], st.scores[:n]
	return nil
}

func (k *Keyspace) zpopmin(args [][]byte) error { return k.zpop(args, false) }

func (k *Keyspace) zpopmax(args [][]byte) error { return k.zpop(args, true) }

func (k *Keyspace) zpop(args [][]byte, highest bool) error {
	count := int64(1)
	switch {
	case len(args) > 3:
		return errSyntax
	case len(args) == 3:
		var ok bool
		if count, ok = ParseInt(args[2]); !ok || count < 0 {
			return errors.New("ERR value is out of range, must be positive")
		}
	}
	t, err := k.targetOfKind(args[1], SortedSet)
	if err != nil || t.rec == "" {
		return err
	}
	n := t.value().Len()
	lo, hi := 0, int(min(count, int64(n)))
	if highest {
		lo, hi = n-hi, n
	}
	k.removeRanks(&t, lo, hi)
	return nil
}

// removeRanks stages the removal of members by rank, from lo up to but not including hi.
func (k *Keyspace) removeRanks(t *target, lo, hi int) {
	v := t.value()
	switch {
	case lo >= hi:
		return
	case hi-lo == v.Len():
		k.remove(t)
		return
	}
	// The members are copied, because the edit may change the nodes that hold them.
	var room []byte
	ends := make([]int, 0, hi-lo)
	v.ScoreRange(lo, hi, false, func(m []byte, _ float64) bool {
		room = append(room, m...)
		ends = append(ends, len(room))
		return true
	})
	members := make([][]byte, len(ends))
	start := 0
	for i, end := range ends {
		members[i], start = room[start:end], end
	}
	e := k.edit(t, SortedSet, t.rec.expireAt())
	k.saveShrunk(t, e.DeleteMembers(v, members))
}

// oneScore rejects a range by members of a sorted set with different scores, because Redis does not
// define which members that selects.
func (q *zquery) oneScore(v Value) error {
	if q.by != 'l' || v.Len() < 2 || q.lowest.end < 0 && q.upmost.end > 0 {
		return nil
	}
	var scores [2]float64
	for i := range scores {
		at := i * (v.Len() - 1)
		v.ScoreRange(at, at+1, false,
			func(_ []byte, score float64) bool { scores[i] = score; return false })
	}
	if scores[0] != scores[1] {
		return errors.New("ERR a range by members is not defined where scores differ")
	}
	return nil
}

func zremrange(by byte) func(*Keyspace, [][]byte) error {
	return func(k *Keyspace, args [][]byte) error {
		q := zquery{by: by}
		if message := q.bounds(args[2], args[3]); message != "" {
			return errors.New(message)
		}
		t, err := k.targetOfKind(args[1], SortedSet)
		if err != nil || t.rec == "" {
			return err
		}
		if err := q.oneScore(t.value()); err != nil {
			return err
		}
		lo, hi := q.ranks(t.value())
		k.removeRanks(&t, max(lo, 0), min(hi, t.value().Len()))
		return nil
	}
}

func (k *Keyspace) zrangestore(args [][]byte) error {
	q := zquery{by: 'r'}
	message := q.options(args[5:], true)
	if message == "" && q.withScores {
		message = syntaxError
	}
	if message == "" {
		message = q.bounds(args[3], args[4])
	}
	if message != "" {
		return errors.New(message)
	}
	from, err := k.targetOfKind(args[2], SortedSet)
	if err != nil {
		return err
	}
	if err := q.oneScore(from.value()); err != nil {
		return err
	}
	lo, hi := q.ranks(from.value())
	var all scoredMembers
	from.value().ScoreRange(lo, hi, false, all.add)
	k.storeScores(args[1], &all)
	return nil
}

// scoredMembers are the members and scores of a sorted set to be stored.
type scoredMembers struct {
	members [][]byte
	scores  []float64
}

func (s *scoredMembers) add(member []byte, score float64) bool {
	s.members = append(s.members, member)
	s.scores = append(s.scores, score)
	return true
}

// storeScores replaces whatever key held by a sorted set. Without members it deletes the key.
func (k *Keyspace) storeScores(key []byte, all *scoredMembers) {
	t := k.target(key)
	if len(all.members) > 0 {
		k.edit(&t, SortedSet, 0).SetScores(value.Value{}, all.members, all.scores)
		k.save(&t)
	} else if t.rec != "" {
		k.remove(&t)
	}
}

// zsource is a set or sorted set that is combined with others. Members of a set have score 1.
type zsource struct {
	v      Value
	weight float64
}

func (s zsource) each(yield func(m []byte, score float64) bool) {
	if s.v.Kind() == SortedSet {
		s.v.Scores(yield)
		return
	}
	s.v.Members(func(m []byte) bool { return yield(m, 1) })
}

func (s zsource) score(m []byte) (float64, bool) {
	if s.v.Kind() == SortedSet {
		return s.v.Score(m)
	}
	return 1, s.v.HasMember(m)
}

// zcombination holds the arguments of ZUNIONSTORE, ZINTERSTORE and ZDIFFSTORE.
type zcombination struct {
	sources   []zsource
	aggregate string
}

// zcombination parses the command from the number of keys on.
func (k *Keyspace) zcombination(args [][]byte, weighted bool) (*zcombination, error) {
	n, ok := ParseInt(args[2])
	if !ok {
		return nil, errNotInteger
	}
	if n < 1 {
		return nil, errors.New(
			"ERR at least 1 input key is needed for '" + strings.ToLower(
				string(args[0]),
			) + "' command",
		)
	}
	if n > int64(len(args)-3) {
		return nil, errSyntax
	}
	values, err := k.sources(args[3:3+n], Set, SortedSet)
	if err != nil {
		return nil, err
	}
	c := &zcombination{aggregate: "SUM"}
	for _, v := range values {
		c.sources = append(c.sources, zsource{v, 1})
	}
	return c, c.options(args[3+n:], weighted)
}

func (c *zcombination) options(words [][]byte, weighted bool) error {
	for i := 0; i < len(words); {
		switch word := strings.ToUpper(string(words[i][:min(len(words[i]), 16)])); {
		case weighted && word == "WEIGHTS" && len(words)-i > len(c.sources):
			for j := range c.sources {
				w, ok := parseScore(words[i+1+j])
				if !ok {
					return errors.New("ERR weight value is not a float")
				}
				c.sources[j].weight = w
			}
			i += 1 + len(c.sources)
		case weighted && word == "AGGREGATE" && i+1 < len(words):
			c.aggregate = strings.ToUpper(string(words[i+1][:min(len(words[i+1]), 8)]))
			if c.aggregate != "SUM" && c.aggregate != "MIN" && c.aggregate != "MAX" {
				return errSyntax
			}
			i += 2
		default:
			return errSyntax
		}
	}
	return nil
}

// add combines two scores as Redis does: inf plus -inf is 0.
func (c *zcombination) add(a, b float64) float64 {
	switch c.aggregate {
	case "MIN":
		if b < a {
			return b
		}
	case "MAX":
		if b > a {
			return b
		}
	default:
		if a += b; math.IsNaN(a) {
			return 0
		}
	}
	return a
}

// bySize orders the sources as Redis does, because sums of floats depend on the order.
func (c *zcombination) bySize() {
	slices.SortStableFunc(c.sources, func(a, b zsource) int { return a.v.Len() - b.v.Len() })
}

func weighted(weight, score float64) float64 {
	if score *= weight; math.IsNaN(score) {
		return 0
	}
	return score
}

func (k *Keyspace) zunionstore(args [][]byte) error {
	c, err := k.zcombination(args, true)
	if err != nil {
		return err
	}
	c.bySize()
	var all scoredMembers
	places := map[string]int{}
	for _, s := range c.sources {
		s.each(func(m []byte, score float64) bool {
			score = weighted(s.weight, score)
			if i, ok := places[string(m)]; ok {
				all.scores[i] = c.add(all.scores[i], score)
				return true
			}
			places[string(m)] = len(all.members)
			return all.add(m, score)
		})
	}
	k.storeScores(args[1], &all)
	return nil
}

func (k *Keyspace) zinterstore(args [][]byte) error {
	c, err := k.zcombination(args, true)
	if err != nil {
		return err
	}
	c.bySize()
	var all scoredMembers
	c.sources[0].each(func(m []byte, score float64) bool {
		score = weighted(c.sources[0].weight, score)
		for _, s := range c.sources[1:] {
			other, ok := s.score(m)
			if !ok {
				return true
			}
			score = c.add(score, other*s.weight)
		}
		return all.add(m, score)
	})
	k.storeScores(args[1], &all)
	return nil
}

func (k *Keyspace) zdiffstore(args [][]byte) error {
	c, err := k.zcombination(args, false)
	if err != nil {
		return err
	}
	var all scoredMembers
	c.sources[0].each(func(m []byte, score float64) bool {
		for _, s := range c.sources[1:] {
			if _, ok := s.score(m); ok {
				return true
			}
		}
		return all.add(m, score)
	})
	k.storeScores(args[1], &all)
	return nil
}

// hexadecimal reports whether b is a number in base 16, which strtod accepts.
func hexadecimal(b []byte) bool {
	if len(b) > 0 && (b[0] == '+' || b[0] == '-') {
		b = b[1:]
	}
	return len(b) > 2 && b[0] == '0' && (b[1] == 'x' || b[1] == 'X')
}
