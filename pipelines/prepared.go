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

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/events"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
)

// The rows of an XA transaction in two phases are in the binlog before its XA PREPARE, and become
// visible at its XA COMMIT. Until then they are kept in the state, as the events of the binlog. At
// the XA COMMIT the stream yields them as rows of that transaction.
//
// The state also holds the transactions without rows of mapped tables, without any event: an XA
// COMMIT whose XA PREPARE is unknown may have rows of mapped tables.
//
// A prepared transaction is written when the position is, so one that ends before is never written.

// preparedSet holds the XA transactions that are prepared at the loop's position.
type preparedSet struct {
	byXID map[string]*preparedTx
	// open is a large transaction that is being read, of which some blocks exist; nil without one.
	open *preparedTx
	// isTentative is set while the transactions are not certain: they are written as Open.
	isTentative bool
	// unknown, if not empty, is the reason why the rows of transactions that Find does not find are
	// lost.
	unknown string
	// last is the number of the last transaction.
	last int
	// unsaved are the transactions that have changed since they were last written, or have ended.
	// unsavedBytes is the size of their blocks that were not written.
	unsaved      map[*preparedTx]bool
	unsavedBytes int
	// readBlock reads a block from the sink.
	readBlock func(name string) ([]byte, error)
}

// reasonTooLarge is the reason why the rows of a transaction above MaxPrepared are not kept.
var reasonTooLarge = fmt.Sprintf("it has more than %d MiB of rows", events.MaxPrepared>>20)

// preparedTx is one transaction of a preparedSet.
type preparedTx struct {
	tablestate.Prepared
	id int
	// written are the numbers of blocks that the sink has. blocks are those after them.
	written int
	blocks  [][]byte
	// isStored is set once the sink has the piece. isEnded is set when the transaction has ended.
	isStored, isEnded bool
}

func newPreparedSet() *preparedSet {
	return &preparedSet{
		byXID: make(map[string]*preparedTx), unsaved: make(map[*preparedTx]bool),
	}
}

func (t *preparedTx) piece() string { return tablestate.PreparedPrefix + strconv.Itoa(t.id) }

func (t *preparedTx) block(n int) string { return fmt.Sprintf("%s:%d", t.piece(), n) }

// load reads the transactions from the pieces of state. A transaction whose XA PREPARE was not
// reached is discarded: the stream sends it again.
func (s *preparedSet) load(pieces map[string][]byte) error {
	for _, piece := range slices.Sorted(maps.Keys(pieces)) {
		number, ok := strings.CutPrefix(piece, tablestate.PreparedPrefix)
		if !ok {
			continue
		}
		t := &preparedTx{isStored: true}
		var err error
		if t.id, err = strconv.Atoi(number); err == nil {
			err = json.Unmarshal(pieces[piece], &t.Prepared)
		}
		if err != nil {
			return corrupt("XA transaction "+number, err)
		}
		t.written = t.Blocks
		s.last = max(s.last, t.id)
		if t.Open {
			s.end(t)
			continue
		}
		s.byXID[t.XID] = t
	}
	return nil
}

// add adds a part of the transaction that is being read.
func (s *preparedSet) add(part []byte) {
	t := s.open
	if t == nil {
		s.last++
		t = &preparedTx{id: s.last, Prepared: tablestate.Prepared{Open: true}}
		s.open = t
	}
	if len(part) > 0 {
		t.blocks = append(t.blocks, slices.Clone(part))
		t.Blocks++
		t.Bytes += len(part)
		s.unsavedBytes += len(part)
	}
	s.unsaved[t] = true
}

// prepare ends the first phase of the transaction that is being read. It replaces a transaction
// with the same XID, whose end is not in the binlog.
func (s *preparedSet) prepare(xa *binlog.XA) *preparedTx {
	s.add(xa.Events)
	t := s.open
	s.open = nil
	t.Open, t.XID, t.Tables, t.Missing = false, xa.XID, xa.Tables, xa.Missing
	if old := s.byXID[t.XID]; old != nil {
		s.end(old)
	}
	s.byXID[t.XID] = t
	if xa.TooLarge {
		t.lose(reasonTooLarge)
		s.dropBlocks(t)
	}
	return t
}

// addLost adds a transaction of which nothing is known.
func (s *preparedSet) addLost(xid, reason string) {
	t := s.prepare(&binlog.XA{Step: binlog.XAPrepare, XID: xid})
	t.MissesAll = true
	t.lose(reason)
}

// lose records why rows of the transaction are not kept.
func (t *preparedTx) lose(reason string) { t.Lost = reason }

// dropBlocks removes the rows of a transaction.
func (s *preparedSet) dropBlocks(t *preparedTx) {
	for _, b := range t.blocks {
		s.unsavedBytes -= len(b)
	}
	t.blocks, t.Blocks, t.Bytes = nil, 0, 0
	s.unsaved[t] = true
}

// end removes a transaction.
func (s *preparedSet) end(t *preparedTx) {
	s.dropBlocks(t)
	t.isEnded = true
	if s.byXID[t.XID] == t {
		delete(s.byXID, t.XID)
	}
	if s.open == t {
		s.open = nil
	}
}

// endAll removes all transactions.
func (s *preparedSet) endAll() {
	for _, t := range s.byXID {
		s.end(t)
	}
	if s.open != nil {
		s.end(s.open)
	}
}

// save puts what has changed into a unit.
func (s *preparedSet) save(u *sink.Unit, pipeline string) error {
	if len(s.unsaved) == 0 {
		return nil
	}
	list := slices.SortedFunc(maps.Keys(s.unsaved), func(a, b *preparedTx) int {
		return a.id - b.id
	})
	for _, t := range list {
		for n := t.Blocks; n < t.written; n++ {
			u.DropBlock(pipeline, t.block(n))
		}
		t.written = min(t.written, t.Blocks)
		for _, b := range t.blocks {
			u.SetBlock(pipeline, t.block(t.written), b)
			t.written++
		}
		t.blocks = nil
		switch {
		case !t.isEnded:
			stored := t.Prepared
			stored.Open = stored.Open || s.isTentative
			if err := saveJSON(u, pipeline, t.piece(), &stored); err != nil {
				return err
			}
			t.isStored = true
		case t.isStored:
			u.DropState(pipeline, t.piece())
		}
	}
	clear(s.unsaved)
	s.unsavedBytes = 0
	return nil
}

// readPart returns a block of a transaction.
func (s *preparedSet) readPart(t *preparedTx, n int) ([]byte, error) {
	if n >= t.written {
		return t.blocks[n-t.written], nil
	}
	part, err := s.readBlock(t.block(n))
	if corrupted := new(sink.CorruptStateError); errors.As(err, &corrupted) {
		return nil, &StopError{Err: err}
	}
	return part, err
}

var _ events.Prepared = (*tableSet)(nil)

// KeepsRows implements events.Prepared. Rows of a table that is in quarantine now, or whose columns
// are not known, are kept too: the table may be followed at the XA COMMIT.
func (s *tableSet) KeepsRows(database, name string) bool {
	n := ddl.TableName{Database: database, Table: name}
	if s.all[n.String()] != nil || s.cascades.schemaOf(n) != nil || s.cascades.parents[n] != nil {
		return true
	}
	rule, err := s.mapping.Rule(database, name)
	return err != nil || rule != nil
}

// Find implements events.Prepared.
func (s *tableSet) Find(xid string) (events.Kept, bool) {
	t := s.prepared.open
	if xid != "" {
		if s.prepared.byXID[xid] == nil && s.prepared.unknown != "" {
			s.prepared.addLost(xid, s.prepared.unknown)
		}
		t = s.prepared.byXID[xid]
	}
	if t == nil {
		return events.Kept{}, false
	}
	return events.Kept{
		Tables: slices.Concat(t.Tables, t.Missing), MissesAll: t.MissesAll, Parts: t.Blocks,
		Part: func(n int) ([]byte, error) { return s.prepared.readPart(t, n) },
	}, true
}

// blockReader returns a function that reads blocks of the pipeline from the sink.
func (l *loop) blockReader(ctx context.Context) func(name string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		return sink.ReadBlock(ctx, l.sink, l.config.Name, name)
	}
}

// preparedRows handles a part of an XA transaction whose rows are not visible yet. It writes large
// parts at once, so that memory stays bounded.
func (l *loop) preparedRows(ctx context.Context, ev *binlog.Event) error {
	l.tables.prepared.add(ev.XA.Events)
	return l.flush(ctx)
}

// stepXA handles the end of a transaction that prepares or ends an XA transaction. It is called
// before the position moves past the transaction. It returns the tables with rows that become
// visible and were not kept.
func (l *loop) stepXA(ev *binlog.Event) (lost []string) {
	s := l.tables.prepared
	if ev.XA == nil {
		if s.open != nil { // what is left of a transaction that is skipped now
			s.end(s.open)
		}
		return nil
	}
	defer func() { l.stats.prepared.Store(int64(len(s.byXID))) }()
	switch ev.XA.Step {
	case binlog.XAPrepare:
		t := s.prepare(ev.XA)
		t.Position, t.Time = l.progress.Position.String(), ev.Time
		switch {
		case ev.Skipped != nil:
			t.lose("it was skipped when it was prepared")
			t.Missing, t.MissesAll = ev.Skipped.Tables, ev.Skipped.Unknown
		case len(t.Missing) > 0 && t.Lost == "":
			t.lose("they were skipped when it was prepared")
		}
	case binlog.XARollback:
		if t := s.byXID[ev.XA.XID]; t != nil {
			s.end(t)
		}
	case binlog.XACommit:
		return l.commitXA(ev)
	}
	return nil
}

// commitXA handles the XA COMMIT of a transaction whose rows were yielded. Tables whose rows were
// not kept are read again. commitXA returns these tables.
func (l *loop) commitXA(ev *binlog.Event) []string {
	s := l.tables.prepared
	t := s.open // in one phase
	if ev.XA.XID != "" {
		t = s.byXID[ev.XA.XID]
	}
	missing, lost := ev.XA.Missing, reasonTooLarge
	if t != nil && !ev.XA.TooLarge {
		missing, lost = t.Missing, t.Lost
		if t.MissesAll {
			missing = l.tables.names()
		}
	}
	if t != nil {
		s.end(t)
	}
	if len(missing) == 0 || ev.Skipped != nil {
		return nil
	}
	l.log.Warn().Str("xid", binlog.Clip(ev.XA.XID, maxLoggedTables)).Str("reason", lost).
		Str("tables", binlog.Clip(strings.Join(missing, " "), maxLoggedTables)).
		Msg("an XA transaction has committed rows that were not kept; the tables are read again")
	for _, full := range missing {
		l.tables.cascades.addDue(full, "an XA transaction has committed rows that were not kept: "+
			lost)
	}
	return missing
}

// makeGapsOfXA records that lists and streams have no entries for rows of tables that an XA COMMIT
// has made visible and that were not kept. from is the position before the XA COMMIT.
func (l *loop) makeGapsOfXA(tables []string, from *binlog.Position) error {
	for _, full := range tables {
		if t := l.tables.all[full]; t != nil {
			if err := l.makeGapOfEntries(t, from.String()); err != nil {
				return err
			}
		}
	}
	return nil
}
