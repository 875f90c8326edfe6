package pipelines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/mysqlsource"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
)

// A search finds the keys of rows that the user wants to read again: the rows that match a
// condition, or the rows that a stretch of the binlog has changed. It runs in a goroutine and sends
// the keys to the loop in pages, which the loop passes to jobs.Engine.AddKeys. The state holds the
// search and where it continues after the last page, so that a restart resumes it.

const (
	// pageKeys is the number of keys of a page.
	pageKeys = 1000
	// keysAhead limits the keys that wait to be read: with that many, no page is taken.
	keysAhead = 20_000
)

// page is a part of what a search finds.
type page struct {
	found []foundKeys
	// whole holds the tables that must be read as a whole, with the reasons.
	whole map[string]string
	// advance updates where the stored search continues after the page; nil changes nothing.
	advance func(s *tablestate.Search) error
	// done is set on the last page. failed is why the search cannot continue.
	done   bool
	failed error
}

// foundKeys are keys of one table, whose definition was schema when they were found.
type foundKeys struct {
	table  string
	schema *binlog.Table
	keys   []jobs.Key
}

// searchRun is the running search. The loop owns and closes it.
type searchRun struct {
	id     int
	pages  chan page
	cancel context.CancelFunc
	ended  chan struct{}
}

// finder implements a search. find calls send for each page, and returns an error of send.
type finder interface {
	find(ctx context.Context, send func(page) error) error
}

// close stops the search's goroutine and waits for its end. r may be nil.
func (r *searchRun) close() {
	if r != nil {
		r.cancel()
		<-r.ended
	}
}

// startSearchRun runs a finder in a goroutine, which retries after errors that may pass.
func (l *loop) startSearchRun(ctx context.Context, id int, f finder) {
	ctx, cancel := context.WithCancel(ctx)
	r := &searchRun{id: id, pages: make(chan page, 1), cancel: cancel, ended: make(chan struct{})}
	l.search = r
	log, wake := l.log.With().Int("job", id).Logger(), l.stream.Wake
	send := func(p page) error {
		select {
		case r.pages <- p:
			wake()
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	go func() {
		defer close(r.ended)
		for pause := backoffMin; ; pause = min(2*pause, backoffMax) {
			err := f.find(ctx, send)
			switch {
			case ctx.Err() != nil:
				return
			case err == nil:
				_ = send(page{done: true})
				return
			case isFinalOfSearch(err):
				_ = send(page{failed: err})
				return
			}
			log.Warn().Err(err).Dur("retry_in", pause).
				Msg("a search for rows failed; it will retry")
			waitForRetry(ctx, nil, nil, pause)
		}
	}()
}

// Codes of errors after which a statement may succeed when it is run again.
const (
	codeShutdown    = 1053
	codeInterrupted = 1317
	codeTimeout     = 3024
)

// isFinalOfSearch reports whether a failed search would fail again. Most errors that the server
// sends are final: for example, the condition is invalid, or the binlog was purged.
func isFinalOfSearch(err error) bool {
	for _, code := range []uint16{
		codeShutdown, codeInterrupted, codeTimeout, mysql.CodeLockTimeout,
	} {
		if mysql.IsCode(err, code) {
			return false
		}
	}
	return errors.As(err, new(*mysql.ServerError)) || errors.As(err, new(*StopError)) ||
		errors.As(err, new(*binlog.RefusedError)) || errors.As(err, new(*binlog.HistoryError))
}

// stepSearches starts searches and takes their pages.
func (l *loop) stepSearches(ctx context.Context) error {
	if len(l.tables.searches) == 0 {
		return nil
	}
	if l.search == nil {
		if err := l.startNextSearch(ctx); err != nil {
			return err
		}
	}
	for l.search != nil && len(l.search.pages) > 0 && l.waitingKeys() < keysAhead {
		if err := l.takePage(ctx, <-l.search.pages); err != nil {
			return err
		}
	}
	return l.Flush(ctx)
}

// endSearches removes the searches whose keys were all read.
func (l *loop) endSearches(ctx context.Context) error {
	for _, s := range slices.Clone(l.tables.searches) {
		if s.Found && l.areRead(s) {
			l.log.Info().Int("job", s.ID).Int64("keys", s.Keys).
				Msg("all rows that a search found were read")
			l.dropSearch(s)
			if err := l.Flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// startNextSearch starts the first search that has neither ended nor failed.
func (l *loop) startNextSearch(ctx context.Context) error {
	for _, s := range slices.Clone(l.tables.searches) {
		if s.Found || s.Failed != "" {
			continue
		}
		if s.Table != "" && s.Where == "" {
			// StoreBackfill stored this request to read the whole table while no process ran.
			l.dropSearch(s)
			if t := l.tables.all[s.Table]; t != nil {
				if err := l.backfill(t.name()); err != nil {
					return err
				}
				l.jobsChanged = true
			}
			continue
		}
		f, err := l.finder(s)
		if err != nil {
			if err := l.failSearch(s, err); err != nil {
				return err
			}
			continue
		}
		l.log.Info().Int("job", s.ID).Str("reason", s.Reason).
			Msg("searching for rows to read again")
		l.startSearchRun(ctx, s.ID, f)
		return nil
	}
	return nil
}

// finder returns the finder of a stored search, which continues where the search was stored.
func (l *loop) finder(s *tablestate.Search) (finder, error) {
	if s.Table == "" {
		return l.newReplay(s)
	}
	t := l.tables.all[s.Table]
	switch {
	case t == nil:
		return nil, fmt.Errorf("table %q is not mapped", s.Table)
	case !t.isFollowed():
		return nil, fmt.Errorf("table %s is in quarantine or its columns are being read; "+
			"read the whole table with rowfall backfill", s.Table)
	}
	return &conditionSearch{
		source: l.keys, table: s.Table, schema: t.Schema, key: jobs.Order(t.Schema, t.Plan),
		condition: s.Where, after: s.After,
	}, nil
}

// waitingKeys returns how many keys wait to be read.
func (l *loop) waitingKeys() (n int64) {
	for _, t := range l.tables.all {
		if t.Keys != nil {
			n += t.Keys.Count
		}
	}
	return n
}

// takePage passes the keys of a page to the engine, and stores where the search continues, in the
// same unit.
func (l *loop) takePage(ctx context.Context, p page) error {
	s := l.tables.searchOf(l.search.id)
	if p.failed != nil {
		l.endSearchRun()
		return l.failSearch(s, p.failed)
	}
	for _, f := range p.found {
		s.Keys += int64(len(f.keys))
		t := l.tables.all[f.table]
		switch {
		case t == nil: // it was dropped
		case t.Schema != f.schema && t.isFollowed():
			if err := l.Reconcile(&t.Table, s.Reason+": it was altered meanwhile"); err != nil {
				return err
			}
		default:
			if err := l.jobs.AddKeys(&t.Table, s.Reason, f.keys); err != nil {
				return err
			}
		}
		if t != nil && t.Keys != nil {
			if s.Blocks == nil {
				s.Blocks = make(map[string]int)
			}
			s.Blocks[f.table] = t.Keys.Next
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.whole)) {
		if t := l.tables.all[name]; t != nil && t.isFollowed() {
			if err := l.Reconcile(&t.Table, s.Reason+": "+p.whole[name]); err != nil {
				return err
			}
		}
	}
	if p.advance != nil {
		if err := p.advance(s); err != nil {
			return err
		}
	}
	if p.done {
		s.Found = true
		l.endSearchRun()
		l.log.Info().Int("job", s.ID).Int64("keys", s.Keys).Msg("the search for rows has ended")
	}
	l.recordJobs()
	return l.saveSearch(s)
}

// areRead reports whether all keys that a search has found were read.
func (l *loop) areRead(s *tablestate.Search) bool {
	for name, next := range s.Blocks {
		if t := l.tables.all[name]; t != nil && t.Keys != nil && t.Keys.First < next {
			return false
		}
	}
	return true
}

// endSearchRun stops the running search.
func (l *loop) endSearchRun() {
	l.search.close()
	l.search = nil
}

// failSearch records why a search cannot continue. The search stays listed until a user cancels it.
func (l *loop) failSearch(s *tablestate.Search, err error) error {
	l.log.Error().Err(err).Int("job", s.ID).Msg("a search for rows has failed")
	s.Failed = err.Error()
	l.recordJobs()
	return l.saveSearch(s)
}

// addSearch stores a search, which starts when its turn comes, and returns its number.
func (l *loop) addSearch(s *tablestate.Search) (int, error) {
	s.ID = l.NewJob()
	l.tables.searches = append(l.tables.searches, s)
	return s.ID, l.saveSearch(s)
}

// saveSearch puts a search into the unit.
func (l *loop) saveSearch(s *tablestate.Search) error {
	return saveJSON(&l.unit, l.config.Name, searchPiece(s), s)
}

func searchPiece(s *tablestate.Search) string {
	return tablestate.SearchPrefix + strconv.Itoa(s.ID)
}

// dropSearch removes a search. The keys that the search has found are still read.
func (l *loop) dropSearch(s *tablestate.Search) {
	if l.search != nil && l.search.id == s.ID {
		l.endSearchRun()
	}
	l.tables.searches = slices.DeleteFunc(l.tables.searches,
		func(o *tablestate.Search) bool { return o == s })
	l.unit.DropState(l.config.Name, searchPiece(s))
	l.recordJobs()
}

// searchOf returns the search with a number; nil if no search has it.
func (s *tableSet) searchOf(id int) *tablestate.Search {
	for _, o := range s.searches {
		if o.ID == id {
			return o
		}
	}
	return nil
}

// loadSearches decodes the stored searches from the pieces of state.
func (s *tableSet) loadSearches(pieces map[string][]byte) error {
	for name, text := range pieces {
		if !strings.HasPrefix(name, tablestate.SearchPrefix) {
			continue
		}
		o := new(tablestate.Search)
		if err := json.Unmarshal(text, o); err != nil {
			return corrupt(name, err)
		}
		s.searches = append(s.searches, o)
	}
	slices.SortFunc(s.searches, func(a, b *tablestate.Search) int { return a.ID - b.ID })
	return nil
}

// dropSearches makes a unit remove all searches.
func (s *tableSet) dropSearches(u *sink.Unit, pipeline string) {
	for _, o := range s.searches {
		u.DropState(pipeline, searchPiece(o))
	}
}

// searchJob returns a search as users see it.
func searchJob(s *tablestate.Search) Job {
	j := Job{
		ID: s.ID, Table: s.Table, Reason: s.Reason, State: "searching for rows",
		Rows: s.Keys, Estimate: s.Keys,
	}
	if j.Table == "" {
		j.Table = "*"
	}
	switch {
	case s.Failed != "":
		j.State = "failed: " + s.Failed
	case s.Table != "" && s.Where == "":
		j.State = "waiting to start" // StoreBackfill stored it while no process ran
	case s.Found:
		j.State = "reading the rows found"
	case s.At != nil:
		if at, err := tablestate.DecodePosition(s.At); err == nil {
			j.State = "reading the binlog at " + placeOf(&at)
		}
	}
	return j
}

// placeOf returns file and offset of a position, or its GTIDs if it has no file.
func placeOf(p *binlog.Position) string {
	if p.File == "" {
		return p.String()
	}
	return fmt.Sprintf("%s:%d", p.File, p.Offset)
}

// BackfillWhere makes the running pipeline read again the rows of a table that match a condition,
// which is an SQL expression over the table's columns. It returns the number of the search. The
// server's error for an invalid condition is returned unchanged.
func (p *Pipeline) BackfillWhere(ctx context.Context, table, condition string) (int, error) {
	var schema *binlog.Table // belongs to the loop until submit returns without an error
	err := p.submit(ctx, func(_ context.Context, l *loop) error {
		t, err := l.tables.named(table)
		if err != nil {
			return err
		}
		if !t.isFollowed() {
			return fmt.Errorf("table %s is in quarantine or its columns are being read; "+
				"read the whole table with rowfall backfill", table)
		}
		schema = t.Schema
		return nil
	})
	if err == nil {
		err = p.tryCondition(ctx, schema, condition)
	}
	if err != nil {
		return 0, err
	}
	return p.submitSearch(ctx, conditionRequest(table, condition))
}

// conditionRequest returns the search for the rows that match a condition.
func conditionRequest(table, condition string) *tablestate.Search {
	return &tablestate.Search{
		Table: table, Where: condition,
		Reason: "backfill --where-sql " + binlog.Clip(strconv.Quote(condition), 80),
	}
}

// tryCondition returns the server's error if the server cannot evaluate the condition.
func (p *Pipeline) tryCondition(ctx context.Context, t *binlog.Table, condition string) error {
	ctx, cancel := context.WithTimeout(ctx, searchTimeout)
	defer cancel()
	return mysqlsource.TryCondition(ctx, p.mysqlConfig(), t, condition)
}

// submitSearch adds a search in the loop, and returns its number.
func (p *Pipeline) submitSearch(ctx context.Context, s *tablestate.Search) (id int, err error) {
	var added int
	err = p.submit(ctx, func(_ context.Context, l *loop) (err error) {
		added, err = l.addSearch(s)
		return err
	})
	if err != nil {
		return 0, err
	}
	return added, nil
}

// searchTimeout limits how long the server may take to answer before a search is stored.
const searchTimeout = 20 * time.Second
