package pipelines

import (
	"context"
	"errors"

	"rowfall/pipelines/tablestate"
	"rowfall/sink"
)

// countJobs sets the number of the last job from the jobs of tables.
func (l *loop) countJobs(s *tableSet) {
	for _, t := range s.all {
		l.lastJob = max(l.lastJob, t.Job.ID)
		if t.Keys != nil {
			l.lastJob = max(l.lastJob, t.Keys.ID)
		}
	}
	for _, o := range s.searches {
		l.lastJob = max(l.lastJob, o.ID)
	}
}

// rebuildAll starts at the source's present position and reads every table again. The data serve
// meanwhile: a job writes what differs, and removes what no row writes.
func (l *loop) rebuildAll(ctx context.Context, state sink.State, stored progress) error {
	if err := checkMapping(l.config, state.Pieces); err != nil {
		return err
	}
	old := newTableSet(&l.config.Mapping)
	if err := old.load(state.Pieces); err != nil {
		return err
	}
	for full, at := range old.dropped {
		l.tables.dropped[full] = at
	}
	for full, h := range old.columns {
		l.tables.columns[full] = h
	}
	if err := l.startAt(ctx, fromSnapshot); err != nil {
		return err
	}
	l.countJobs(old)
	l.tables.letters.last = old.letters.last
	l.tables.prepared.last = old.prepared.last
	// The jobs close the gaps. The skip requests are removed below: the new position is past the
	// transactions.
	if err := l.loadGaps(state.Pieces); err != nil {
		return err
	}
	if err := l.keepUnmapped(old); err != nil {
		return err
	}
	l.recordGone(old)
	for _, name := range l.tables.names() {
		l.rebuildTable(l.tables.all[name], old, &stored)
	}
	// An initial load that is not finished begins again.
	if state.Phase != sink.Snapshot {
		l.progress.Phase = sink.Rebuilding
	}
	var held history
	if err := held.load(&state, &stored); err != nil {
		l.log.Warn().Err(err).Msg("the evidence of the source's history is not kept")
	}
	start, initial := l.progress, l.initialUnit
	l.initialUnit = func(ctx context.Context) error {
		// Until the keys of tables that are gone are removed, the data keep their position, and
		// the evidence of it: a start after a crash compares the source's history.
		start.Position = l.progress.Position
		l.progress = stored
		l.history.last, l.history.partial = held.last, held.partial
		l.tablesChanged()
		if err := l.removeGone(ctx, old); err != nil {
			return err
		}
		l.progress = start
		l.history.forget(l.config.Name, &l.unit)
		l.unit.DropState(l.config.Name, tablestate.SkipsPiece)
		l.unit.DropState(l.config.Name, tablestate.HeadPiece)
		if err := l.removeOldState(old, &stored); err != nil {
			return err
		}
		return initial(ctx)
	}
	return nil
}

// rebuildTable gives a table a job that reads all its rows. old and stored are the tables and the
// position of the data.
func (l *loop) rebuildTable(t *mappedTable, old *tableSet, stored *progress) {
	o := old.all[t.FullName()]
	needsSchema := t.Job.NeedsSchema
	if o != nil {
		if needsSchema { // the last known definition determines which keys the table has
			l.tables.define(t, o.definition, o.Schema, o.Plan)
		}
		// The sweep of the job finds only keys that the present plan can write.
		old.keepFormer(o, t.Plan)
		t.former = o.former
		for _, letter := range o.Letters.All() { // the job below looks at their rows
			l.tables.letters.set(t, letter.Key, letter)
		}
		if o.Keys != nil { // the job below replaces the keys job
			t.RestoreKeys(o.Keys)
			t.CancelKeys()
		}
	}
	t.Job = l.reconcileJob("--from snapshot")
	t.Job.NeedsSchema = needsSchema
	t.Job.MissedFrom = stored.Position.String()
	if o != nil && o.Fault != nil {
		t.Job.MissedFrom = o.Fault.Position
	}
	if o != nil && !o.Job.Done && o.Job.MissedFrom != "" {
		t.Job.MissedFrom = o.Job.MissedFrom
	}
}

// removeOldState removes from the data the state that a rebuild does not need, and records the gap
// between the position of the data and the new one.
func (l *loop) removeOldState(old *tableSet, stored *progress) error {
	old.dropSearches(&l.unit, l.config.Name) // every row is read
	for _, name := range old.names() {
		if l.tables.all[name] == nil {
			old.letters.forget(old.all[name])
			old.all[name].drop(&l.unit, l.config.Name)
		}
	}
	if err := l.makeGapByRebuild(stored.Position.String(), old); err != nil {
		return err
	}
	old.letters.save(&l.unit, l.config.Name)
	old.prepared.endAll()
	if err := old.prepared.save(&l.unit, l.config.Name); err != nil {
		return err
	}
	for name := range old.unmapped {
		l.unit.DropState(l.config.Name, tablestate.UnmappedPrefix+name)
		l.unit.DropState(l.config.Name, tablestate.DefinitionPrefix+name)
	}
	return nil
}

// recordGone records the tables that the data have and the source has not, for entries that name
// them.
func (l *loop) recordGone(old *tableSet) {
	for _, name := range old.names() {
		if l.tables.all[name] != nil {
			continue
		}
		delete(l.tables.columns, name)
		t := old.all[name]
		rule, err := l.config.Mapping.Rule(t.Database, t.Name)
		if err == nil && rule != nil && !rule.Wildcard {
			l.tables.dropped[name] = l.progress.Position.String()
		}
	}
}

// keepUnmapped puts tables into quarantine that have keys in the data and that the mapping does not
// fit any more, for example because a table has lost its key. They would be left out otherwise, and
// their keys removed, although the server has their rows.
func (l *loop) keepUnmapped(old *tableSet) error {
	for _, name := range old.names() {
		o, reason := old.all[name], l.tables.unmapped[name]
		if l.tables.all[name] != nil || reason == "" || o.Plan == nil && len(o.former) == 0 {
			continue
		}
		d := l.tables.definitions[name]
		t := l.tables.put(o.name())
		if d != nil {
			l.tables.define(t, d, d.Table(), nil)
		}
		if err := l.quarantine(t, errors.New(reason)); err != nil {
			return err
		}
	}
	return nil
}

// removeGone removes the keys of tables that the data have and the source has not, as `on_drop`
// says.
func (l *loop) removeGone(ctx context.Context, old *tableSet) error {
	for _, name := range old.names() {
		t := old.all[name]
		if l.tables.all[name] != nil {
			continue
		}
		rule, err := l.ruleOf(t)
		if err != nil {
			return err
		}
		err = l.removeRows(ctx, t, rule.OnDrop, reasonUnloggedDrop, "on_drop", l.tables.plans())
		if err != nil {
			return err
		}
	}
	return nil
}
