package binlog

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// GTIDSet is a set of global transaction identifiers: MySQL's (uuid, optional
// tag, intervals) or MariaDB's (the last sequence of each domain). The zero
// value is the empty set. A copy by assignment is independent of the original, and
// costs nothing: what the slices refer to never changes. Several goroutines may use
// copies of a set at the same time; one set needs one goroutine.
type GTIDSet struct {
	// sources is ordered by uuid, then tag; each source has at least one interval.
	sources []gtidSource
	// domains is ordered by domain.
	domains []gtidDomain
	// last is the index of the source that Add used last: consecutive transactions
	// mostly have one uuid.
	last int
	// end, if it is not 0, is the end of the last interval of that source, instead of
	// the end in the slice. Thus the next transaction of the source needs no copy of
	// the intervals.
	end uint64
}

// gtidSource holds the transactions of one MySQL uuid and tag. Its intervals are
// ordered and not empty, with a gap between any two.
type gtidSource struct {
	uuid      [16]byte
	tag       string
	intervals []gtidInterval
}

// gtidInterval is half open: it contains first to end-1.
type gtidInterval struct{ first, end uint64 }

type gtidDomain struct {
	domain, server uint32
	sequence       uint64
}

// maxSequence is the largest sequence number that either server assigns.
const maxSequence = math.MaxInt64 - 1

// maxTag is the longest tag MySQL accepts, in bytes.
const maxTag = 32

// ParseGTIDSet reads the text form of either server; white space and newlines
// between parts are allowed. Empty text is the empty set. The error names the
// part that is not a GTID. A set that mixes GTIDs of both servers is an error.
func ParseGTIDSet(s string) (GTIDSet, error) {
	var set GTIDSet
	if strings.TrimSpace(s) == "" {
		return set, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		var err error
		if strings.Contains(part, ":") {
			err = set.parseSource(part)
		} else {
			err = set.parseDomain(part)
		}
		if err != nil {
			return GTIDSet{}, fmt.Errorf("parse GTID set at %q: %w", Clip(part, maxQuoted), err)
		}
	}
	if len(set.sources) > 0 && len(set.domains) > 0 {
		return GTIDSet{}, fmt.Errorf("parse GTID set %q: it mixes GTIDs of MySQL and MariaDB",
			Clip(s, maxQuoted))
	}
	return set, nil
}

// parseSource reads "uuid:1-5:7:tag:1-3"; a tag holds for the intervals after
// it.
func (s *GTIDSet) parseSource(part string) error {
	head, rest, _ := strings.Cut(part, ":")
	uuid, err := parseUUID(strings.TrimSpace(head))
	if err != nil {
		return err
	}
	tag, open := "", true // open: an interval must follow
	for piece := range strings.SplitSeq(rest, ":") {
		piece = strings.TrimSpace(piece)
		if t, ok := parseTag(piece); ok {
			if open && tag != "" {
				return fmt.Errorf("tag %q has no interval", tag)
			}
			tag, open = t, true
			continue
		}
		v, err := parseInterval(piece)
		if err != nil {
			return err
		}
		s.sources[s.source(uuid, tag)].add(v)
		open = false
	}
	if open {
		return fmt.Errorf("an interval is missing, expected uuid:first-last")
	}
	return nil
}

func (s *GTIDSet) parseDomain(part string) error {
	f := strings.Split(part, "-")
	if len(f) != 3 {
		return fmt.Errorf("expected uuid:first-last (MySQL) or domain-server-sequence (MariaDB)")
	}
	domain, err := strconv.ParseUint(f[0], 10, 32)
	if err != nil {
		return fmt.Errorf("domain %q is not a number below 2^32", Clip(f[0], maxQuoted))
	}
	server, err := strconv.ParseUint(f[1], 10, 32)
	if err != nil {
		return fmt.Errorf("server id %q is not a number below 2^32", Clip(f[1], maxQuoted))
	}
	sequence, err := strconv.ParseUint(f[2], 10, 64)
	if err != nil {
		return fmt.Errorf("sequence %q is not a number below 2^64", Clip(f[2], maxQuoted))
	}
	i, found := s.domain(uint32(domain))
	if found && s.domains[i].sequence >= sequence {
		return nil // a binlog state names several servers of a domain: the highest counts
	}
	s.AddMariaDB(uint32(domain), uint32(server), sequence)
	return nil
}

// parseUUID accepts 32 hexadecimal digits, with or without the usual dashes.
func parseUUID(s string) (u [16]byte, err error) {
	if len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' {
		s = s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	}
	if len(s) == 32 {
		if _, err := hex.Decode(u[:], []byte(s)); err == nil {
			return u, nil
		}
	}
	return u, fmt.Errorf("%q is not a uuid", Clip(s, maxQuoted))
}

// parseTag returns the tag in lower case. A tag begins with a letter or "_", so it
// cannot be mistaken for an interval.
func parseTag(s string) (string, bool) {
	if s == "" || len(s) > maxTag {
		return "", false
	}
	for i := range len(s) {
		c := s[i] | 0x20
		letter := 'a' <= c && c <= 'z' || s[i] == '_'
		if !letter && (i == 0 || s[i] < '0' || s[i] > '9') {
			return "", false
		}
	}
	return strings.ToLower(s), true
}

func parseInterval(s string) (gtidInterval, error) {
	first, last, ranged := strings.Cut(s, "-")
	a, err := strconv.ParseUint(strings.TrimSpace(first), 10, 64)
	b := a
	if err == nil && ranged {
		b, err = strconv.ParseUint(strings.TrimSpace(last), 10, 64)
	}
	if err != nil || a == 0 || b < a || b > maxSequence {
		return gtidInterval{}, fmt.Errorf("%q is not an interval such as 1-5", Clip(s, maxQuoted))
	}
	return gtidInterval{a, b + 1}, nil
}

// Add adds one MySQL GTID. tag is empty for an untagged one. Sequences begin at 1; a
// number out of range adds nothing. Adding the successor of the last sequence takes
// constant time and no memory if the source is the one that Add used last.
func (s *GTIDSet) Add(uuid [16]byte, tag string, sequence uint64) {
	if sequence == 0 || sequence > maxSequence {
		return
	}
	if s.isLast(uuid, tag) && s.lastInterval(s.last).end == sequence {
		s.end = sequence + 1
		return
	}
	*s = s.inSlices()
	s.sources = slices.Clone(s.sources)
	s.last = s.source(uuid, tag)
	g := &s.sources[s.last]
	g.intervals = slices.Clone(g.intervals)
	g.add(gtidInterval{sequence, sequence + 1})
}

// isLast reports whether a uuid and tag are those of the source that Add used last.
func (s *GTIDSet) isLast(uuid [16]byte, tag string) bool {
	return s.last < len(s.sources) && s.sources[s.last].uuid == uuid &&
		s.sources[s.last].tag == tag
}

// lastInterval returns the last interval of a source.
func (s *GTIDSet) lastInterval(source int) gtidInterval {
	intervals := s.sources[source].intervals
	v := intervals[len(intervals)-1]
	if source == s.last && s.end != 0 {
		v.end = s.end
	}
	return v
}

// inSlices returns the same set with end 0. What its slices refer to must not be changed.
func (s *GTIDSet) inSlices() GTIDSet {
	set := *s
	if s.end != 0 {
		set.sources, set.end = slices.Clone(s.sources), 0
		g := &set.sources[s.last]
		g.intervals = slices.Clone(g.intervals)
		g.intervals[len(g.intervals)-1].end = s.end
	}
	return set
}

// AddMariaDB sets the last GTID of a MariaDB domain.
func (s *GTIDSet) AddMariaDB(domain, server uint32, sequence uint64) {
	i, found := s.domain(domain)
	s.domains = slices.Clone(s.domains)
	if !found {
		s.domains = slices.Insert(s.domains, i, gtidDomain{domain: domain})
	}
	s.domains[i].server, s.domains[i].sequence = server, sequence
}

// source returns the index of a uuid and tag and inserts the pair if it is new. No other set may
// have the sources.
func (s *GTIDSet) source(uuid [16]byte, tag string) int {
	i, found := s.find(uuid, tag)
	if !found {
		s.sources = slices.Insert(s.sources, i, gtidSource{uuid: uuid, tag: strings.Clone(tag)})
	}
	return i
}

func (s *GTIDSet) find(uuid [16]byte, tag string) (int, bool) {
	return slices.BinarySearchFunc(s.sources, uuid, func(g gtidSource, u [16]byte) int {
		return cmp.Or(bytes.Compare(g.uuid[:], u[:]), cmp.Compare(g.tag, tag))
	})
}

func (s *GTIDSet) domain(domain uint32) (int, bool) {
	return slices.BinarySearchFunc(s.domains, domain, func(d gtidDomain, n uint32) int {
		return cmp.Compare(d.domain, n)
	})
}

func (g *gtidSource) add(v gtidInterval) {
	if n := len(g.intervals); n > 0 && g.intervals[n-1].end == v.first {
		g.intervals[n-1].end = v.end
		return
	}
	// i is the first interval that ends at or after v's start, j the first that starts
	// beyond v's end: the intervals from i to j-1 and v become one.
	i, _ := slices.BinarySearchFunc(g.intervals, v.first, func(w gtidInterval, first uint64) int {
		return cmp.Compare(w.end, first)
	})
	j := i
	for j < len(g.intervals) && g.intervals[j].first <= v.end {
		v.first = min(v.first, g.intervals[j].first)
		v.end = max(v.end, g.intervals[j].end)
		j++
	}
	g.intervals = slices.Replace(g.intervals, i, j, v)
}

// Contains reports whether every GTID of o is in s. For MariaDB: whether each domain of
// o has at least the same sequence number in s.
func (s *GTIDSet) Contains(o GTIDSet) bool {
	for j := range o.sources {
		g := &o.sources[j]
		i, found := s.find(g.uuid, g.tag)
		if !found || !s.contains(i, o.lastInterval(j)) {
			return false
		}
		for _, v := range g.intervals[:len(g.intervals)-1] {
			if !s.contains(i, v) {
				return false
			}
		}
	}
	for _, d := range o.domains {
		i, found := s.domain(d.domain)
		if !found || s.domains[i].sequence < d.sequence {
			return false
		}
	}
	return true
}

// contains reports whether one of a source's intervals contains v.
func (s *GTIDSet) contains(source int, v gtidInterval) bool {
	if last := s.lastInterval(source); v.first >= last.first {
		return v.end <= last.end
	}
	intervals := s.sources[source].intervals
	i, _ := slices.BinarySearchFunc(intervals, v.end, func(w gtidInterval, end uint64) int {
		return cmp.Compare(w.end, end)
	})
	return i < len(intervals) && intervals[i].first <= v.first
}

// Equal reports whether the two sets are the same.
func (s *GTIDSet) Equal(o GTIDSet) bool {
	set, o := s.inSlices(), o.inSlices()
	return slices.Equal(set.domains, o.domains) &&
		slices.EqualFunc(set.sources, o.sources, func(a, b gtidSource) bool {
			return a.uuid == b.uuid && a.tag == b.tag && slices.Equal(a.intervals, b.intervals)
		})
}

// IsZero reports whether the set is empty.
func (s *GTIDSet) IsZero() bool { return len(s.sources) == 0 && len(s.domains) == 0 }

// AppendText appends the canonical text form: parts in order, joined by ","
// without white space, a uuid's tags after its untagged intervals.
func (s *GTIDSet) AppendText(dst []byte) []byte {
	for i := range s.sources {
		g := &s.sources[i]
		if i == 0 || s.sources[i-1].uuid != g.uuid {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendUUID(dst, g.uuid[:])
		}
		if g.tag != "" {
			dst = append(append(dst, ':'), g.tag...)
		}
		for _, v := range g.intervals[:len(g.intervals)-1] {
			dst = v.appendText(dst)
		}
		dst = s.lastInterval(i).appendText(dst)
	}
	for i, d := range s.domains {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(strconv.AppendUint(dst, uint64(d.domain), 10), '-')
		dst = append(strconv.AppendUint(dst, uint64(d.server), 10), '-')
		dst = strconv.AppendUint(dst, d.sequence, 10)
	}
	return dst
}

func (v gtidInterval) appendText(dst []byte) []byte {
	dst = strconv.AppendUint(append(dst, ':'), v.first, 10)
	if v.end-v.first > 1 {
		dst = strconv.AppendUint(append(dst, '-'), v.end-1, 10)
	}
	return dst
}

// appendUUID appends 16 bytes as 8-4-4-4-12 hexadecimal digits.
func appendUUID(dst, u []byte) []byte {
	dst = append(hex.AppendEncode(dst, u[:4]), '-')
	dst = append(hex.AppendEncode(dst, u[4:6]), '-')
	dst = append(hex.AppendEncode(dst, u[6:8]), '-')
	dst = append(hex.AppendEncode(dst, u[8:10]), '-')
	return hex.AppendEncode(dst, u[10:16])
}

// AppendBinary appends a MySQL set in the form of COM_BINLOG_DUMP_GTID: the number of
// sources, then for each source its uuid, the number of its intervals and the intervals
// as [first, end), all numbers 8 bytes little endian (Gtid_set::encode in rpl_gtid_set.cc).
//
// A set with tags has the form of MySQL 8.3 and later: the lowest and the highest byte
// of the number are 1, the count lies between them, and each uuid is followed by its
// tag: twice the length in one byte, then the tag. Sets of older servers have no tags,
// so these servers never receive that form.
func (s *GTIDSet) AppendBinary(dst []byte) []byte {
	set := s.inSlices()
	tagged := slices.ContainsFunc(set.sources, func(g gtidSource) bool { return g.tag != "" })
	count := uint64(len(set.sources))
	if tagged {
		count = 1<<56 | count<<8 | 1
	}
	dst = binary.LittleEndian.AppendUint64(dst, count)
	for i := range set.sources {
		g := &set.sources[i]
		dst = append(dst, g.uuid[:]...)
		if tagged {
			dst = append(append(dst, byte(len(g.tag)<<1)), g.tag...)
		}
		dst = binary.LittleEndian.AppendUint64(dst, uint64(len(g.intervals)))
		for _, v := range g.intervals {
			dst = binary.LittleEndian.AppendUint64(dst, v.first)
			dst = binary.LittleEndian.AppendUint64(dst, v.end)
		}
	}
	return dst
}

// String returns the canonical text form.
func (s GTIDSet) String() string { return string(s.AppendText(nil)) }
