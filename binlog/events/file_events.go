package events

import (
	"encoding/binary"
	"hash/crc32"
	"strings"

	"rowfall/binlog"
)

// formatDescription handles FORMAT_DESCRIPTION_EVENT, which declares the layout of the events that
// follow.
func (p *Parser) formatDescription(h header, body []byte) (*binlog.Event, error) {
	c := cursor{b: body}
	version := c.uint16()
	c.bytes(50 + 4) // server version, creation time
	length := c.byte()
	if c.truncated || len(c.b) < 1+checksumSize {
		return nil, errTruncated
	}
	if version != 4 || length != HeaderSize {
		return nil, reject("binlog version %d is not supported: the server is too old", version)
	}
	lengths, algorithm := c.b[:len(c.b)-5], c.b[len(c.b)-5]
	if algorithm > 1 {
		return nil, reject("checksum algorithm %d is unknown; "+
			"set binlog_checksum=CRC32 on the server", algorithm)
	}
	if algorithm == 1 && p.verifyChecksums && !p.formatChecksumMatches(h, body) {
		return nil, errChecksum
	}
	if p.transaction.state != stateIdle {
		return nil, errBrokenOff
	}
	p.postHeaders = [256]uint8{}
	p.knownTypes = min(copy(p.postHeaders[1:], lengths), 255)
	p.checksum = algorithm == 1
	p.fileTime = h.time
	return p.progress(h), nil
}

// formatChecksumMatches verifies the checksum of a FORMAT_DESCRIPTION_EVENT. The server computes it
// without the flag that the file is in use.
func (p *Parser) formatChecksumMatches(h header, body []byte) bool {
	var head [HeaderSize]byte
	binary.LittleEndian.PutUint32(head[0:], h.time)
	head[4] = byte(h.typ)
	binary.LittleEndian.PutUint32(head[5:], h.server)
	binary.LittleEndian.PutUint32(head[9:], h.size)
	binary.LittleEndian.PutUint32(head[13:], h.end)
	binary.LittleEndian.PutUint16(head[17:], h.flags&^flagInUse)
	n := len(body) - checksumSize
	sum := crc32.Update(crc32.ChecksumIEEE(head[:]), crc32.IEEETable, body[:n])
	return sum == binary.LittleEndian.Uint32(body[n:])
}

// rotate handles ROTATE_EVENT, which names the next file. A generated one, at the beginning of a
// connection, names the file and offset that follow.
func (p *Parser) rotate(h header, body []byte) (*binlog.Event, error) {
	if p.transaction.state != stateIdle {
		return nil, errBrokenOff
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
