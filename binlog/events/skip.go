package events

import "rowfall/binlog"

// skipper reads a file from its beginning up to the offset at which the parser's user starts,
// because only the file's beginning holds the GTID set, or because the dump command cannot
// express the offset. Transactions before that offset are counted and not yielded.
type skipper struct {
	// file and end are the position to start from. end is 0 when nothing is skipped, and again
	// when the position has been reached.
	file string
	end  uint64
	// executed are the GTIDs up to the last skipped transaction.
	executed binlog.GTIDSet
	// needsPrevious is set until the file's PREVIOUS_GTIDS event, with which executed begins.
	needsPrevious bool
}

// active reports whether events are still skipped.
func (s *skipper) active() bool { return s.end > 0 }

// previousGTIDs handles PREVIOUS_GTIDS, which is at the beginning of a MySQL's binlog file and
// holds the GTIDs of all files before.
func (s *skipper) previousGTIDs(body []byte) error {
	if !s.needsPrevious {
		return nil
	}
	executed, err := ParsePreviousGTIDs(body)
	if err != nil {
		return err
	}
	s.executed, s.needsPrevious = executed, false
	return nil
}

// checkRotate handles a ROTATE to another file than the one that is skipped. It returns an error
// unless the position to start from is the end of that file, which lies after its ROTATE.
func (s *skipper) checkRotate(h header, offset uint64) error {
	if h.flags&flagArtificial != 0 || offset+uint64(h.size) != s.end {
		return s.errBeyondEnd()
	}
	return nil
}

// reached reports, after each event, whether the position to start from has been reached. offset
// is the end of the event, betweenTransactions whether no transaction is open there.
func (s *skipper) reached(h header, offset uint64, betweenTransactions bool) (bool, error) {
	if s.needsPrevious {
		switch h.typ {
		case formatDescriptionEvent, rotateEvent, heartbeatLogEvent, heartbeatLogEventV2:
			return false, nil // these come before PREVIOUS_GTIDS
		}
		return false, reject("the file does not begin with a PREVIOUS_GTIDS event: " +
			"it is of another server or damaged")
	}
	isHeartbeat := h.typ == heartbeatLogEvent || h.typ == heartbeatLogEventV2
	switch {
	case offset < s.end && isHeartbeat && betweenTransactions:
		// A server sends heartbeats only when it has no more events to send.
		return false, s.errBeyondEnd()
	case offset < s.end:
		return false, nil
	case offset > s.end && h.typ != previousGTIDsLogEvent:
		// An offset before the end of PREVIOUS_GTIDS is accepted: no transaction lies between.
		return false, reject("%s:%d is not where an event ends; "+
			"take a position that the server or Rowfall gave", s.file, s.end)
	case !betweenTransactions:
		return false, errMidTransaction
	}
	return true, nil
}

func (s *skipper) errBeyondEnd() error {
	return reject("%s:%d lies beyond the end of that file", s.file, s.end)
}

// finishSkipping makes the parser yield what follows.
func (p *Parser) finishSkipping() {
	p.position.GTID = p.skip.executed
	p.skip = skipper{}
}
