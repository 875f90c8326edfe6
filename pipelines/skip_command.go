package pipelines

import (
	"context"
	"fmt"
	"strings"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/pipelines/file"
	"rowfall/replication/resp"
	"rowfall/sink"
)

// skip implements ROWFALL SKIP: the reply is OK once the request is stored.
func (c *Commands) skip(ctx context.Context, dst []byte, args [][]byte) []byte {
	if c.pipeline == nil {
		return resp.AppendError(dst, "ERR no pipeline runs on this node; "+
			"send the command to the master")
	}
	table := ""
	switch len(args) {
	case 1:
	case 2:
		table = string(args[1])
	default:
		return resp.AppendError(dst, "ERR wrong number of arguments for 'rowfall|skip' command")
	}
	if err := c.pipeline.Skip(ctx, string(args[0]), table); err != nil {
		return resp.AppendError(dst, "ERR "+strings.Join(strings.Fields(err.Error()), " "))
	}
	return resp.AppendSimple(dst, "OK")
}

// SkipStopped stores a request to skip a transaction in the directory of a pipeline that no process
// runs. at and table are as in Pipeline.Skip. SkipStopped locks the directory meanwhile.
func SkipStopped(
	ctx context.Context, c file.Config, at, table string, log zerolog.Logger,
) (err error) {
	id, err := binlog.ParseTransactionID(at)
	if err != nil {
		return err
	}
	node := c.Sink.Node
	node.Listen = "127.0.0.1:0" // no client needs the node
	n, _, err := OpenNode(node, log)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	to := sink.NewNode(n, c.Name)
	if writable, _ := to.Writable(); !writable {
		_ = n.Close()
		return fmt.Errorf("%s: the node is a replica, whose data come from its upstream; "+
			"skip the transaction on the master", c.Path)
	}
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	defer func() {
		_ = n.Close()
		if closed := <-ended; err == nil && closed != nil {
			err = fmt.Errorf("close the node: %w", closed)
		}
	}()
	p := New(c, to, "", log)
	state, err := to.Load(ctx)
	if err != nil {
		return err
	}
	stored, err := parseProgress(c.Name, &state.Progress)
	if err != nil {
		return err
	}
	return p.storeSkip(ctx, &skipCall{at: id, table: table}, &state, &stored)
}
