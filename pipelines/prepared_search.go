package pipelines

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"rowfall/binlog"
	"rowfall/binlog/events"
	"rowfall/binlog/files"
	"rowfall/binlog/mysql"
)

// This file searches older binlog files for the XA PREPARE of a transaction whose XA COMMIT the
// stream has reached. It was prepared before the position at which the data begin. The files are
// read from the newest to the oldest, and each of them forward. Every transaction that is prepared
// at the end is kept, so that the next such XA COMMIT needs no search.

// errPreparedFound ends a run after a search. The next run continues at the XA COMMIT.
var errPreparedFound = errors.New("an XA transaction was searched for in older binlog files")

// findPrepared searches for the transaction of an UnpreparedError, and adds it to the data. If no
// file has it, all mapped tables are read again after its XA COMMIT. The stream has ended.
func (l *loop) findPrepared(ctx context.Context, xid string) error {
	l.log.Warn().Str("xid", binlog.Clip(xid, maxLoggedTables)).
		Msg("an XA transaction was prepared before the data's first position; " +
			"searching for its rows in older binlog files")
	s := &preparedSearch{l: l, xid: xid, at: l.stream.Transaction(), seen: make(map[string]bool)}
	for known := range l.tables.prepared.byXID {
		s.seen[known] = true
	}
	err := s.run(ctx)
	if isUnreadable(err) {
		l.log.Warn().Err(err).Msg("an older binlog file cannot be read")
		err = nil
	}
	if err != nil {
		return fmt.Errorf("search for the rows of XA transaction %q: %w", xid, err)
	}
	set := l.tables.prepared
	if set.byXID[xid] == nil {
		set.addLost(xid,
			"it was prepared before the data began, and no binlog file has its rows any more")
	}
	if err := l.flush(ctx); err != nil {
		return err
	}
	return errPreparedFound
}

// findAllPrepared adds the transactions to the data that are prepared at the start of a stretch of
// binlog files. Afterwards the rows of an unknown XA COMMIT are lost.
func (l *loop) findAllPrepared(ctx context.Context) error {
	start := l.stream.Position()
	s := &preparedSearch{
		l: l, at: binlog.Evidence{File: start.File, Start: start.Offset},
		seen: make(map[string]bool),
	}
	if err := s.run(ctx); err != nil {
		return fmt.Errorf("search for XA transactions before %s: %w", start, err)
	}
	l.tables.prepared.unknown = "it was prepared before the first of the binlog files"
	return nil
}

// isUnreadable reports whether a file cannot be read, now and by a retry.
func isUnreadable(err error) bool {
	return errors.As(err, new(*binlog.RefusedError)) || errors.As(err, new(*mysql.ServerError))
}

// preparedSearch is one search.
type preparedSearch struct {
	l   *loop
	xid string
	// at is the transaction with the XA COMMIT.
	at binlog.Evidence
	// seen are the XIDs that were found in newer files, and those that the data hold. The steps of
	// these transactions in older files are ignored.
	seen map[string]bool
}

// run searches until the transaction is found, or every file was read.
func (s *preparedSearch) run(ctx context.Context) error {
	names, err := s.l.older.LogFiles(ctx)
	if err != nil {
		return err
	}
	isReached := false
	for _, name := range slices.Backward(names) {
		isReached = isReached || name == s.at.File
		if !isReached {
			continue
		}
		s.l.log.Info().Str("file", name).Msg("searching a binlog file for XA transactions")
		if err := s.readFile(ctx, name); err != nil {
			return err
		}
		if s.l.tables.prepared.byXID[s.xid] != nil || s.seen[s.xid] {
			return nil
		}
	}
	return nil
}

// readFile reads a file up to its end, or up to the XA COMMIT.
func (s *preparedSearch) readFile(ctx context.Context, file string) error {
	l := s.l
	stream, err := l.older.OpenPrepared(ctx, file, l.tables)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	// The transactions of the file are written as if their XA PREPARE was not reached. So a start
	// after a crash discards them.
	found := newPreparedSet()
	found.last, found.isTentative = l.tables.prepared.last, true
	used := make(map[string]bool)
	for {
		ev, err := stream.Next(ctx)
		if errors.Is(err, files.ErrEnd) {
			break
		}
		if err != nil {
			return err
		}
		p := stream.Position()
		if p.File != file || file == s.at.File && p.Offset > s.at.Start {
			break
		}
		if ev.XA != nil {
			used[ev.XA.XID] = ev.XA.XID != "" // not a part, nor the end of one phase
			if err := s.step(ctx, found, ev); err != nil {
				return err
			}
		}
		if file == s.at.File && p.Offset == s.at.Start {
			break
		}
	}
	return s.adopt(ctx, found, used)
}

// step applies a step of a transaction to the transactions of the file.
func (s *preparedSearch) step(ctx context.Context, found *preparedSet, ev *binlog.Event) error {
	switch ev.XA.Step {
	case binlog.XAPart:
		found.add(ev.XA.Events)
	case binlog.XAPrepare:
		t := found.prepare(ev.XA)
		t.Position = s.l.progress.Position.String()
		t.Time = ev.Time
	case binlog.XACommit, binlog.XARollback:
		t := found.byXID[ev.XA.XID]
		if ev.XA.XID == "" {
			t = found.open
		}
		if t != nil {
			found.end(t)
		}
	}
	if found.unsavedBytes < events.MaxPart {
		return nil
	}
	if err := found.save(&s.l.unit, s.l.config.Name); err != nil {
		return err
	}
	return s.l.flush(ctx)
}

// adopt adds the transactions that are prepared at the end of a file to the data, unless a newer
// file or the data have a step of theirs. used are the XIDs in the file.
func (s *preparedSearch) adopt(
	ctx context.Context, found *preparedSet, used map[string]bool,
) error {
	set := s.l.tables.prepared
	if found.open != nil {
		found.end(found.open)
	}
	for xid, t := range found.byXID {
		if s.seen[xid] {
			found.end(t)
			continue
		}
		set.byXID[xid], found.unsaved[t] = t, true
	}
	set.last, found.isTentative = found.last, false
	for xid, isUsed := range used {
		s.seen[xid] = s.seen[xid] || isUsed
	}
	if err := found.save(&s.l.unit, s.l.config.Name); err != nil {
		return err
	}
	return s.l.flush(ctx)
}
