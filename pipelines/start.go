package pipelines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/sink"
)

// begin decides where the run starts: where the data says, or at a beginning
// when there is no data, or where the user said. It writes nothing: what must be
// written is l.initialUnit, due once the server has shown that it serves the place.
func (l *loop) decideStart(ctx context.Context, state sink.State) error {
	problems, err := query.Check(ctx, l.conn, wantedPatterns(&l.config.Mapping)...)
	if err != nil {
		return fmt.Errorf("check MySQL's settings: %w", err)
	}
	if len(problems) > 0 {
		for _, p := range problems[1:] {
			l.log.Error().Msg(p.String())
		}
		// Whoever mends it on the server need not start us again.
		return fmt.Errorf("%s", problems[0])
	}
	l.tables = newTableSet(&l.config.Mapping)
	from := l.pipeline.from
	switch {
	case from == "snapshot":
		return l.startAt(ctx, from, true)
	case state.Foreign:
		return stop("%s: the node holds keys, but none of them says where pipeline %s stands, so they are not this pipeline's to change; "+
			"empty its directory, or replace all of it with --from snapshot", l.config.Path, l.config.Name)
	case state.Phase == sink.Empty && from == "":
		return l.startAt(ctx, l.config.Source.Start, false)
	case state.Phase == sink.Empty:
		return l.startAt(ctx, from, false)
	case from != "":
		return l.rewind(ctx, from, state)
	}
	if err := l.resume(state); err != nil {
		return err
	}
	if err := l.loadEvidence(state.Pieces); err != nil {
		return err
	}
	return l.checkExecuted(ctx) // a server that was promoted may still catch up: no StopError
}

// resume goes on where the data stands.
func (l *loop) resume(state sink.State) error {
	l.progress, l.history.server = state.Progress, state.Server
	err := checkMapping(l.config, state.Pieces)
	if err != nil {
		return err
	}
	if len(state.Pieces[meaningState]) == 0 { // an older version built the data
		if err := saveMapping(&l.unit, l.config.Name, &l.config.Mapping); err != nil {
			return err
		}
	}
	if err := l.checkServer(); err != nil {
		return err
	}
	if err = l.tables.load(state.Pieces); err != nil {
		return err
	}
	if err = l.tables.conflicts(); err != nil {
		return err
	}
	l.skip = l.progress.Row
	if l.progress.Phase == sink.Replaying {
		if l.head, err = decodePosition(state.Pieces[headState]); err != nil {
			return stop("read the head to replay to: %w; start again with --from snapshot", err)
		}
	}
	return nil
}

// sameHistory checks that the data's position means something on this server.
// File and offset are the old server's own.
func (l *loop) checkServer() error {
	p, server := &l.progress, l.conn.Server()
	if err := l.checkFlavor(); err != nil {
		return err
	}
	if p.Server == server.UUID {
		return nil
	}
	if p.Position.GTID.IsZero() || !server.GTIDMode {
		return stop("the data stands at %s of server %s, but this is server %s and without GTIDs the two binlogs cannot be compared; "+
			"connect to the old server, or build the data again with --from snapshot", p.Position, p.Server, server.UUID)
	}
	if p.Partial > 0 {
		return stop("the data stands within a large transaction of server %s, after %s, and this is server %s: whether it has that transaction is not known; "+
			"connect to the old server until the transaction is whole, or build the data again with --from snapshot", p.Server, p.Position, server.UUID)
	}
	p.Server = server.UUID
	p.Position.File, p.Position.Offset = "", 0
	return nil
}

// ready starts the first load where one is wanted.
func (l *loop) ready(ctx context.Context) {
	p := l.pipeline
	p.stats.recordTables(l.tables)
	p.stats.retrying.Store(nil)
	p.stats.streaming.Store(true)
	p.stats.phase.Store(uint32(l.progress.Phase))
	leftOut := l.tables.unmappedTables()
	for _, name := range slices.Sorted(maps.Keys(leftOut)) {
		l.log.Warn().Str("table", name).Str("reason", leftOut[name]).Msg("table is not mapped")
	}
	if l.progress.Phase == sink.Snapshot {
		l.reconciler = newReconciler(l)
		l.reconciler.estimate(ctx, l)
	}
	l.sink.SetComplete(l.progress.Phase != sink.Snapshot)
	l.log.Info().Stringer("position", l.progress.Position).Stringer("state", l.progress.Phase).
		Str("server", l.progress.Server).Int("tables", len(l.tables.all)).Msg("streaming")
}

// startAt builds the data from nothing, beginning at a POSITION; replace first
// removes all that the sink holds.
func (l *loop) startAt(ctx context.Context, start string, replace bool) error {
	// Before the position is read: the data hold all that committed up to then.
	now, err := query.Now(ctx, l.conn)
	if err != nil {
		return err
	}
	position, schemas, err := l.bracketSchemas(ctx)
	if err != nil {
		return err
	}
	// A SELECT that was revoked meanwhile hides tables, which would be left out for good.
	if err := l.checkGrants(ctx); err != nil {
		return err
	}
	load := start == "snapshot"
	var faults []error
	l.history.first = true
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		t, err := l.tables.add(schemas[name])
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if t == nil {
			continue
		}
		if load {
			if err := l.checkLoadable(t); err != nil {
				return err
			}
		}
		t.backfill.Skipped = !load
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	if err := l.tables.conflicts(); err != nil {
		return err
	}
	if len(l.tables.all) == 0 {
		if err := l.checkNames(ctx); err != nil {
			return err
		}
		// It may be created in a minute.
		return l.config.Fault("tables",
			"no table of the server matches the mapping; create one, or correct the patterns")
	}
	l.progress = sink.Progress{Position: position, Server: l.conn.Server().UUID, Time: now, Phase: sink.Streaming}
	if load {
		l.progress.Phase = sink.Snapshot
	} else if start != "now" {
		l.progress.Time = 0 // nobody knows when that position was the newest
		if l.progress.Position, err = l.parseStart(ctx, start); err != nil {
			return err
		}
	}
	if err := l.requireExecuted(ctx); err != nil {
		return err
	}
	l.initialUnit = func(ctx context.Context) error {
		l.unit.Flush = replace
		if err := saveMapping(&l.unit, l.config.Name, &l.config.Mapping); err != nil {
			return err
		}
		if err := l.tables.save(&l.unit, l.config.Name); err != nil {
			return err
		}
		if load {
			l.sink.SetComplete(false)
		}
		return l.flush(ctx)
	}
	return nil
}

// loadable checks that the first load can read a table in the order of its key. A
// table that only a wildcard maps is left out if not, as one without a key is.
func (l *loop) checkLoadable(t *mappedTable) error {
	fault := query.CheckKey(t.schema, t.order())
	if fault == nil {
		return nil
	}
	rule, err := l.config.Mapping.Rule(t.schema.Database, t.schema.Name)
	if err != nil {
		return &StopError{err}
	}
	if rule != nil && rule.Wildcard {
		l.tables.unmap(t, fault.Error())
		return nil
	}
	return &StopError{l.config.Fault(l.entryPath(t.schema), "%v", fault)}
}

// bracketSchemas reads the schemas and a position at which they held: the same
// before and after the position was read.
func (l *loop) bracketSchemas(ctx context.Context) (binlog.Position, map[string]*binlog.Table, error) {
	before, err := l.readSchemas(ctx)
	if err != nil {
		return binlog.Position{}, nil, err
	}
	const tries = 10
	for range tries {
		position, err := query.End(ctx, l.conn)
		if err != nil {
			return binlog.Position{}, nil, fmt.Errorf("read the binlog's end: %w", err)
		}
		// With GTIDs the stream begins at what has been executed. Without, it
		// begins at what has been logged, which may be a moment ahead.
		if server := l.conn.Server(); server.Flavor == mysql.MariaDB || !server.GTIDMode {
			for _, t := range before {
				if t.NotFollowed != "" {
					continue
				}
				if err := l.awaitMetadataLock(ctx, tableName{t.Database, t.Name}); err != nil {
					return binlog.Position{}, nil, err
				}
			}
		}
		after, err := l.readSchemas(ctx)
		if err != nil {
			return binlog.Position{}, nil, err
		}
		if sameSchemas(before, after) {
			return position, after, nil
		}
		before = after
	}
	return binlog.Position{}, nil, fmt.Errorf("read schemas: they changed %d times while they were read; try again when the migration is over", tries)
}

// rewind goes back (or forth) to a position on live data.
func (l *loop) rewind(ctx context.Context, from string, state sink.State) error {
	if state.Phase == sink.Snapshot {
		return stop("--from %s: the first load is not finished; let it finish, or start again with --from snapshot", from)
	}
	if err := l.resume(state); err != nil {
		return err
	}
	l.history.reason = "--from has moved the position"
	old, head := l.progress.Position, l.progress.Position
	if l.progress.Phase == sink.Replaying {
		head = l.head // the rows are as of there, wherever the replay is
	}
	var err error
	if from == "now" {
		l.progress.Position, err = query.End(ctx, l.conn)
	} else {
		l.progress.Position, err = l.parseStart(ctx, from)
	}
	if err != nil {
		return err
	}
	if err := l.requireExecuted(ctx); err != nil {
		return err
	}
	l.initialUnit = func(ctx context.Context) error { return l.applyRewind(ctx, &old, &head) }
	return nil
}

// move makes the stream's position the data's. Rows up to head are written whole,
// as they may be later ones already; where something is passed over, no row can
// be taken for granted ever again.
func (l *loop) applyRewind(ctx context.Context, old, head *binlog.Position) error {
	at := &l.progress.Position
	l.forgetEvidence()
	passes, repeats := !includes(old, at), !includes(at, old)
	if passes || repeats {
		l.progress.Partial, l.progress.Row, l.skip = 0, 0, 0
	}
	if passes {
		for _, name := range l.tables.names() {
			t := l.tables.all[name]
			t.backfill = backfillProgress{Skipped: true}
			if err := t.saveProgress(&l.unit, l.config.Name); err != nil {
				return err
			}
		}
	}
	switch replay := !includes(at, head); {
	case replay:
		l.head = head.Clone()
		l.progress.Phase = sink.Replaying
		text, err := encodePosition(&l.head)
		if err != nil {
			return err
		}
		l.unit.SetState(l.config.Name, headState, text)
	case l.progress.Phase == sink.Replaying:
		l.progress.Phase = sink.Streaming
		l.unit.DropState(l.config.Name, headState)
	}
	l.log.Warn().Stringer("from", at).Stringer("was", old).Stringer("head", head).Msg("moving the position as asked")
	return l.flush(ctx)
}

// parseStart reads a POSITION that is a place. A MariaDB is followed by file and
// offset, but does not say which GTIDs lie before them unless it is asked.
func (l *loop) parseStart(ctx context.Context, text string) (binlog.Position, error) {
	p, err := binlog.ParsePosition(text)
	if err != nil {
		return p, stop("position %q: %w; want snapshot, now, gtid:SET or FILE:OFFSET", text, err)
	}
	isMariaDB := l.conn.Server().Flavor == mysql.MariaDB
	if isMariaDB && p.GTID.IsMySQL() || !isMariaDB && p.GTID.IsMariaDB() {
		return p, stop("position %q: the server at %s is a %s, which has GTIDs of another form", text, l.conn.Addr(), l.conn.Server().Flavor)
	}
	if p.File == "" || !isMariaDB {
		return p, nil
	}
	set, found, err := query.GTIDsAt(ctx, l.conn, p)
	if err != nil {
		return p, err
	}
	if !found {
		return p, stop("position %q: the server has no such place in its binlog; SHOW BINARY LOGS lists its files", text)
	}
	p.GTID = set
	return p, nil
}

// storedPosition is a position as a piece of state.
type storedPosition struct {
	GTID   string `json:"gtid,omitempty"`
	File   string `json:"file,omitempty"`
	Offset uint64 `json:"offset,omitempty"`
}

func encodePosition(p *binlog.Position) ([]byte, error) {
	text, err := json.Marshal(storedPosition{p.GTID.String(), p.File, p.Offset})
	if err != nil {
		return nil, fmt.Errorf("write position: %w", err)
	}
	return text, nil
}

func decodePosition(text []byte) (binlog.Position, error) {
	var s storedPosition
	if err := json.Unmarshal(text, &s); err != nil {
		return binlog.Position{}, fmt.Errorf("parse position: %w", err)
	}
	set, err := binlog.ParseGTIDSet(s.GTID)
	if err != nil {
		return binlog.Position{}, err
	}
	return binlog.Position{GTID: set, File: s.File, Offset: s.Offset}, nil
}
