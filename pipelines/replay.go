package pipelines

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/source"
	"rowfall/pipelines/tablestate"
)

// replay reads a stretch of the binlog again, over a second connection, and finds the keys of the
// rows that the stretch has changed, in old and new images. From the end of the stretch to the
// position that the pipeline had when the replay began, it reads only statements. A table that a
// statement names is read as a whole, because its present columns may not fit the logged rows.
type replay struct {
	source  source.KeySource
	dialect ddl.Options
	// tables are the mapped tables by database.table, as they are at the pipeline's position.
	tables map[string]*replayTable
	// cascades are the foreign keys whose cascades are not logged, see replay_cascades.go.
	cascades cascades
	// at is where the replay continues. to is the end of the stretch. Statements are read until
	// until.
	at, to, until binlog.Position
	// sent is at as of the last page. After an error the replay continues there.
	sent binlog.Position
	// isPast is set once at includes to, so that only statements are read.
	isPast bool

	// prepared are the XIDs of the XA transactions whose XA PREPARE is in the stretch: the stream
	// has sent their rows there.
	prepared map[string]bool

	found map[string][]jobs.Key // keys of the present page, by table
	seen  map[string]bool       // the same keys with their tables, to find duplicates
	whole map[string]string     // page.whole of the present page
}

// replayTable is a table of a replay.
type replayTable struct {
	schema  *binlog.Table
	columns []int // of its key
	// isWhole is set once the whole table must be read. From then on its rows are skipped.
	isWhole bool
}

// newReplay returns the replay that a search describes.
func (l *loop) newReplay(s *tablestate.Search) (*replay, error) {
	r := &replay{
		source: l.keys, dialect: l.schemas.Dialect(), tables: make(map[string]*replayTable),
		cascades: l.tables.cascadesOf(),
	}
	for _, p := range []struct {
		text []byte
		to   *binlog.Position
	}{{s.At, &r.at}, {s.To, &r.to}, {s.Until, &r.until}} {
		var err error
		if *p.to, err = tablestate.DecodePosition(p.text); err != nil {
			return nil, err
		}
	}
	if s.Server != l.server.Identity().UUID {
		if r.at.GTID.IsZero() || r.to.GTID.IsZero() || r.until.GTID.IsZero() {
			return nil, errors.New("the pipeline follows another server now, and without GTIDs " +
				"the two binlogs cannot be compared; cancel this job and start the replay again")
		}
		r.at.File, r.at.Offset = "", 0
	}
	r.sent = r.at
	for name, t := range l.tables.all {
		// A tentative definition may not fit the logged rows.
		if t.isFollowed() && !t.isTentative() {
			r.tables[name] = &replayTable{t.Schema, jobs.Order(t.Schema, t.Plan), false}
		}
	}
	return r, nil
}

// find implements finder: it reads the stretch, and then the statements after it.
func (r *replay) find(ctx context.Context, send func(page) error) error {
	// What was found after the last page is found again.
	r.at = r.sent
	for name := range r.whole {
		r.tables[name].isWhole = false
	}
	r.reset()
	r.isPast = includes(&r.at, &r.to)
	r.prepared = make(map[string]bool)
	stream, err := r.source.OpenReplay(ctx, source.ReplayStart{Position: r.at, Tables: r})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	for !includes(&r.at, &r.until) {
		ev, err := stream.Next(ctx)
		if err != nil {
			return fmt.Errorf("read the binlog again after %s: %w", r.at, err)
		}
		switch ev.Kind {
		case binlog.Changes:
			err = r.changes(ev, send)
		case binlog.Statement:
			r.statement(ev)
			if !ev.InTransaction {
				err = r.passed(stream, send)
			}
		case binlog.RowStatement:
			r.rowStatement(ev)
		case binlog.Commit, binlog.Progress:
			r.stepXA(ev.XA)
			err = r.passed(stream, send)
		}
		if err != nil {
			return err
		}
	}
	return r.send(send)
}

// passed is called between transactions. It advances the position where the replay continues, and
// sends a full page.
func (r *replay) passed(stream source.Stream, send func(page) error) error {
	if at := stream.Position(); at.CompareFile(r.at) > 0 {
		r.at = *at
	}
	if !r.isPast && includes(&r.at, &r.to) {
		r.isPast = true
		stream.Forget() // so that the stream calls Table again, which returns nil from now on
	}
	if len(r.seen) >= pageKeys || len(r.whole) > 0 {
		return r.send(send)
	}
	return nil
}

// stepXA handles a step of an XA transaction. Which rows an XA COMMIT makes visible is not known if
// its XA PREPARE is before the stretch, so all tables are read as a whole.
func (r *replay) stepXA(xa *binlog.XA) {
	switch {
	case xa == nil || r.isPast:
	case xa.Step == binlog.XAPrepare:
		r.prepared[xa.XID] = true
	case xa.Step == binlog.XACommit && !r.prepared[xa.XID]:
		for name := range r.tables {
			r.readWhole(name, "an XA transaction that was prepared before the stretch was "+
				"committed in it: "+xa.XID)
		}
	default:
		delete(r.prepared, xa.XID)
	}
}

// send sends the keys found as a page. After the page the replay continues at r.at.
func (r *replay) send(send func(page) error) error {
	p := page{whole: r.whole}
	for name, keys := range r.found {
		p.found = append(p.found, foundKeys{name, r.tables[name].schema, keys})
	}
	at := r.at
	p.advance = func(s *tablestate.Search) (err error) {
		s.At, err = tablestate.EncodePosition(&at)
		return err
	}
	if err := send(p); err != nil {
		return err
	}
	r.sent = at
	r.reset()
	return nil
}

// reset begins a new page.
func (r *replay) reset() {
	r.found, r.seen = make(map[string][]jobs.Key), make(map[string]bool)
	r.whole = make(map[string]string)
}

// changes finds the keys of the rows of one rows event.
func (r *replay) changes(ev *binlog.Event, send func(page) error) error {
	if r.isPast {
		return nil
	}
	schema := ev.Rows.Table()
	name := schema.FullName()
	t := r.tables[name]
	if t == nil || t.schema != schema {
		return nil
	}
	parent := r.cascades.watch(ddl.NameOf(schema), ev.ForeignKeysOff)
	for ev.Rows.Next() && (!t.isWhole || parent != nil) {
		c := ev.Rows.Change()
		if parent != nil {
			r.cascades.changed(parent, c)
			r.readChildren()
		}
		for _, row := range [...]*binlog.Row{c.Before, c.After} {
			if row == nil || t.isWhole {
				continue
			}
			if err := r.add(name, t, row); err != nil {
				// The columns of the logged row may differ from the present ones.
				r.readWhole(name, err.Error())
			}
		}
		if len(r.seen) >= 4*pageKeys { // in the middle of a large transaction
			if err := r.send(send); err != nil {
				return err
			}
		}
	}
	if err := ev.Rows.Err(); err != nil {
		r.readWhole(name, err.Error())
		r.RowsSkipped(schema.Database, schema.Name, ev.Rows.Op(), ev.ForeignKeysOff)
	}
	return nil
}

// add adds the key of a row to the page, unless the page has it.
func (r *replay) add(name string, t *replayTable, row *binlog.Row) error {
	key := make(jobs.Key, len(t.columns))
	id := name
	for i, k := range t.columns {
		text, err := row.AppendText(nil, k)
		if err != nil {
			return err
		}
		key[i] = text
		id += fmt.Sprintf("\x00%d:%s", len(text), text)
	}
	if !r.seen[id] {
		r.seen[id] = true
		r.found[name] = append(r.found[name], key)
	}
	return nil
}

// readWhole adds a table to the tables of the page that must be read as a whole.
func (r *replay) readWhole(name, reason string) {
	if t := r.tables[name]; t != nil && !t.isWhole {
		t.isWhole = true
		r.whole[name] = reason
		delete(r.found, name)
	}
}

// statement looks for the tables whose columns or rows a statement may have changed.
func (r *replay) statement(ev *binlog.Event) {
	o := r.dialect
	o.SQLMode, o.Database = ddl.SQLMode(ev.Session.SQLMode), ev.Database
	s := ddl.Parse(ev.SQL, o)
	if s.Temporary || s.Action == ddl.Other {
		return
	}
	reason := "a statement in the binlog may have changed it: " + shorten(ev.SQL)
	all := s.Mentions(func(n ddl.TableName) bool {
		r.readWhole(n.String(), reason)
		return false
	})
	for name, t := range r.tables {
		isLost := ev.Session.IsTextInexact &&
			strings.ContainsFunc(name, func(c rune) bool { return c >= utf8.RuneSelf })
		isDropped := s.Action == ddl.DropDatabase &&
			strings.EqualFold(t.schema.Database, s.Database)
		if all || isLost || isDropped {
			r.readWhole(name, reason)
		}
	}
}

// rowStatement handles a statement that was logged as text instead of rows. Any table may have
// changed because of it, by a trigger for example.
func (r *replay) rowStatement(ev *binlog.Event) {
	for name := range r.tables {
		r.readWhole(name, "a statement that was logged as its text may have changed it: "+
			shorten(ev.SQL))
	}
}

// Table implements events.Tables.
func (r *replay) Table(database, name string) (*binlog.Table, error) {
	t := r.tables[database+"."+name]
	if t == nil || t.isWhole || r.isPast || t.schema.Database != database {
		return nil, nil
	}
	return t.schema, nil
}

// Mismatch implements events.Tables: a table with other columns in the stretch is read as a whole.
func (r *replay) Mismatch(t *binlog.Table, reason error) error {
	r.readWhole(t.FullName(), reason.Error())
	return nil
}

// Replay makes the running pipeline read again the rows that a stretch of the binlog has changed.
// The stretch goes from one POSITION to another; an empty to is the pipeline's present position.
// Replay returns the number of the search.
func (p *Pipeline) Replay(ctx context.Context, from, to string) (int, error) {
	r, err := p.resolveReplay(ctx, from, to)
	if err != nil {
		return 0, err
	}
	var id int
	err = p.submit(ctx, func(_ context.Context, l *loop) error {
		n, err := l.addReplay(r.search, &r.from, &r.to, *l.stream.Position())
		id = n
		return err
	})
	if err != nil {
		return 0, err
	}
	return id, nil
}

// replayRequest is a request for a replay, with its positions as the server resolves them.
type replayRequest struct {
	search   *tablestate.Search
	from, to binlog.Position // a zero to is the pipeline's position
}

// resolveReplay asks the source for the positions of a request.
func (p *Pipeline) resolveReplay(
	ctx context.Context, from, to string,
) (r replayRequest, err error) {
	ctx, cancel := context.WithTimeout(ctx, searchTimeout)
	defer cancel()
	src, err := p.openMySQL(ctx, p.serverAddresses())
	if err != nil {
		return r, err
	}
	defer src.Close()
	if r.from, err = src.ResolvePosition(ctx, from); err != nil {
		return r, err
	}
	r.search = &tablestate.Search{
		Server: src.Identity().UUID, Reason: "replay from " + from,
	}
	if to == "" {
		return r, nil
	}
	r.search.Reason += " to " + to
	r.to, err = src.ResolvePosition(ctx, to)
	return r, err
}

// addReplay adds a search for the rows of a stretch. until is the pipeline's position. A zero end
// is the pipeline's position, too.
func (l *loop) addReplay(
	s *tablestate.Search, from, to *binlog.Position, until binlog.Position,
) (int, error) {
	switch {
	case to.IsZero():
		*to = until
	case !includes(&until, to):
		return 0, fmt.Errorf("the pipeline is at %s and has not reached %s; "+
			"give --to a position that the pipeline has passed", &until, to)
	}
	if includes(from, to) {
		return 0, fmt.Errorf("%s is not after %s; give --from a position before --to", to, from)
	}
	for _, p := range []struct {
		at *binlog.Position
		to *[]byte
	}{
		{from, (*[]byte)(&s.From)},
		{from, (*[]byte)(&s.At)},
		{to, (*[]byte)(&s.To)},
		{&until, (*[]byte)(&s.Until)},
	} {
		text, err := tablestate.EncodePosition(p.at)
		if err != nil {
			return 0, err
		}
		*p.to = text
	}
	return l.addSearch(s)
}
