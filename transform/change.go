package transform

import (
	"bytes"

	"rowfall/binlog"
)

// Mode is what Append may assume about the row that the sink holds.
type Mode uint8

const (
	// FullRow assumes nothing: the commands write every field of the row and remove the NULLs, so
	// the result is right whatever the sink holds. One thing is not written: an inserted row that
	// `where` rejects, or that an output skips, is not removed. Otherwise an initial load
	// would write a DEL for each such row.
	FullRow Mode = iota
	// Delta assumes that the sink holds the complete row before the change. The commands write the
	// difference.
	Delta
	// Replace assumes not even that the sink's data fit the plan: a row may have fields of columns
	// that are gone, or be written although `where` rejects it. The commands remove whatever is at
	// the locations of both images, and write the new row.
	Replace
)

var modeNames = [...]string{FullRow: "full row", Delta: "delta", Replace: "replace"}

// String returns "full row", "delta" or "replace".
func (m Mode) String() string { return modeNames[m] }

// Origin is where a change comes from. The commands of a row at its location do not depend on the
// origin. Outputs that act once per change, and times to live, do.
type Origin struct {
	// Load is set for a row that was read by SELECT: the row exists, but did not change.
	Load bool
	// Replay is set if the sink may hold the result of the change already, after a rewind.
	Replay bool
	// Time is the commit time of the change on the transaction's original server, in microseconds
	// since 1970; 0 for a load.
	Time int64
	// Now is the present time of the sink's clock, which decides about expired keys, in
	// microseconds since 1970; 0 if it is not known. Only plans that Expire use it: a row that has
	// expired is not written, and the times to live of loads begin at Now.
	Now int64
	// Position is the position of the data before the change's transaction, nil for a load. Row is
	// the number of the change among the mapped rows of the transaction, from 1.
	Position *binlog.Position
	Row      int
	// Transaction names the change's transaction, nil for a load.
	Transaction *binlog.TransactionID
}

// rowChange is a change as the outputs of a plan see it.
type rowChange struct {
	// Op, Before and After are the change as the server logged it.
	*binlog.Change
	Origin
	mode Mode
	// old is the row before the change, nil if the sink cannot hold it. new is the row after the
	// change, nil if the sink must not hold it. They are Before and After unless `where` rejects a
	// row.
	old, new *binlog.Row
	// accepted is Before if `where` accepts it, in every mode, nil otherwise. It is set only for
	// outputs that act once per change.
	accepted *binlog.Row
}

// visibleOp returns the change as seen through `where`: a row that begins to match is inserted, a
// row that ceases to match is deleted. ok is false if neither image matches.
func (ch *rowChange) visibleOp() (op binlog.Op, ok bool) {
	switch {
	case ch.new == nil && ch.accepted == nil:
		return op, false
	case ch.new == nil:
		return binlog.Delete, true
	case ch.accepted == nil:
		return binlog.Insert, true
	}
	return binlog.Update, true
}

// sameColumns reports whether columns have the same values in the old and the new row, neither of
// which is nil.
func (ch *rowChange) sameColumns(columns []int) bool {
	for _, i := range columns {
		if !ch.sameColumn(i) {
			return false
		}
	}
	return true
}

func (ch *rowChange) sameColumn(i int) bool {
	a, b := ch.old.Raw(i), ch.new.Raw(i)
	// NULL is nil, and as bytes an empty value equals nil.
	return bytes.Equal(a, b) && (a == nil) == (b == nil)
}
