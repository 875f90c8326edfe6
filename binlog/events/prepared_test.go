package events

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
)

// keeper keeps prepared XA transactions as the user of a parser does, and records what the parser
// yields.
type keeper struct {
	*oneTable
	prepared map[string]*keptXA
	open     *keptXA
	steps    []string
}

type keptXA struct {
	parts [][]byte
	xa    binlog.XA
}

func newKeeper() *keeper {
	return &keeper{oneTable: newOneTable(), prepared: make(map[string]*keptXA)}
}

func (k *keeper) KeepsRows(_, name string) bool { return name != "other" }

func (k *keeper) Find(xid string) (Kept, bool) {
	t := k.open
	if xid != "" {
		t = k.prepared[xid]
	}
	if t == nil {
		return Kept{}, false
	}
	return Kept{
		Tables: slices.Concat(t.xa.Tables, t.xa.Missing), Parts: len(t.parts),
		Part: func(n int) ([]byte, error) { return t.parts[n], nil },
	}, true
}

// handle applies an event, and records it in one word.
func (k *keeper) handle(ev *binlog.Event) {
	step := map[binlog.Kind]string{
		binlog.Changes: "rows", binlog.Commit: "commit", binlog.PreparedRows: "part",
		binlog.Statement: "statement",
	}[ev.Kind]
	if xa := ev.XA; xa != nil {
		if len(xa.Events) > 0 {
			if k.open == nil {
				k.open = new(keptXA)
			}
			k.open.parts = append(k.open.parts, slices.Clone(xa.Events))
		}
		switch xa.Step {
		case binlog.XAPrepare:
			if k.open == nil {
				k.open = new(keptXA)
			}
			k.open.xa = *xa
			k.prepared[xa.XID], k.open = k.open, nil
			step = fmt.Sprintf("prepare%v%v", xa.Tables, xa.Missing)
		case binlog.XACommit:
			delete(k.prepared, xa.XID)
			k.open = nil
			step = "xa-commit"
		case binlog.XARollback:
			delete(k.prepared, xa.XID)
			step = "xa-rollback"
		}
		if xa.TooLarge {
			step += "!"
		}
	}
	if ev.Skipped != nil {
		step = fmt.Sprintf("skipped%v%v", ev.Skipped.Tables, ev.Skipped.Unknown)
	}
	if ev.RolledBack {
		step = "rolled-back"
	}
	if ev.Kind != binlog.Progress {
		k.steps = append(k.steps, step)
	}
}

// xaScript builds the events of XA transactions. Each begins with a GTID event.
type xaScript struct {
	eventBuilder
	sequence uint64
}

func newXAScript() *xaScript {
	s := &xaScript{eventBuilder: eventBuilder{checksum: true}}
	s.head(4)
	return s
}

func (s *xaScript) query(sql string) {
	s.sequence++
	s.add(gtidLogEvent, 0, gtidBody(s.sequence))
	s.add(queryEvent, 0, queryBody(sql))
}

// start begins the XA transaction with a name of one character and adds rows of tables.
func (s *xaScript) start(name byte, tables ...string) {
	s.query(fmt.Sprintf("XA START X'%x',X'',1", name))
	for i, table := range tables {
		s.add(tableMapEvent, 0, mapBody(byte(i+1), table))
		s.add(writeRowsEvent, 0, rowsBody(byte(i+1), 1))
	}
}

// end ends the first phase, or the transaction if it has one phase.
func (s *xaScript) end(name byte, onePhase bool) {
	s.add(queryEvent, 0, queryBody(fmt.Sprintf("XA END X'%x',X'',1", name)))
	body := append([]byte{0}, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, name)
	if onePhase {
		body[0] = 1
	}
	s.add(xaPrepareLogEvent, 0, body)
}

func (s *xaScript) prepare(name byte, tables ...string) {
	s.start(name, tables...)
	s.end(name, false)
}

func (s *xaScript) commit(name byte)   { s.query(fmt.Sprintf("XA COMMIT X'%x',X'',1", name)) }
func (s *xaScript) rollback(name byte) { s.query(fmt.Sprintf("XA ROLLBACK X'%x',X'',1", name)) }

// run feeds the events to a parser, and returns the steps in one line.
func (k *keeper) run(t *testing.T, s *xaScript, skips ...binlog.Skip) (string, error) {
	t.Helper()
	p := NewParser(Options{Tables: k, GTIDs: true})
	p.Start(binlog.Position{})
	p.Skip(skips)
	k.steps = nil
	err := feed(p, s.events, k.handle)
	if set := p.Position().GTID.String(); err == nil &&
		!strings.HasSuffix(set, fmt.Sprintf("-%d", s.sequence)) && s.sequence > 1 {
		t.Errorf("the position is %s after %d transactions", set, s.sequence)
	}
	return strings.Join(k.steps, " "), err
}

// Rows of an XA transaction are yielded at its XA COMMIT, and not before.
func TestPreparedRows(t *testing.T) {
	for name, test := range map[string]struct {
		write func(s *xaScript)
		want  string
	}{
		"commit": {func(s *xaScript) {
			s.prepare('a', "t")
			s.commit('a')
		}, "prepare[shop.t][] rows xa-commit"},
		"rollback": {func(s *xaScript) {
			s.prepare('a', "t")
			s.rollback('a')
		}, "prepare[shop.t][] xa-rollback"},
		"one phase": {func(s *xaScript) {
			s.start('a', "t")
			s.end('a', true)
		}, "rows commit"},
		"interleaved": {func(s *xaScript) {
			s.prepare('a', "t")
			s.prepare('b', "t", "t")
			s.transaction(s.sequence+1, 1)
			s.sequence++
			s.commit('b')
			s.commit('a')
		}, "prepare[shop.t][] prepare[shop.t][] rows commit rows rows xa-commit rows xa-commit"},
		"the same XID again": {func(s *xaScript) {
			s.prepare('a', "t")
			s.rollback('a')
			s.prepare('a', "t", "t")
			s.commit('a')
		}, "prepare[shop.t][] xa-rollback prepare[shop.t][] rows rows xa-commit"},
		"unmapped tables": {func(s *xaScript) {
			s.prepare('a', "other")
			s.commit('a')
			s.prepare('b', "other", "t")
			s.commit('b')
		}, "prepare[][] xa-commit prepare[shop.t][] rows xa-commit"},
		"no GTIDs": {func(s *xaScript) {
			for _, sql := range []string{"XA START X'61',X'',1", "XA COMMIT X'61',X'',1"} {
				s.add(queryEvent, 0, queryBody(sql))
				if strings.HasPrefix(sql, "XA START") {
					s.add(tableMapEvent, 0, mapBody(1, "t"))
					s.add(writeRowsEvent, 0, rowsBody(1, 1))
					s.end('a', false)
				}
			}
		}, "prepare[shop.t][] rows xa-commit"},
		"compressed": {func(s *xaScript) {
			for _, onePhase := range []bool{false, true} {
				inner := &xaScript{}
				inner.start('a', "t")
				inner.end('a', onePhase)
				s.sequence++
				s.add(gtidLogEvent, 0, gtidBody(s.sequence))
				s.add(transactionPayloadEvent, 0, []byte{2, 3, 0xfc, 255, 0, 0},
					bytes.Join(inner.events[1:], nil)) // without its GTID event
			}
			s.commit('a')
		}, "prepare[shop.t][] rows commit rows xa-commit"},
		"a rollback to a savepoint": {func(s *xaScript) {
			s.start('a', "t")
			s.add(queryEvent, 0, queryBody("ROLLBACK TO SAVEPOINT s"))
			s.end('a', false)
			s.commit('a')
		}, "prepare[shop.t][] rows rolled-back"},
		"a rollback": {func(s *xaScript) {
			s.start('a', "t")
			s.add(queryEvent, 0, queryBody("ROLLBACK"))
			s.transaction(2, 1)
			s.sequence++
		}, "rows rolled-back rows commit"},
		"not prepared": {func(s *xaScript) {
			s.start('a', "t")
			s.add(queryEvent, 0, queryBody("XA ROLLBACK X'61',X'',1"))
		}, "rows rolled-back"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newXAScript()
			test.write(s)
			if got, err := newKeeper().run(t, s); err != nil || got != test.want {
				t.Errorf("it yields %s, %v\nwant %s", got, err, test.want)
			}
		})
	}
}

// The rows of a large transaction are yielded in parts before its end is known. Rows beyond the
// limit are not kept.
func TestPreparedParts(t *testing.T) {
	defer func() { maxPart, maxPrepared = MaxPart, MaxPrepared }()
	maxPart = 150 // two table maps with their rows
	for name, test := range map[string]struct {
		most     int
		onePhase bool
		want     string
	}{
		"prepared":             {1000, false, "part prepare[shop.t][] rows rows rows xa-commit"},
		"one phase":            {1000, true, "part rows rows rows xa-commit"},
		"too large":            {200, false, "part prepare[][shop.t]!"},
		"too large, one phase": {200, true, "part xa-commit!"},
	} {
		t.Run(name, func(t *testing.T) {
			maxPrepared = test.most
			s := newXAScript()
			s.start('a', "t", "t", "t")
			s.end('a', test.onePhase)
			if test.want == "part prepare[shop.t][] rows rows rows xa-commit" {
				s.commit('a')
			}
			if got, err := newKeeper().run(t, s); err != nil || got != test.want {
				t.Errorf("it yields %s, %v\nwant %s", got, err, test.want)
			}
		})
	}
}

// An XA COMMIT is handled by another connection than the XA PREPARE. Without the XA PREPARE it is
// an error of its own, because the transaction can be searched for.
func TestXACommitOfAnotherConnection(t *testing.T) {
	k := newKeeper()
	first, second := newXAScript(), newXAScript()
	first.prepare('a', "t")
	second.commit('a')
	var unprepared *UnpreparedError
	if _, err := k.run(t, second); !errors.As(err, &unprepared) ||
		unprepared.XID != "X'61',X'',1" {
		t.Errorf("an unknown XA COMMIT: error %v", err)
	}
	if got, err := k.run(t, first); err != nil || got != "prepare[shop.t][]" {
		t.Errorf("the first connection yields %s, %v", got, err)
	}
	if got, err := k.run(t, second); err != nil || got != "rows xa-commit" {
		t.Errorf("the second connection yields %s, %v", got, err)
	}
}

// Tables that do not implement Prepared get the rows at the XA PREPARE.
func TestXAWithoutPrepared(t *testing.T) {
	s := newXAScript()
	s.prepare('a', "t")
	s.commit('a')
	k := newKeeper()
	if err := feed(newParser(newOneTable()), s.events, k.handle); err != nil ||
		strings.Join(k.steps, " ") != "rows prepare[][] xa-commit" {
		t.Errorf("it yields %q, %v", k.steps, err)
	}
}

// With PreparedOnly a parser yields the steps of XA transactions, whatever else the binlog has.
func TestPreparedOnly(t *testing.T) {
	s := newXAScript()
	s.prepare('a', "t")
	s.query("BEGIN")
	s.add(queryEvent, 0, queryBody("DELETE FROM t"))
	s.add(xidEvent, 0, make([]byte, 8))
	s.commit('b')
	s.query("BEGIN") // the server crashes here
	s.head(s.offset)
	s.rollback('a')
	k := newKeeper()
	p := NewParser(Options{Tables: k, GTIDs: true, PreparedOnly: true})
	p.Start(binlog.Position{})
	err := feed(p, s.events, func(ev *binlog.Event) {
		ev.Skipped = nil
		k.handle(ev)
	})
	const want = "prepare[shop.t][] commit xa-commit xa-rollback"
	if got := strings.Join(k.steps, " "); err != nil || got != want {
		t.Errorf("it yields %s, %v\nwant %s", got, err, want)
	}
}

// The rows of a table that a request leaves out of the XA PREPARE are reported as missing. Of an
// XA COMMIT that is left out, the tables are those of the XA PREPARE.
func TestSkipXA(t *testing.T) {
	skip := func(sequence int, tables ...string) binlog.Skip {
		text := fmt.Sprint("gtid:", strings.Repeat("ab", 16), ":", sequence)
		at, err := binlog.ParseTransactionID(text)
		if err != nil {
			t.Fatal(err)
		}
		return binlog.Skip{At: at, Tables: tables}
	}
	s := newXAScript()
	s.prepare('a', "t")
	s.commit('a')
	for _, test := range []struct {
		want  string
		skips []binlog.Skip
	}{
		{"skipped[shop.t]false xa-commit", []binlog.Skip{skip(1)}},
		{"prepare[][shop.t] xa-commit", []binlog.Skip{skip(1, "shop.t")}},
		{"prepare[shop.t][] rows xa-commit", []binlog.Skip{skip(1, "shop.other")}},
		{"prepare[shop.t][] skipped[shop.t]false", []binlog.Skip{skip(2)}},
		{"prepare[][shop.t] skipped[shop.t]false", []binlog.Skip{skip(1, "shop.t"), skip(2)}},
		{"prepare[shop.t][] rows xa-commit", []binlog.Skip{skip(2, "shop.other")}},
		{"prepare[shop.t][] rows xa-commit", []binlog.Skip{skip(2, "shop.t")}},
	} {
		if got, err := newKeeper().run(t, s, test.skips...); err != nil || got != test.want {
			t.Errorf("skips %v: it yields %s, %v\nwant %s", test.skips, got, err, test.want)
		}
	}
	unknown := newXAScript()
	unknown.commit('b')
	got, err := newKeeper().run(t, unknown, skip(1))
	if err != nil || got != "skipped[]true" {
		t.Errorf("a skipped XA COMMIT without its XA PREPARE yields %s, %v", got, err)
	}
}

// A transaction that was rolled back after rows of mapped tables were yielded ends with RolledBack.
func TestRolledBack(t *testing.T) {
	for _, sql := range []string{"ROLLBACK", "ROLLBACK TO SAVEPOINT s"} {
		for _, table := range []string{"t", "other"} {
			m := &eventBuilder{checksum: true}
			m.head(4)
			m.add(gtidLogEvent, 0, gtidBody(1))
			m.add(queryEvent, 0, queryBody("BEGIN"))
			m.add(tableMapEvent, 0, mapBody(1, table))
			m.add(writeRowsEvent, 0, rowsBody(1, 1))
			m.add(queryEvent, 0, queryBody(sql))
			if sql != "ROLLBACK" {
				m.add(xidEvent, 0, make([]byte, 8))
			}
			var commits, rolledBack int
			if err := feed(newParser(newOneTable()), m.events, func(ev *binlog.Event) {
				if ev.Kind == binlog.Commit {
					commits++
				}
				if ev.RolledBack {
					rolledBack++
				}
			}); err != nil || commits != 1 || (rolledBack == 1) != (table == "t") {
				t.Errorf("%s, table %s: %d commits, %d rolled back, %v", sql, table, commits,
					rolledBack, err)
			}
		}
	}
}
