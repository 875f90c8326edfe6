package events

import (
	"fmt"

	"rowfall/binlog"
)

// Flags of a rows event.
const (
	rowsStatementEnd   = 1
	rowsForeignKeysOff = 2 // foreign_key_checks=0
)

// tableMap handles TABLE_MAP_EVENT.
func (p *Parser) tableMap(body []byte) error {
	if p.transaction.state != stateOpen {
		return errMidTransaction
	}
	if p.discarding() {
		p.leftOut.addTable(&p.transaction, cursor{b: body}, p.sixByteIDs(tableMapEvent))
		return nil
	}
	return p.maps.add(cursor{b: body}, p.sixByteIDs(tableMapEvent))
}

// sixByteIDs reports whether the post-header of an event type begins with a table id of six bytes.
// Servers before MySQL 5.1.4 wrote four bytes.
func (p *Parser) sixByteIDs(k eventType) bool { return p.postHeaderLength(k, 8) != 6 }

// rows handles the events that hold row images.
func (p *Parser) rows(h header, body []byte) (*binlog.Event, error) {
	if p.transaction.state != stateOpen {
		return nil, errMidTransaction
	}
	c := cursor{b: body}
	id := c.tableID(p.sixByteIDs(h.typ))
	flags := c.uint16()
	if c.truncated {
		return nil, errTruncated
	}
	if p.discarding() {
		return nil, nil
	}
	v := p.maps.byID[id]
	if v == nil && isStatementEnd(h.typ, id, flags, c) {
		return nil, nil
	}
	if v == nil {
		return nil, reject("rows of table id %d have no table map before them; %w",
			id, errMidTransaction)
	}
	foreignKeysOff := flags&rowsForeignKeysOff != 0
	isLeftOut := p.transaction.leavesOut(v.database, v.name)
	if v.layout == nil {
		p.maps.tables.RowsSkipped(v.database, v.name, h.typ.op(), foreignKeysOff)
		return nil, nil
	}
	err := p.resetRows(h.typ, v, c)
	if err != nil && v.isWatched {
		p.maps.tables.RowsSkipped(v.database, v.name, h.typ.op(), foreignKeysOff)
		return nil, nil
	}
	if err != nil && isLeftOut {
		return nil, nil
	}
	if err != nil {
		table := v.database + "." + v.name
		return nil, withTable(table, fmt.Errorf("rows of %s: %w", table, err))
	}
	if !isLeftOut && !v.isWatched {
		p.transaction.hasMappedRows = true
	}
	ev := p.emit(binlog.Changes, p.time(h))
	ev.InTransaction = true
	ev.ForeignKeysOff = foreignKeysOff
	return ev, nil
}

// op returns what happened to the rows of a rows event.
func (k eventType) op() binlog.Op {
	return k.rowsFormat().op
}

// isRows reports whether events of a type have row images.
func (k eventType) isRows() bool { return k.rowsFormat().op != 0 }

// isStatementEnd reports whether a rows event without a table map only ends a statement: its table
// id is all ones, in one of the widths that servers have used, and it has no rows. A table can have
// such an id too, because servers count table ids up without a limit.
func isStatementEnd(k eventType, id uint64, flags uint16, c cursor) bool {
	if flags&rowsStatementEnd == 0 || id != 1<<24-1 && id != 1<<32-1 && id != 1<<48-1 {
		return false
	}
	_, _, images, err := k.rowsFormat().split(c)
	return err == nil && len(images.b) == 0
}

// rowsFormat describes the layout of a rows event's type.
type rowsFormat struct {
	op           binlog.Op
	hasExtraData bool // version 2 of rows events: extra data before the columns
	compressed   bool // by MariaDB's log_bin_compress
	isPartial    bool // new images may hold changes of JSON values
}

func (k eventType) rowsFormat() rowsFormat {
	switch k {
	case partialUpdateRowsEvent:
		return rowsFormat{op: binlog.Update, hasExtraData: true, isPartial: true}
	case writeRowsEvent:
		return rowsFormat{op: binlog.Insert, hasExtraData: true}
	case updateRowsEvent:
		return rowsFormat{op: binlog.Update, hasExtraData: true}
	case deleteRowsEvent:
		return rowsFormat{op: binlog.Delete, hasExtraData: true}
	case writeRowsEventV1:
		return rowsFormat{op: binlog.Insert}
	case updateRowsEventV1:
		return rowsFormat{op: binlog.Update}
	case deleteRowsEventV1:
		return rowsFormat{op: binlog.Delete}
	case writeRowsCompressedEvent:
		return rowsFormat{op: binlog.Insert, hasExtraData: true, compressed: true}
	case updateRowsCompressedEvent:
		return rowsFormat{op: binlog.Update, hasExtraData: true, compressed: true}
	case deleteRowsCompressedEvent:
		return rowsFormat{op: binlog.Delete, hasExtraData: true, compressed: true}
	case writeRowsCompressedEventV1:
		return rowsFormat{op: binlog.Insert, compressed: true}
	case updateRowsCompressedEventV1:
		return rowsFormat{op: binlog.Update, compressed: true}
	case deleteRowsCompressedEventV1:
		return rowsFormat{op: binlog.Delete, compressed: true}
	}
	return rowsFormat{}
}

// split reads the part between the flags and the rows: the number of columns and the bitmaps of the
// columns present, of which an update has two (before, after). rest holds the rows.
func (f rowsFormat) split(c cursor) (columns uint64, present []byte, rest cursor, err error) {
	if f.hasExtraData {
		n := c.uint16() // includes its own two bytes
		c.bytes(uint64(max(n, 2) - 2))
	}
	columns = c.lengthEncodedInt()
	bytes := columns/8 + min(columns%8, 1)
	if f.op == binlog.Update {
		bytes *= 2
	}
	if present = c.bytes(bytes); c.truncated {
		return 0, nil, c, errTruncated
	}
	return columns, present, c, nil
}

// resetRows points the parser's Rows at the rows of an event. c is after the event's table id and
// flags.
func (p *Parser) resetRows(k eventType, v *tableVersion, c cursor) error {
	f := k.rowsFormat()
	columns, present, c, err := f.split(c)
	if err != nil {
		return err
	}
	if columns != uint64(v.columns) {
		return fmt.Errorf("the event is damaged: it has %d columns and its table map %d",
			columns, v.columns)
	}
	before, after := present, present
	if f.op == binlog.Update {
		before, after = present[:len(present)/2], present[len(present)/2:]
	}
	images := c.b
	if f.compressed {
		if images, err = p.inflater.inflate(images); err != nil {
			return err
		}
	}
	if f.isPartial {
		p.event.Rows.ResetPartial(v.layout, before, after, images)
	} else {
		p.event.Rows.Reset(v.layout, f.op, before, after, images)
	}
	return nil
}
