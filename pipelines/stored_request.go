package pipelines

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"rowfall/pipelines/file"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
)

// StoreBackfill stores a request to read a table again in the directory of a pipeline that does not
// run. The next run starts the job. An empty condition selects every row. StoreBackfill returns the
// number of the job.
func StoreBackfill(
	ctx context.Context, c file.Config, table, condition string, log zerolog.Logger,
) (id int, err error) {
	node, _, err := OpenNode(c.Sink.Node, log)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", c.Path, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }()
	defer func() {
		cancel()
		if closing := <-ended; err == nil && closing != nil {
			err = fmt.Errorf("close the node of %s: %w", c.Path, closing)
		}
	}()
	to := sink.NewNode(node, c.Name)
	state, err := to.Load(ctx)
	switch {
	case errors.Is(err, sink.ErrDemoted):
		return 0, fmt.Errorf("%s: the node is a replica; start the job on the master", c.Path)
	case err != nil:
		return 0, err
	case state.Phase == sink.Empty:
		return 0, fmt.Errorf("%s: the directory holds no data of pipeline %s, so the next run "+
			"reads every table", c.Path, c.Name)
	}
	if err := checkMapping(&c, state.Pieces); err != nil {
		return 0, err
	}
	// A loop that does not run: it loads the tables and assigns the number of the job.
	p := New(c, to, "", log)
	l := &loop{config: &p.config, stats: &p.stats, log: log, tables: newTableSet(&p.config.Mapping)}
	if err := l.tables.load(state.Pieces); err != nil {
		return 0, err
	}
	l.countJobs(l.tables)
	t, err := l.tables.named(table)
	if err != nil {
		return 0, err
	}
	request := &tablestate.Search{Table: table, Reason: "backfill"}
	if condition != "" {
		if t.Schema == nil {
			return 0, fmt.Errorf("the columns of %s are not known; read the whole table", table)
		}
		if err := p.tryCondition(ctx, t.Schema, condition); err != nil {
			return 0, err
		}
		request = conditionRequest(table, condition)
	}
	if id, err = l.addSearch(request); err != nil {
		return 0, err
	}
	l.unit.Progress = state.Progress
	return id, to.Apply(ctx, &l.unit)
}
