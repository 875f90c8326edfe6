package pipelines

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"rowfall/pipelines/source"
	"rowfall/sink"
)

// This file builds all data anew while the sink serves the old data, for --from snapshot --replace.
// The replacement is a second sink, which a loop fills by an initial load. When every table is
// complete, the replacement takes the place of the served data, and the next run continues with the
// new data as after a restart.

// errReplacementComplete ends the run of a replacement whose tables are all complete.
var errReplacementComplete = errors.New("the replacement is complete")

// staleReplacementError is the reason why a replacement cannot be continued. No client reads a
// replacement before its installation, so it is discarded, and a new one begins.
type staleReplacementError struct{ err error }

func (e *staleReplacementError) Error() string { return e.err.Error() }
func (e *staleReplacementError) Unwrap() error { return e.err }

// target returns the sink to which a run writes: the replacement, if one is being built.
func (p *Pipeline) target() Sink {
	if r := p.replacement.Load(); r != nil {
		return r
	}
	return p.sink
}

// replace begins or continues a replacement, and installs it. replace returns nil when the sink
// serves the new data.
func (p *Pipeline) replace(ctx context.Context) error {
	replacer, ok := p.sink.(sink.Replacer)
	if !ok {
		return stop("--from %s: this kind of sink cannot hold new data while it serves "+
			"the old data; empty it, and start without --from", p.from)
	}
	src, err := p.openMySQL(ctx, p.config.Source.MySQL.Addresses)
	if err != nil {
		return err
	}
	defer src.Close()
	return p.replaceFrom(ctx, replacer, src)
}

// replaceFrom is the part of replace that needs the open source.
func (p *Pipeline) replaceFrom(
	ctx context.Context, replacer sink.Replacer, src source.Source,
) error {
	r, state, stored, err := p.openReplacement(ctx, replacer)
	if err != nil {
		return err
	}
	p.replacement.Store(r)
	defer p.replacement.Store(nil)
	p.stats.beginReplacement()
	err = p.runSource(ctx, src, state, stored)
	if !errors.Is(err, errReplacementComplete) {
		return p.failedReplacement(ctx, replacer, src, &stored, err)
	}
	p.log.Info().Msg("the replacement is complete; it takes the place of the old data")
	p.stats.installing.Store(true)
	defer p.stats.installing.Store(false)
	if err := r.Install(ctx); err != nil {
		return fmt.Errorf("replace the data: %w", err)
	}
	p.from, p.schemaDump = "", ""
	p.stats.endReplacement()
	debug.FreeOSMemory() // the memory of the old data, which may be half of what the process has
	p.log.Info().Msg("the old data were replaced")
	return nil
}

// openReplacement opens the replacement, and loads its state. A replacement that this pipeline file
// cannot continue is discarded, and a new one begins.
func (p *Pipeline) openReplacement(
	ctx context.Context, replacer sink.Replacer,
) (r *sink.Replacement, state sink.State, stored progress, err error) {
	continued := replacer.HasReplacement()
	if r, err = replacer.OpenReplacement(ctx); err != nil {
		return nil, state, stored, err
	}
	if state, err = r.Load(ctx); err == nil {
		stored, err = parseProgress(p.config.Name, &state.Progress)
	}
	switch {
	case errors.Is(err, sink.ErrDemoted):
		return nil, state, stored, err
	case err == nil && state.Foreign:
		err = errors.New("the replacement belongs to another pipeline")
	case err == nil && state.Phase != sink.Empty:
		err = checkMapping(&p.config, state.Pieces)
	}
	if err == nil {
		if continued || state.Phase != sink.Empty {
			p.log.Info().Stringer("position", stored.Position).
				Msg("building the unfinished replacement continues")
		} else {
			p.log.Warn().Msg("a replacement of all data is built while the old data serve " +
				"unchanged; both are in memory; when the replacement is complete, every " +
				"replica gets a full resync: " + StockReplicas)
		}
		return r, state, stored, nil
	}
	p.log.Warn().Err(err).
		Msg("the unfinished replacement cannot be continued; it is discarded, and a new one begins")
	if _, err := replacer.DiscardReplacement(); err != nil {
		return nil, state, stored, err
	}
	r, err = replacer.OpenReplacement(ctx)
	if err != nil {
		return nil, state, stored, err
	}
	state, err = r.Load(ctx)
	return r, state, progress{}, err
}

// StockReplicas tells users what Redis and Valkey replicas do while all data are replaced.
const StockReplicas = "stock replicas without `repl-diskless-load swapdb` are empty while they " +
	"load the new data; those with that setting reply LOADING meanwhile"

// failedReplacement returns the error of a run that did not complete the replacement. If the source
// has another history now, or has purged the binlog that the replacement needs, failedReplacement
// discards the replacement.
func (p *Pipeline) failedReplacement(
	ctx context.Context, replacer sink.Replacer, src source.Source, stored *progress, err error,
) error {
	if ctx.Err() != nil || stored.Phase == sink.Empty {
		return err
	}
	reason, again, checked := p.sourceLost(ctx, src, stored, err)
	if checked != nil {
		return checked
	}
	if errors.As(err, new(*staleReplacementError)) {
		reason, again = "the replacement does not fit the source or this version", true
	}
	if reason == "" {
		return err
	}
	if _, fault := replacer.DiscardReplacement(); fault != nil {
		return fault
	}
	p.log.Warn().Err(err).Str("reason", reason).Msg("the replacement was discarded")
	if !again {
		p.from = ""
		p.stats.endReplacement()
		return stop("%w; the replacement was discarded and the old data serve; "+
			"start again with --from snapshot --replace", err)
	}
	return fmt.Errorf("%s, and a new replacement begins: %s", reason, err.Error())
}

// finishReplacement ends the run when every table of the replacement is complete. A table in
// quarantine is not complete: its keys would be missing after the installation.
func (l *loop) finishReplacement(ctx context.Context) error {
	if !l.replaces || l.progress.Phase != sink.Streaming || l.jobs.IsReadingTables() {
		return nil
	}
	for _, t := range l.tables.all {
		if !t.isComplete() {
			return nil
		}
	}
	if !l.unit.IsEmpty() || l.positionDirty {
		if err := l.flush(ctx); err != nil {
			return err
		}
	}
	return errReplacementComplete
}

// isComplete reports whether the sink has all rows of the table, and no keys of its former
// definitions.
func (t *mappedTable) isComplete() bool {
	return t.Fault == nil && len(t.former) == 0 && !t.Job.Cancelled &&
		(t.Job.Done || t.Job.Skipped)
}

// discardReplacement removes an unfinished replacement of an earlier run. It is called when the
// pipeline follows its source with the old data, and when the node is a replica.
func (p *Pipeline) discardReplacement() error {
	p.stats.endReplacement()
	replacer, ok := p.sink.(sink.Replacer)
	if !ok {
		return nil
	}
	existed, err := replacer.DiscardReplacement()
	if err != nil {
		return err
	}
	if existed {
		p.log.Warn().Msg("an unfinished replacement of all data was discarded, and the old " +
			"data stay; to replace them, start with --from snapshot --replace")
	}
	return nil
}

// withReplacement adds to a StopError that there is an unfinished replacement.
func (p *Pipeline) withReplacement(err error) error {
	replacer, ok := p.sink.(sink.Replacer)
	if !ok || p.from == FromReplace || !errors.As(err, new(*StopError)) ||
		!replacer.HasReplacement() {
		return err
	}
	return stop("%w; there is an unfinished replacement of all data, which "+
		"--from snapshot --replace continues", err)
}

var _ Sink = (*sink.Replacement)(nil)
