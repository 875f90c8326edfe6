package mysqlsource

import (
	"context"
	"fmt"
	"sort"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/dump"
	"rowfall/binlog/query"
	"rowfall/pipelines/source"
)

// positionAt returns the last position before a commit time: every transaction before the position
// committed earlier than at. The server's binlog files are in the order of their times, so
// positionAt finds the file by a binary search, and then reads it.
func (m *Source) positionAt(ctx context.Context, at time.Time) (binlog.Position, error) {
	now, err := m.Now(ctx)
	if err != nil {
		return binlog.Position{}, err
	}
	if at.UnixMicro() > now {
		return binlog.Position{}, source.Stopf("position time:%s: it is in the future, "+
			"the server's clock is at %s; use an earlier time",
			timeText(at), timeText(time.UnixMicro(now)))
	}
	end, err := m.EndOfLog(ctx)
	if err != nil {
		return binlog.Position{}, err
	}
	files, err := query.BinlogFiles(ctx, m.conn)
	if err != nil {
		return binlog.Position{}, err
	}
	// younger is the index of the first file that was begun after at.
	var begun time.Time
	var searchErr error
	younger := sort.Search(len(files), func(i int) bool {
		if searchErr != nil {
			return true
		}
		var b time.Time
		if b, searchErr = m.fileTime(ctx, files[i], end); i == 0 {
			begun = b
		}
		return searchErr != nil || b.Unix() > at.Unix()
	})
	if searchErr != nil {
		return binlog.Position{}, searchErr
	}
	if younger == 0 {
		return binlog.Position{}, source.Stopf("position time:%s: it is before the server's "+
			"oldest binlog, %s, which begins at %s; use a later time, or --from snapshot",
			timeText(at), files[0], timeText(begun))
	}
	return m.scanTime(ctx, files[younger-1], at, end)
}

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// openTimes opens a stream at the beginning of a file that yields only the ends of transactions.
// So a transaction that a pipeline rejects does not end the search for a time.
func (m *Source) openTimes(ctx context.Context, file string) (source.Stream, error) {
	const first = 4 // the offset of the first event
	config := m.replayConfig()
	config.TimesOnly = true
	at := binlog.Position{File: file, Offset: first}
	stream, err := dump.Open(ctx, config, at)
	if err != nil {
		return nil, fmt.Errorf("read the times of %s: %w", file, err)
	}
	return stream, nil
}

// fileTime returns when the server began a binlog file. end is the end of the binlog.
func (m *Source) fileTime(
	ctx context.Context, file string, end binlog.Position,
) (time.Time, error) {
	stream, err := m.openTimes(ctx, file)
	if err != nil {
		return time.Time{}, err
	}
	defer func() { _ = stream.Close() }()
	for {
		ev, err := stream.Next(ctx)
		if err != nil {
			return time.Time{}, fmt.Errorf("read the beginning of %s: %w", file, err)
		}
		found := stream.PositionEvidence(binlog.Position{File: file})
		switch {
		case found.FileTime != 0:
			return time.Unix(int64(found.FileTime), 0), nil
		// Did the file contain no transaction, so that this event is from a later file?
		case ev.Time > 0:
			return time.UnixMicro(ev.Time), nil
		case stream.Position().CompareFile(end) >= 0:
			return time.Now(), nil
		}
	}
}

// scanTime reads a file, and the following ones, until the first transaction that did not commit
// before a time. It returns the position before that transaction, or end if there is none.
func (m *Source) scanTime(
	ctx context.Context, file string, at time.Time, end binlog.Position,
) (binlog.Position, error) {
	stream, err := m.openTimes(ctx, file)
	if err != nil {
		return binlog.Position{}, err
	}
	defer func() { _ = stream.Close() }()
	last := binlog.Position{File: file, Offset: 4}
	for {
		ev, err := stream.Next(ctx)
		if err != nil {
			return last, fmt.Errorf("search %s for the time %s: %w", file, timeText(at), err)
		}
		isEnd := ev.Kind == binlog.Commit || ev.Kind == binlog.Statement && !ev.InTransaction
		if isEnd && ev.Time >= at.UnixMicro() {
			return last, nil
		}
		if isEnd || ev.Kind == binlog.Progress {
			p := stream.Position()
			last.File, last.Offset = p.File, p.Offset
			if p.CompareFile(end) >= 0 {
				return last, nil
			}
		}
	}
}
