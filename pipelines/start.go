package pipelines

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
)

// decideStart decides where the run starts: at the data's position, at the start of new data, or
// where --from points. stored is the progress of the data that state describes. decideStart writes
// nothing. What must be written becomes l.initialUnit, which is applied once the server has shown
// that it can serve the position.
func (l *loop) decideStart(ctx context.Context, state sink.State, stored progress) error {
	problems, err := l.server.CheckSettings(ctx)
	if err != nil {
		return ofServer(fmt.Errorf("check MySQL's settings: %w", err))
	}
	if len(problems) > 0 {
		for _, p := range problems[1:] {
			l.log.Error().Msg(p.String())
		}
		// Not a StopError: once the server is set up, the next retry succeeds.
		return ofServer(fmt.Errorf("%s", problems[0]))
	}
	l.warningsRead = time.Now()
	if l.serverWarnings, err = l.server.Warnings(ctx); err != nil {
		return ofServer(fmt.Errorf("check MySQL's settings: %w", err))
	}
	l.tables = newTableSet(&l.config.Mapping)
	from := l.from
	l.hasData = state.Phase != sink.Empty && !state.Foreign
	if err := l.checkSchemaDump(from, state.Phase == sink.Empty); err != nil {
		return err
	}
	switch {
	// Does a new replacement begin? It starts with an initial load, whatever source.mysql.start is.
	case l.replaces && state.Phase == sink.Empty:
		return l.startAt(ctx, fromSnapshot)
	// Does the sink hold keys, but no position of this pipeline?
	case state.Foreign:
		return stop("%s: the node holds keys, but no position of pipeline %s: "+
			"another program wrote them; "+
			"empty its directory, or replace all data with --from snapshot --replace",
			l.config.Path, l.config.Name)
	// Is the sink empty?
	case state.Phase == sink.Empty && from == "":
		return l.startAt(ctx, l.config.Source.Start)
	case state.Phase == sink.Empty:
		return l.startAt(ctx, from)
	// Shall every table be read again while the data serve?
	case from == fromSnapshot:
		return l.rebuildAll(ctx, state, stored)
	// Shall the position of existing data be moved?
	case from != "":
		return l.rewind(ctx, from, state, stored)
	}
	err = l.resume(state, stored)
	if err == nil {
		err = l.history.load(&state, &stored)
	}
	if err == nil {
		err = l.adoptServer(&stored)
	}
	if err != nil && l.replaces {
		return &staleReplacementError{err}
	}
	if err != nil {
		return err
	}
	// A promoted server may still have to catch up, so missing transactions are no StopError.
	return ofServer(l.checkExecuted(ctx))
}

// resume continues at the data's position.
func (l *loop) resume(state sink.State, stored progress) error {
	l.progress, l.history.server = stored, stored.Server
	if err := checkMapping(l.config, state.Pieces); err != nil {
		return err
	}
	if len(state.Pieces[tablestate.MeaningPiece]) == 0 { // an older version built the data
		if err := saveMapping(&l.unit, l.config.Name, &l.config.Mapping); err != nil {
			return err
		}
	}
	err := l.checkServer()
	if err != nil {
		return ofServer(err)
	}
	if err = l.tables.load(state.Pieces); err != nil {
		return err
	}
	if err = l.tables.checkConflicts(); err != nil {
		return err
	}
	l.countJobs(l.tables)
	if err = l.loadGaps(state.Pieces); err != nil {
		return err
	}
	if err = l.loadSkips(state.Pieces); err != nil {
		return err
	}
	l.skip = l.progress.Row
	if l.progress.Phase == sink.Replaying {
		l.head, err = tablestate.DecodePosition(state.Pieces[tablestate.HeadPiece])
		if err != nil {
			return stop("read the head to replay to: %w; start again with --from snapshot", err)
		}
	}
	return l.completeSince(&stored, &l.head)
}

// checkServer checks that the data's position is valid on this server. On another server than the
// one it was written for, only its GTIDs are: file and offset are dropped.
func (l *loop) checkServer() error {
	p, server := &l.progress, l.server.Identity()
	if err := l.server.CheckOrigin(p.Server); err != nil {
		return err
	}
	if p.Server == server.UUID {
		return nil
	}
	if mysql.IsUnknownServer(p.Server) && p.Position.GTID.IsZero() {
		// The data come from binlog files without GTIDs. The comparison of the last transaction, or
		// of the file's beginning, proves whether this is the server that has written them.
		p.Server = server.UUID
		return nil
	}
	if p.Position.GTID.IsZero() || !server.HasGTIDs {
		return stop("the data are at %s of server %s, but this is server %s "+
			"and without GTIDs the two binlogs cannot be compared; "+
			"connect to the old server, or build the data again with --from snapshot",
			p.Position, p.Server, server.UUID)
	}
	if p.Partial > 0 {
		return stop("the data end within a large transaction of server %s, after %s, "+
			"and this is server %s: whether it has that transaction is not known; "+
			"connect to the old server until the transaction is complete, "+
			"or build the data again with --from snapshot", p.Server, p.Position, server.UUID)
	}
	p.Server = server.UUID
	p.Position.File, p.Position.Offset = "", 0
	return nil
}

// adoptServer makes the source the server of data from binlog files without GTIDs. The stream
// compares the evidence with the source's binlog before it yields anything.
func (l *loop) adoptServer(stored *progress) error {
	if !mysql.IsUnknownServer(stored.Server) || !stored.Position.GTID.IsZero() {
		return nil
	}
	if l.history.last.IsZero() {
		return stop("the data are at %s of an unknown server, and contain no evidence of their "+
			"last transaction; build the data again with --from snapshot", stored.Position)
	}
	l.history.last.Server, l.history.server = l.progress.Server, l.progress.Server
	return nil
}

// ready is called once the stream works. It starts the initial load if tables must be loaded.
func (l *loop) ready(ctx context.Context) error {
	l.tablesChanged()
	l.stats.retrying.Store(nil)
	l.stats.streaming.Store(true)
	l.stats.prepared.Store(int64(len(l.tables.prepared.byXID)))
	l.stats.phase.Store(uint32(l.progress.Phase))
	unmapped := l.tables.unmappedTables()
	for _, name := range slices.Sorted(maps.Keys(unmapped)) {
		l.log.Warn().Str("table", name).Str("reason", unmapped[name]).Msg("table is not mapped")
	}
	if err := l.upgradeDefinitions(ctx); err != nil {
		return err
	}
	if err := l.quarantineKeyTypes(ctx); err != nil {
		return err
	}
	l.jobsChanged, l.repeatDue = true, true
	l.narrow = narrowTables{}
	for _, t := range l.tables.all {
		if t.isNarrow() {
			l.narrow.add(t)
		}
	}
	l.startJobs(ctx)
	l.log.Info().Stringer("position", l.progress.Position).
		Stringer("state", l.progress.Phase).Str("server", l.progress.Server).
		Int("tables", len(l.tables.all)).Msg("streaming")
	return nil
}

// startAt builds new data, beginning at a POSITION.
func (l *loop) startAt(ctx context.Context, start string) error {
	// The clock is read before the position: then the data hold everything that had committed at
	// this time.
	now, err := l.positions.Now(ctx)
	if err != nil {
		return err
	}
	load := start == fromSnapshot
	l.history.isFirstRun = true
	position, schemas, altered, err := l.bracketSchemas(ctx)
	if err != nil {
		return err
	}
	// A SELECT that was revoked meanwhile would hide tables, and they would never be mapped.
	if err := l.schemas.CheckGrants(ctx); err != nil {
		return err
	}
	if err := l.addTables(ctx, schemas, load); err != nil {
		return err
	}
	l.addAltered(altered, position)
	if len(l.tables.all) == 0 && !l.isOffline {
		if err := l.checkNames(ctx); err != nil {
			return err
		}
		// Not a StopError: a matching table may be created soon.
		return l.config.Fault("tables",
			"no table of the server matches the mapping; create one, or correct the patterns")
	}
	l.progress = progress{
		Position: position, Server: l.server.Identity().UUID, Time: now, Phase: sink.Streaming,
	}
	if load {
		l.progress.Phase = sink.Snapshot
	} else if start != "now" {
		l.progress.Time = 0 // when a position of the past was the newest is unknown
		if l.progress.Position, err = l.positions.ResolvePosition(ctx, start); err != nil {
			return err
		}
	}
	if err := l.requireExecuted(ctx); err != nil {
		return ofServer(err)
	}
	for _, t := range l.tables.all {
		t.since = &position
	}
	if err := l.applySchemaDump(&l.progress.Position); err != nil {
		return err
	}
	l.markTentative(&l.progress.Position)
	l.initialUnit = func(ctx context.Context) error {
		if err := saveMapping(&l.unit, l.config.Name, &l.config.Mapping); err != nil {
			return err
		}
		if err := l.tables.save(&l.unit, l.config.Name); err != nil {
			return err
		}
		l.tablesChanged() // the position hash lists what is not complete at the new position
		return l.flush(ctx)
	}
	return nil
}

// rewind moves the position of existing data, back or forward.
func (l *loop) rewind(
	ctx context.Context, from string, state sink.State, stored progress,
) error {
	if state.Phase == sink.Snapshot {
		return stop("--from %s: the initial load is not finished; let it finish, "+
			"or start again with --from snapshot", from)
	}
	if err := l.resume(state, stored); err != nil {
		return err
	}
	l.history.reason = "--from has moved the position"
	old, head := l.progress.Position, l.progress.Position
	if l.progress.Phase == sink.Replaying {
		head = l.head // the rows are as of the old head, wherever the replay is
	}
	var err error
	var schemas map[string]*binlog.Table
	if from == "now" {
		// The tables that are being altered now keep their definitions; the check of definitions
		// finds them.
		l.progress.Position, schemas, _, err = l.bracketSchemas(ctx)
	} else {
		l.progress.Position, err = l.positions.ResolvePosition(ctx, from)
	}
	if err != nil {
		return err
	}
	if err := l.requireExecuted(ctx); err != nil {
		return ofServer(err)
	}
	if err := l.reviseDefinitions(ctx, from, &old, schemas); err != nil {
		return err
	}
	l.initialUnit = func(ctx context.Context) error { return l.applyRewind(ctx, &old, &head) }
	return nil
}

// applyRewind writes the stream's position into the data. Up to head, rows are then written in
// full, because the sink may hold newer versions of them. If the move skips transactions, they are
// a gap, and no stored row is known to be current any more.
func (l *loop) applyRewind(ctx context.Context, old, head *binlog.Position) error {
	at := &l.progress.Position
	l.history.forget(l.config.Name, &l.unit)
	l.tables.prepared.endAll() // their XIDs may have other transactions at the new position
	isSure := areComparable(old, at)
	skips, repeats := !isSure || !includes(old, at), !isSure || !includes(at, old)
	if skips || repeats {
		l.progress.Partial, l.progress.Row, l.skip = 0, 0, 0
	}
	if skips {
		if err := l.makeGapByMove(old); err != nil {
			return err
		}
	}
	switch replay := !includes(at, head); {
	case replay:
		l.head = *head
		l.progress.Phase = sink.Replaying
		text, err := tablestate.EncodePosition(&l.head)
		if err != nil {
			return err
		}
		l.unit.SetState(l.config.Name, tablestate.HeadPiece, text)
	case l.progress.Phase == sink.Replaying:
		l.progress.Phase = sink.Streaming
		l.unit.DropState(l.config.Name, tablestate.HeadPiece)
	}
	l.log.Warn().Stringer("from", at).Stringer("was", old).Stringer("head", head).
		Msg("moving the position as requested")
	l.tablesChanged()
	return l.flush(ctx)
}
