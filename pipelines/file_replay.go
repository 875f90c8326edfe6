package pipelines

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"rowfall/binlog/files"
	"rowfall/pipelines/file"
	"rowfall/pipelines/filesource"
	"rowfall/sink"
)

// FileReplay applies the transactions of binlog files to the node of a pipeline that no process
// runs and that holds no data. It needs no server. The changes are applied as they are in the
// files, and the position becomes that of the last transaction.
type FileReplay struct {
	config  file.Config
	options FileReplayOptions
	stretch files.Stretch
	source  *filesource.Source
	log     zerolog.Logger
}

// FileReplayOptions are what is replayed.
type FileReplayOptions struct {
	// Paths are the binlog files, in any order.
	Paths []string
	// From and To are POSITIONs, see files.Log.Find.
	From, To string
	// AfterCrash are the files at whose end the server has crashed, see files.Log.AfterCrash.
	AfterCrash []string
	// Missing is a GTID set, see files.Log.Missing; empty without one.
	Missing string
	// Schema is the text of --schema: the tables as they are at From.
	Schema string
}

// FileReplayResult is what a FileReplay has done.
type FileReplayResult struct {
	Position     string // of the data
	Transactions uint64
	Rows         uint64 // of mapped tables
	// Incomplete lists the tables that the next run reads from the server, with the reasons, and
	// the tables in quarantine.
	Incomplete []TableFault
}

// NewFileReplay reads the binlog files up to the end of the stretch, and checks them. It does not
// open the directory of the node.
func NewFileReplay(
	ctx context.Context, c file.Config, o FileReplayOptions, log zerolog.Logger,
) (*FileReplay, error) {
	binlogs, err := files.Open(o.Paths)
	if err != nil {
		return nil, err
	}
	if err := binlogs.AfterCrash(o.AfterCrash); err != nil {
		return nil, err
	}
	if o.Missing != "" {
		if err := binlogs.Missing(o.Missing); err != nil {
			return nil, err
		}
	}
	stretch, err := binlogs.Find(ctx, o.From, o.To)
	if err != nil {
		return nil, err
	}
	src, err := filesource.Open(ctx, binlogs, stretch, &c.Mapping, o.Schema)
	if err != nil {
		return nil, err
	}
	return &FileReplay{config: c, options: o, stretch: stretch, source: src, log: log}, nil
}

// Progress returns how many bytes of the stretch have been read, and the size of the stretch. Any
// goroutine may call it.
func (r *FileReplay) Progress() (done, total int64) { return r.source.Progress() }

// Run applies the transactions. If it fails, the node holds those before the fault.
func (r *FileReplay) Run(ctx context.Context) (result FileReplayResult, err error) {
	s, err := openDirectory(r.config, r.log)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.start(ctx, "replay the files"); err != nil {
		return result, err
	}
	state, err := s.sink.Load(ctx)
	switch {
	case err != nil:
		return result, err
	case state.Foreign, state.Phase != sink.Empty:
		return result, fmt.Errorf("%s: the directory %s holds data already, and binlog files are "+
			"replayed only into an empty one; give the pipeline another directory, or omit "+
			"--binlog to correct the rows that a stretch has changed",
			r.config.Path, r.config.Sink.Node.Dir)
	}
	l, err := s.pipeline.replayFiles(ctx, r, state)
	if l == nil {
		return result, err
	}
	result.Position = l.progress.Position.String()
	result.Transactions, result.Rows = l.stats.transactions.Load(), l.stats.rows.Load()
	result.Incomplete = l.incompleteTables()
	if err != nil && !l.started {
		return result, err
	}
	if err != nil {
		return result, fmt.Errorf("%w; the transactions up to %s are applied, and the directory "+
			"is not empty any more", err, placeOf(&l.progress.Position))
	}
	return result, nil
}

// replayFiles runs a loop over the stretch of a FileReplay. It returns the loop after its end.
func (p *Pipeline) replayFiles(
	ctx context.Context, r *FileReplay, state sink.State,
) (*loop, error) {
	src := r.source
	l := p.newLoop(src)
	l.isOffline, l.schemaDump, l.from = true, r.options.Schema, r.stretch.Start.String()
	if err := l.decideStart(ctx, state, progress{}); err != nil {
		return nil, err
	}
	if err := l.checkForeignKeys(ctx, foreignKeyCheck{atStart: true}); err != nil {
		return nil, err
	}
	stream, err := src.OpenStream(ctx, l.streamStart())
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }()
	l.stream, l.tables.position = stream, stream.Position
	l.tables.prepared.readBlock = l.blockReader(ctx)
	l.followed = func() error { return l.findAllPrepared(ctx) }
	defer l.jobs.Close()
	err = l.run(ctx)
	if located := p.config.Locate(err); located != nil {
		err = located
	}
	if flushed := l.applyWhole(ctx, err); flushed != nil {
		return l, flushed
	}
	switch broken := r.stretch.Broken; {
	case !errors.Is(err, files.ErrEnd):
		return l, err
	case broken != nil:
		return l, broken
	}
	return l, nil
}

// applyWhole applies the whole transactions that are in the unit when the stream has ended with
// cause.
func (l *loop) applyWhole(ctx context.Context, cause error) error {
	if !l.started {
		return nil
	}
	// After an interrupt, too, the transactions that were read are applied.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	if errors.Is(cause, files.ErrEnd) && (!l.unit.IsEmpty() || l.positionDirty) {
		return l.flush(ctx)
	}
	return l.flushCommitted(ctx)
}

// incompleteTables returns the tables in quarantine, and those with a job, which needs a server.
func (l *loop) incompleteTables() (list []TableFault) {
	for _, name := range l.tables.names() {
		switch t := l.tables.all[name]; {
		case t.Fault != nil:
			list = append(list, TableFault{
				name, "in quarantine: " + t.Fault.Reason,
				t.Fault.Position,
			})
		case !t.Job.Done && !t.Job.Skipped:
			list = append(list, TableFault{Table: name, Reason: t.Job.Reason})
		case t.Job.Again != "":
			list = append(list, TableFault{Table: name, Reason: t.Job.Again})
		}
	}
	return list
}
