package events

import (
	"fmt"

	"rowfall/binlog"
)

// tableMap handles TABLE_MAP.
func (p *Parser) tableMap(body []byte) error {
	if p.transaction.state != stateOpen {
		return errMidTransaction
	}
	if p.skipTo > 0 {
		return nil
	}
	return p.maps.define(cursor{b: body}, p.wideIDs(kindTableMap))
}

// wideIDs says that a type's fixed part begins with a table id of six bytes, as
// all servers of this century write it.
func (p *Parser) wideIDs(k kind) bool { return p.fixedPart(k, 8) != 6 }

// rows handles the events that hold row images.
func (p *Parser) rows(h header, body []byte) (*binlog.Event, error) {
	if p.transaction.state != stateOpen {
		return nil, errMidTransaction
	}
	// An id of all ones ends a statement without any rows.
	const dummy = 0xffffff
	c := cursor{b: body}
	id := c.tableID(p.wideIDs(h.kind))
	c.uint16() // flags
	if c.bad {
		return nil, errTruncated
	}
	if p.skipTo > 0 || id == dummy {
		return nil, nil
	}
	v := p.maps.byID[id]
	if v == nil {
		return nil, refuse("rows of table id %d have no table map before them; %w", id, errMidTransaction)
	}
	if v.layout == nil {
		return nil, nil
	}
	if err := p.resetRows(h.kind, v, c); err != nil {
		return nil, inTable(v.database+"."+v.name, fmt.Errorf("rows of %s.%s: %w", v.database, v.name, err))
	}
	p.transaction.mapped = true
	return p.emit(binlog.Changes, p.time(h)), nil
}

// rowsKind is what an event type says of the rows in it.
type rowsKind struct {
	op         binlog.Op
	extra      bool // version 2: there is extra data before the columns
	compressed bool // MariaDB's log_bin_compress
}

func (k kind) rows() rowsKind {
	switch k {
	case kindWriteRows:
		return rowsKind{binlog.Insert, true, false}
	case kindUpdateRows:
		return rowsKind{binlog.Update, true, false}
	case kindDeleteRows:
		return rowsKind{binlog.Delete, true, false}
	case kindWriteRowsV1:
		return rowsKind{binlog.Insert, false, false}
	case kindUpdateRowsV1:
		return rowsKind{binlog.Update, false, false}
	case kindDeleteRowsV1:
		return rowsKind{binlog.Delete, false, false}
	case kindMariaWriteRowsCompressed:
		return rowsKind{binlog.Insert, true, true}
	case kindMariaUpdateRowsCompressed:
		return rowsKind{binlog.Update, true, true}
	case kindMariaDeleteRowsCompressed:
		return rowsKind{binlog.Delete, true, true}
	case kindMariaWriteCompressedV1:
		return rowsKind{binlog.Insert, false, true}
	case kindMariaUpdateCompressedV1:
		return rowsKind{binlog.Update, false, true}
	case kindMariaDeleteCompressedV1:
		return rowsKind{binlog.Delete, false, true}
	}
	return rowsKind{}
}

// resetRows points the rows of p.event at those of an event whose table id and
// flags are read.
func (p *Parser) resetRows(k kind, v *version, c cursor) error {
	rk := k.rows()
	if rk.op == 0 {
		return refuse("an update was logged as a patch of a JSON column; set binlog_row_value_options='' on the server, " +
			"for all sessions, and start again with --from snapshot")
	}
	if rk.extra {
		n := c.uint16() // counts itself
		c.take(uint64(max(n, 2) - 2))
	}
	columns := c.packed()
	if !c.bad && columns != uint64(v.columns) {
		return fmt.Errorf("the event is damaged: it has %d columns and its table map %d", columns, v.columns)
	}
	before := c.take((columns + 7) / 8)
	after := before
	if rk.op == binlog.Update {
		after = c.take((columns + 7) / 8)
	}
	if c.bad {
		return errTruncated
	}
	images := c.b
	if rk.compressed {
		var err error
		if images, err = p.inflater.inflate(images); err != nil {
			return err
		}
	}
	p.event.Rows.Reset(v.layout, rk.op, before, after, images)
	return nil
}
