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
	if p.passing() {
		return nil
	}
	return p.maps.define(cursor{b: body}, p.wideIDs(tableMapEvent))
}

// wideIDs says that a type's fixed part begins with a table id of six bytes, as
// all servers of this century write it.
func (p *Parser) wideIDs(k eventType) bool { return p.fixedPart(k, 8) != 6 }

// rows handles the events that hold row images.
func (p *Parser) rows(h header, body []byte) (*binlog.Event, error) {
	if p.transaction.state != stateOpen {
		return nil, errMidTransaction
	}
	c := cursor{b: body}
	id := c.tableID(p.wideIDs(h.typ))
	flags := c.uint16()
	if c.bad {
		return nil, errTruncated
	}
	if p.passing() {
		return nil, nil
	}
	v := p.maps.byID[id]
	if v == nil && endsStatement(h.typ, id, flags, c) {
		return nil, nil
	}
	if v == nil {
		return nil, refuse("rows of table id %d have no table map before them; %w", id, errMidTransaction)
	}
	if v.layout == nil {
		return nil, nil
	}
	if err := p.resetRows(h.typ, v, c); err != nil {
		return nil, inTable(v.database+"."+v.name, fmt.Errorf("rows of %s.%s: %w", v.database, v.name, err))
	}
	p.transaction.mapped = true
	return p.emit(binlog.Changes, p.time(h)), nil
}

// endsStatement reports whether an event without a table map only ends a
// statement: its id is all ones, in one of the widths that servers have used, and
// it has no rows. A table may have such an id too: a server counts up to it.
func endsStatement(k eventType, id uint64, flags uint16, c cursor) bool {
	const last = 1
	if flags&last == 0 || id != 1<<24-1 && id != 1<<32-1 && id != 1<<48-1 {
		return false
	}
	_, _, images, err := k.rows().split(c)
	return err == nil && len(images.b) == 0
}

// rowsKind is what an event type says of the rows in it.
type rowsKind struct {
	op         binlog.Op
	extra      bool // version 2: there is extra data before the columns
	compressed bool // MariaDB's log_bin_compress
}

func (k eventType) rows() rowsKind {
	switch k {
	case writeRowsEvent:
		return rowsKind{binlog.Insert, true, false}
	case updateRowsEvent:
		return rowsKind{binlog.Update, true, false}
	case deleteRowsEvent:
		return rowsKind{binlog.Delete, true, false}
	case writeRowsEventV1:
		return rowsKind{binlog.Insert, false, false}
	case updateRowsEventV1:
		return rowsKind{binlog.Update, false, false}
	case deleteRowsEventV1:
		return rowsKind{binlog.Delete, false, false}
	case writeRowsCompressedEvent:
		return rowsKind{binlog.Insert, true, true}
	case updateRowsCompressedEvent:
		return rowsKind{binlog.Update, true, true}
	case deleteRowsCompressedEvent:
		return rowsKind{binlog.Delete, true, true}
	case writeRowsCompressedEventV1:
		return rowsKind{binlog.Insert, false, true}
	case updateRowsCompressedEventV1:
		return rowsKind{binlog.Update, false, true}
	case deleteRowsCompressedEventV1:
		return rowsKind{binlog.Delete, false, true}
	}
	return rowsKind{}
}

// split reads what stands before the rows of an event whose table id and flags
// are read: the number of columns and the bitmaps of those present, of which an
// update has two. The rows are left.
func (rk rowsKind) split(c cursor) (columns uint64, present []byte, rest cursor, err error) {
	if rk.extra {
		n := c.uint16() // counts itself
		c.take(uint64(max(n, 2) - 2))
	}
	columns = c.packed()
	bytes := columns/8 + min(columns%8, 1)
	if rk.op == binlog.Update {
		bytes *= 2
	}
	if present = c.take(bytes); c.bad {
		return 0, nil, c, errTruncated
	}
	return columns, present, c, nil
}

// resetRows points the rows of p.event at those of an event whose table id and
// flags are read.
func (p *Parser) resetRows(k eventType, v *version, c cursor) error {
	rk := k.rows()
	if rk.op == 0 {
		return refuse("an update was logged as a patch of a JSON column; set binlog_row_value_options='' on the server, " +
			"for all sessions, and start again with --from snapshot")
	}
	columns, present, c, err := rk.split(c)
	if err != nil {
		return err
	}
	if columns != uint64(v.columns) {
		return fmt.Errorf("the event is damaged: it has %d columns and its table map %d", columns, v.columns)
	}
	before, after := present, present
	if rk.op == binlog.Update {
		before, after = present[:len(present)/2], present[len(present)/2:]
	}
	images := c.b
	if rk.compressed {
		if images, err = p.inflater.inflate(images); err != nil {
			return err
		}
	}
	p.event.Rows.Reset(v.layout, rk.op, before, after, images)
	return nil
}
