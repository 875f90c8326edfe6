package pipelines

import (
	"context"
	"errors"
	"strings"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/pipelines/file"
	"rowfall/replication/resp"
)

// skip implements ROWFALL SKIP: the reply is OK once the request is stored.
func (c *Commands) skip(ctx context.Context, dst []byte, args [][]byte) []byte {
	if c.pipeline == nil {
		return resp.AppendError(dst, "ERR no pipeline runs on this node; "+
			"send the command to the master")
	}
	if len(args) == 0 {
		return resp.AppendError(dst, "ERR wrong number of arguments for 'rowfall|skip' command")
	}
	tables := make([]string, len(args)-1)
	for i := range tables {
		tables[i] = string(args[i+1])
	}
	if err := c.pipeline.Skip(ctx, string(args[0]), tables); err != nil {
		return resp.AppendError(dst, "ERR "+strings.Join(strings.Fields(err.Error()), " "))
	}
	return resp.AppendSimple(dst, "OK")
}

// SkipStopped stores a request to skip a transaction in the directory of a pipeline that no process
// runs. at and tables are as in Pipeline.Skip. SkipStopped locks the directory meanwhile.
func SkipStopped(
	ctx context.Context, c file.Config, at string, tables []string, log zerolog.Logger,
) (err error) {
	id, err := binlog.ParseTransactionID(at)
	if err != nil {
		return err
	}
	s, err := OpenStopped(c, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.start(ctx, "skip the transaction"); err != nil {
		return err
	}
	state, err := s.sink.Load(ctx)
	if err != nil {
		return err
	}
	stored, err := parseProgress(c.Name, &state.Progress)
	if err != nil {
		return err
	}
	return s.pipeline.storeSkip(ctx, &skipCall{at: id, tables: tables}, &state, &stored)
}
