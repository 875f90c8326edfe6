package pipelines

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"rowfall/pipelines/file"
	"rowfall/pipelines/tablestate"
)

// StoreBackfill stores a request to read a table again in the directory of a pipeline that does not
// run. The next run starts the job. An empty condition selects every row. StoreBackfill returns the
// number of the job.
func StoreBackfill(
	ctx context.Context, c file.Config, table, condition string, log zerolog.Logger,
) (id int, err error) {
	return storeRequest(ctx, c, log, func(s *Stopped, l *loop, _ *progress) (int, error) {
		t, err := l.tables.named(table)
		if err != nil {
			return 0, err
		}
		request := &tablestate.Search{Table: table, Reason: "backfill"}
		if condition != "" {
			if t.Schema == nil {
				return 0, fmt.Errorf("the columns of %s are not known; read the whole table", table)
			}
			if err := s.pipeline.tryCondition(ctx, t.Schema, condition); err != nil {
				return 0, err
			}
			request = conditionRequest(table, condition)
		}
		return l.addSearch(request)
	})
}

// StoreReplay stores a request for a replay, as Pipeline.Replay does, in the directory of a
// pipeline that does not run. The next run starts the replay. An empty to is the position of the
// data. StoreReplay returns the number of the search.
func StoreReplay(
	ctx context.Context, c file.Config, from, to string, log zerolog.Logger,
) (id int, err error) {
	return storeRequest(ctx, c, log, func(s *Stopped, l *loop, stored *progress) (int, error) {
		r, err := s.pipeline.resolveReplay(ctx, from, to)
		if err != nil {
			return 0, err
		}
		until := stored.Position
		if r.search.Server != stored.Server {
			until.File, until.Offset = "", 0 // they belong to another binlog
			if until.GTID.IsZero() {
				return 0, fmt.Errorf("the data are at %s of server %s, and the source is server "+
					"%s: without GTIDs the two binlogs cannot be compared; read the tables with "+
					"rowfall backfill", stored.Position, stored.Server, r.search.Server)
			}
		}
		return l.addReplay(r.search, &r.from, &r.to, until)
	})
}

// storeRequest opens the directory of a pipeline that does not run, stores a search, and returns
// its number.
func storeRequest(
	ctx context.Context, c file.Config, log zerolog.Logger,
	add func(s *Stopped, l *loop, stored *progress) (int, error),
) (id int, err error) {
	s, err := OpenStopped(c, log)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	err = s.change(ctx, "start the job", func(l *loop, stored *progress) (err error) {
		id, err = add(s, l, stored)
		return err
	})
	return id, err
}
