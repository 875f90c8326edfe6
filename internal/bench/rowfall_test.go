//go:build bench

package bench_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/binlog/dump"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/pipelines"
	"rowfall/pipelines/file"
	"rowfall/sink"
)

// pipelineFile is a pipeline file as a user would write it, with only the necessary settings.
const pipelineFile = `
pipeline: bench
source:
  mysql:
    addresses: ["%s"]
    user: root
    tls: {mode: disabled}
    start: %s
  backfill: {parallel: %d}
tables:
  "%s.*": {}
sink:
  node:
    listen: 127.0.0.1:0
    dir: %s
`

// runRowfall is the contender of a node with its pipeline.
func runRowfall(ctx context.Context, j job, l *testPipe) error {
	text := fmt.Sprintf(pipelineFile, j.MySQL, j.Start, cmp.Or(j.Parallel, 2), j.Tables, j.Dir)
	config, err := file.Parse("bench.yaml", []byte(text), os.LookupEnv)
	if err != nil {
		return err
	}
	log := zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr}).Level(zerolog.WarnLevel)
	member, err := pipelines.Open(*config, "", log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	ended := make(chan error, 2)
	if j.Catchup {
		wg.Go(func() { ended <- member.Node.Run(ctx) })
		member.Node.SetComplete(true) // otherwise the pipeline does that, but it is not running yet
	}
	if err := l.send(message{Kind: "ready", Addr: member.Node.Addr()}); err != nil {
		return err
	}
	select {
	case <-l.goSignal:
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return err
	}
	done := message{Kind: "done"}
	if j.Catchup {
		wg.Go(func() { ended <- member.Pipeline.Run(ctx) })
		done.First, done.Last, err = catchUp(ctx, member, ended)
	} else {
		done.First = currentUsage(0)
		wg.Go(func() { ended <- member.Run(ctx) })
		err = poll(ctx, ended,
			func() bool { return member.Pipeline.Stats().Phase == sink.Streaming })
		done.Last = currentUsage(uint64(member.Pipeline.Stats().Loaded))
	}
	if err != nil {
		return err
	}
	if err := l.send(done); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return err
	}
}

// catchUp waits for the first row and for the marker, and returns the process's usage at both
// times.
func catchUp(
	ctx context.Context, member *pipelines.Instance, ended <-chan error,
) (first, last usage, err error) {
	rows := func() uint64 { return member.Pipeline.Stats().Rows }
	if err := poll(ctx, ended, func() bool { return rows() > 0 }); err != nil {
		return first, last, err
	}
	first = currentUsage(rows())
	marked := func() bool { _, ok := member.Node.Keyspace().HashFields(markerKey); return ok }
	err = poll(ctx, ended, marked)
	return first, currentUsage(rows()), err
}

// poll waits until done returns true. Its cost is part of the contender's CPU.
func poll(ctx context.Context, ended <-chan error, done func() bool) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return errors.Join(errors.New("wait for contender: it ended early"), err)
		case <-tick.C:
		}
	}
	return nil
}

// schemas returns the present schema of a table, for a stream that meets it.
type schemas struct {
	conn     *mysql.Conn
	database string
}

// Mismatch ends the parsing.
func (s schemas) Mismatch(_ *binlog.Table, reason error) error { return reason }

func (schemas) RowsSkipped(string, string, binlog.Op, bool) {}

func (s schemas) Table(database, name string) (*binlog.Table, error) {
	if database != s.database {
		return nil, nil
	}
	tables, err := query.Tables(context.Background(), s.conn, func(d, n string) bool {
		return d == database && n == name
	})
	if err == nil && len(tables) != 1 {
		err = fmt.Errorf("%d tables are named %s.%s, want 1", len(tables), database, name)
	}
	if err != nil {
		return nil, err
	}
	return tables[0], nil
}

// runDrain is the contender that only reads the binlog. It is an upper bound of the speed of all
// others.
func runDrain(ctx context.Context, j job, l *testPipe) error {
	source := sourceConfig(j.MySQL)
	conn, err := mysql.Dial(ctx, source)
	if err != nil {
		return err
	}
	defer conn.Close()
	from, err := binlog.ParsePosition(j.Start)
	if err != nil {
		return err
	}
	stream, err := dump.Open(
		ctx, dump.Config{MySQL: source, ServerID: drainID, Tables: schemas{conn, j.Tables}}, from,
	)
	if err != nil {
		return err
	}
	defer stream.Close()
	var first usage
	var rows uint64
	for {
		ev, err := stream.Next(ctx)
		if err != nil {
			return err
		}
		if ev.Kind != binlog.Changes {
			continue
		}
		if rows == 0 {
			first = currentUsage(0)
		}
		for ev.Rows.Next() {
			rows++
		}
		if err := ev.Rows.Err(); err != nil {
			return err
		}
		if ev.Rows.Table().Name == markerTable {
			return l.send(message{Kind: "done", First: first, Last: currentUsage(rows)})
		}
	}
}
