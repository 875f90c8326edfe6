package events

import (
	"encoding/binary"
	"strings"

	"rowfall/binlog"
)

// rotate handles ROTATE_EVENT, which names the next file. A generated one, at the beginning of a
// connection, names the file and offset that follow.
func (p *Parser) rotate(h header, body []byte) (*binlog.Event, error) {
	if err := p.breakOff(stateGTID); err != nil {
		return nil, err
	}
	c := cursor{b: body}
	offset := c.uint64()
	if c.truncated || len(c.b) == 0 {
		return nil, errTruncated
	}
	if p.skip.active() && string(c.b) != p.skip.file {
		if err := p.skip.checkRotate(h, p.offset); err != nil {
			return nil, err
		}
		p.finishSkipping()
	}
	if err := p.checkForward(c.b, offset); err != nil {
		return nil, err
	}
	if p.file != string(c.b) {
		p.file = string(c.b)
	}
	p.offset = offset
	return p.progress(h), nil
}

// heartbeat handles HEARTBEAT_LOG_EVENT and its version 2: the offset up to which the server has
// read. The server sends it when it has no events to send, and when it has skipped transactions
// that the replica's GTID set includes. An offset from 4 GiB on, which the header cannot hold, is
// in the body: version 2 has a field for it, and MariaDB puts its 8 bytes before the file's name.
func (p *Parser) heartbeat(h header, body []byte) (*binlog.Event, error) {
	file, end, is64Bit := body, uint64(h.end), false
	switch {
	case p.mariaDB && h.end == 0 && len(body) > 8:
		end, file, is64Bit = binary.LittleEndian.Uint64(body), body[8:], true
	case h.typ == heartbeatLogEventV2:
		file = nil
		c := cursor{b: body}
		for len(c.b) > 0 && !c.truncated {
			field := c.byte()
			if field == 0 {
				break
			}
			value := cursor{b: c.bytes(c.lengthEncodedInt())}
			switch field {
			case 1:
				file = value.b
			case 2:
				end, is64Bit = value.lengthEncodedInt(), true
				c.truncated = c.truncated || value.truncated
			}
		}
		if c.truncated {
			return nil, errTruncated
		}
	}
	if p.transaction.state != stateIdle {
		return nil, nil
	}
	if string(file) == p.file {
		p.fileUnknown = false
		if !is64Bit && end != 0 {
			// A heartbeat from before the offset is out of date.
			if d := uint32(end) - uint32(p.offset); d < 1<<31 {
				p.offset += uint64(d)
			}
		} else if end > p.offset {
			p.offset = end
		}
	}
	return p.progress(h), nil
}

// addMissing handles a PREVIOUS_GTIDS_LOG_EVENT, which lists the transactions of all files before.
// Transactions of Options.Missing that are in the list and not in the position are added to the
// position. addMissing returns nil if it adds none.
func (p *Parser) addMissing(body []byte) (*binlog.Skipped, error) {
	if p.missing.IsZero() || !p.trackGTIDs || p.skip.active() {
		return nil, nil
	}
	previous, err := ParsePreviousGTIDs(body)
	if err != nil {
		return nil, err
	}
	rest := previous.Subtract(&p.position.GTID)
	if rest.IsZero() || !p.missing.Contains(rest) {
		return nil, nil
	}
	// ParseGTIDSet merges the intervals of both sets.
	all, err := binlog.ParseGTIDSet(strings.Trim(p.position.GTID.String()+","+rest.String(), ","))
	if err != nil {
		return nil, err
	}
	p.position.GTID = all
	return &binlog.Skipped{Unknown: true}, nil
}
