package binlog

import (
	"bytes"
	"slices"
)

// Has reports whether the set holds a MySQL GTID. For the successor of the source's last sequence,
// which is what a stream brings next, it takes constant time.
func (s *GTIDSet) Has(uuid [16]byte, tag string, sequence uint64) bool {
	i := s.last
	if !s.isLast(uuid, tag) {
		var found bool
		if i, found = s.find(uuid, tag); !found {
			return false
		}
	}
	return s.contains(i, gtidInterval{sequence, sequence + 1})
}

// AddGTID adds one GTID, as Add or AddMariaDB do. The zero GTID adds nothing.
func (s *GTIDSet) AddGTID(g GTID) {
	switch {
	case g.IsZero():
	case g.MariaDB:
		s.AddMariaDB(g.Domain, g.Server, g.Sequence)
	default:
		s.Add(g.UUID, g.Tag, g.Sequence)
	}
}

// Before returns the set as it was before a transaction, the last one that was added to it. It
// returns false if that transaction is not in the set, or if it is not the last of its MariaDB
// domain.
func (s *GTIDSet) Before(e *Evidence) (GTIDSet, bool) {
	g := &e.GTID
	if !g.MariaDB {
		var one GTIDSet
		one.Add(g.UUID, g.Tag, g.Sequence)
		if one.IsZero() || !s.Contains(one) {
			return GTIDSet{}, false
		}
		return s.Subtract(&one), true
	}
	i, found := s.domain(g.Domain)
	if !found || s.domains[i] != (gtidDomain{g.Domain, g.Server, g.Sequence}) {
		return GTIDSet{}, false
	}
	out := *s
	out.domains = slices.Clone(s.domains)
	if p := &e.Previous; p.IsZero() {
		out.domains = append(out.domains[:i], out.domains[i+1:]...)
	} else {
		out.domains[i].server, out.domains[i].sequence = p.Server, p.Sequence
	}
	return out, true
}

// Subtract returns what is in s and not in o. For MariaDB these are the domains of s that are
// absent from o or have got less far there.
func (s *GTIDSet) Subtract(o *GTIDSet) GTIDSet {
	var out GTIDSet
	set, other := s.inSlices(), o.inSlices()
	for _, g := range set.sources {
		var remove []gtidInterval
		if i, found := other.find(g.uuid, g.tag); found {
			remove = other.sources[i].intervals
		}
		if rest := subtractIntervals(g.intervals, remove); len(rest) > 0 {
			out.sources = append(out.sources, gtidSource{uuid: g.uuid, tag: g.tag, intervals: rest})
		}
	}
	for _, d := range s.domains {
		if i, found := o.domain(d.domain); !found || o.domains[i].sequence < d.sequence {
			out.domains = append(out.domains, d)
		}
	}
	return out
}

// subtractIntervals returns the parts of from that no interval of remove covers. Both are ordered.
func subtractIntervals(from, remove []gtidInterval) []gtidInterval {
	var out []gtidInterval
	j := 0
	for _, v := range from {
		for j < len(remove) && remove[j].end <= v.first {
			j++
		}
		for k := j; k < len(remove) && remove[k].first < v.end; k++ {
			if v.first < remove[k].first {
				out = append(out, gtidInterval{v.first, remove[k].first})
			}
			v.first = remove[k].end
		}
		if v.first < v.end {
			out = append(out, v)
		}
	}
	return out
}

// Of returns the part of the set whose transactions were first committed on one server: a MySQL's
// server_uuid, whatever the tag.
func (s *GTIDSet) Of(uuid string) GTIDSet {
	var out GTIDSet
	u, err := parseUUID(uuid)
	if err != nil {
		return out
	}
	for _, g := range s.inSlices().sources {
		if bytes.Equal(g.uuid[:], u[:]) {
			out.sources = append(out.sources, g)
		}
	}
	return out
}

// OfServerID is Of for a MariaDB's server_id.
func (s *GTIDSet) OfServerID(id uint32) GTIDSet {
	return s.Filter(func(g GTID) bool { return g.Server == id })
}

// Filter returns the domains of a MariaDB's set whose last GTID keep accepts.
func (s *GTIDSet) Filter(keep func(GTID) bool) GTIDSet {
	var out GTIDSet
	for _, d := range s.domains {
		if keep(s.LastOf(d.domain)) {
			out.domains = append(out.domains, d)
		}
	}
	return out
}

// IsMariaDB reports whether the set holds GTIDs of MariaDB. The empty set is of no server.
func (s *GTIDSet) IsMariaDB() bool { return len(s.domains) > 0 }

// IsMySQL reports whether the set holds GTIDs of MySQL.
func (s *GTIDSet) IsMySQL() bool { return len(s.sources) > 0 }

// LastOf returns the last GTID of a MariaDB domain, or the zero GTID if the set has no GTID of the
// domain.
func (s *GTIDSet) LastOf(domain uint32) GTID {
	i, found := s.domain(domain)
	if !found {
		return GTID{}
	}
	d := s.domains[i]
	return GTID{MariaDB: true, Domain: d.domain, Server: d.server, Sequence: d.sequence}
}
