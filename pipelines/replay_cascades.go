package pipelines

import (
	"rowfall/binlog"
	"rowfall/binlog/ddl"
)

// This file finds the rows of a replay's stretch that foreign keys changed without row events. Such
// rows cannot be found by their keys, so the tables that depend on a changed parent are read as a
// whole.
//
// The foreign keys are those at the pipeline's position. One that was dropped since is found by its
// ALTER TABLE, which makes the replay read the table as a whole.

// cascadesOf returns what a replay needs of the pipeline's foreign keys. The replay runs in a
// goroutine of its own, so it shares only what the loop does not change: the parents. The schemas
// of parents that are not mapped are not valid for the stretch, so every UPDATE of such a parent
// counts.
func (s *tableSet) cascadesOf() cascades { return cascades{parents: s.cascades.parents} }

// RowsSkipped implements events.Tables. Rows of tables that the replay does not read are ignored,
// unless foreign keys refer to them.
func (r *replay) RowsSkipped(database, name string, op binlog.Op, foreignKeysOff bool) {
	p := r.cascades.watch(ddl.TableName{Database: database, Table: name}, foreignKeysOff)
	if p == nil || r.isPast {
		return
	}
	r.cascades.skipped(p, op)
	r.readChildren()
}

// readChildren adds the tables that depend on changed parents to the tables of the page that must
// be read as a whole.
func (r *replay) readChildren() {
	for name, reason := range r.cascades.due {
		r.readWhole(name, reason)
	}
	clear(r.cascades.due)
}
