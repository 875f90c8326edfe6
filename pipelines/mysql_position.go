package pipelines

import (
	"fmt"
	"strconv"

	"rowfall/binlog"
	"rowfall/sink"
)

// Fields of the position hash that hold a position of MySQL.
const (
	gtidField   = "gtid"
	fileField   = "file"
	offsetField = "offset"
	// evidenceField identifies the last transaction that the data include; see binlog.Evidence.
	evidenceField = "evidence"
)

// ParsePosition returns the position of MySQL that a sink holds. An error names the field.
func ParsePosition(stored sink.Position) (p binlog.Position, err error) {
	if p.GTID, err = binlog.ParseGTIDSet(string(stored.Get(gtidField))); err != nil {
		return p, fmt.Errorf("parse gtid: %w", err)
	}
	p.File = string(stored.Get(fileField))
	p.Offset, err = strconv.ParseUint(string(stored.Get(offsetField)), 10, 64)
	if err != nil {
		return p, fmt.Errorf("parse offset: %w", err)
	}
	return p, nil
}

// formatPosition returns a position as a sink stores it, in the memory of buffer as far as that
// suffices.
func formatPosition(buffer sink.Position, p *binlog.Position, evidence []byte) sink.Position {
	if len(buffer) != 4 {
		buffer = make(sink.Position, 4)
	}
	gtid, file, offset, last := &buffer[0], &buffer[1], &buffer[2], &buffer[3]
	gtid.Name, gtid.Value = gtidField, p.GTID.AppendText(gtid.Value[:0])
	file.Name, file.Value = fileField, append(file.Value[:0], p.File...)
	offset.Name, offset.Value = offsetField, strconv.AppendUint(offset.Value[:0], p.Offset, 10)
	last.Name, last.Value = evidenceField, append(last.Value[:0], evidence...)
	return buffer
}
