package pipelines

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"rowfall/binlog"
	"rowfall/replication"
	"rowfall/replication/resp"
	"rowfall/sink"
)

// Commands implements the command ROWFALL and the INFO section of a node. It reads the node's data,
// so it works on replicas too. For a pipeline of this process, STATUS and INFO add its Stats.
type Commands struct {
	node     func() *replication.Node
	pipeline *Pipeline // nil if there is none; set before the node runs
}

// NewCommands returns the commands of the node that node returns. node is called at each use,
// because the commands are needed to open the node.
func NewCommands(node func() *replication.Node) *Commands { return &Commands{node: node} }

// Handlers returns the commands by name, for replication.Config.
func (c *Commands) Handlers() map[string]replication.Handler {
	return map[string]replication.Handler{"ROWFALL": c.rowfall}
}

// rowfall appends the reply to a ROWFALL command.
func (c *Commands) rowfall(ctx context.Context, dst []byte, proto int, args [][]byte) []byte {
	if len(args) < 2 {
		return resp.AppendError(dst, "ERR wrong number of arguments for 'rowfall' command")
	}
	switch sub := strings.ToUpper(string(args[1])); sub {
	case "POSITION":
		return c.position(dst, proto, args[2:])
	case "WAIT":
		return c.wait(ctx, dst, args[2:])
	case "STATUS":
		return resp.AppendBulk(dst, c.Info(nil))
	case "HELP":
		help := []string{
			"ROWFALL POSITION [pipeline] -- where the data of this node stands",
			"ROWFALL WAIT gtid timeout-ms [table] -- wait until this node holds a GTID set: " +
				"1, or 0 when the time is over",
			"ROWFALL STATUS -- the pipelines of this node and how they fare, as text",
		}
		dst = resp.AppendArray(dst, len(help))
		for _, line := range help {
			dst = resp.AppendSimple(dst, line)
		}
		return dst
	default:
		return resp.AppendError(dst,
			fmt.Sprintf("ERR unknown subcommand '%.64s'. Try ROWFALL HELP.", args[1]))
	}
}

// positions returns the names of the pipelines whose data the node holds, and their position
// hashes.
func (c *Commands) positions() (names []string, fields map[string]map[string]string) {
	fields = sink.Positions(c.node().Keyspace())
	return slices.Sorted(maps.Keys(fields)), fields
}

// positionFields are the fields of a position hash, in the order of replies.
var positionFields = []string{
	"gtid", "file", "offset", "server", "time", "state", "rebuilding", "partial", "row",
}

func (c *Commands) position(dst []byte, proto int, args [][]byte) []byte {
	names, all := c.positions()
	if len(args) > 1 {
		return resp.AppendError(dst, "ERR wrong number of arguments for 'rowfall|position' command")
	}
	if len(args) == 1 {
		f, ok := all[string(args[0])]
		if !ok {
			return resp.AppendError(dst,
				fmt.Sprintf("ERR this node holds no pipeline '%.64s'", args[0]))
		}
		return appendPosition(dst, proto, f)
	}
	dst = resp.AppendMap(dst, proto, len(names))
	for _, name := range names {
		dst = resp.AppendBulkString(dst, name)
		dst = appendPosition(dst, proto, all[name])
	}
	return dst
}

func appendPosition(dst []byte, proto int, f map[string]string) []byte {
	n := 0
	for _, name := range positionFields {
		if _, ok := f[name]; ok {
			n++
		}
	}
	dst = resp.AppendMap(dst, proto, n)
	for _, name := range positionFields {
		if v, ok := f[name]; ok {
			dst = resp.AppendBulkString(dst, name)
			dst = resp.AppendBulkString(dst, v)
		}
	}
	return dst
}

// maxWait is the longest time of ROWFALL WAIT.
const maxWait = 24 * time.Hour

// wait implements ROWFALL WAIT. It replies 1 once a pipeline's data on this node are streaming and
// include the GTID set, and 0 after the timeout. If a table is given, it must not be under rebuild.
func (c *Commands) wait(ctx context.Context, dst []byte, args [][]byte) []byte {
	if len(args) < 2 || len(args) > 3 {
		return resp.AppendError(dst, "ERR wrong number of arguments for 'rowfall|wait' command")
	}
	set, err := binlog.ParseGTIDSet(string(args[0]))
	if err != nil || set.IsZero() {
		return resp.AppendError(dst, "ERR gtid is not a GTID set")
	}
	ms, err := strconv.ParseInt(string(args[1]), 10, 64)
	if err != nil || ms < 0 {
		return resp.AppendError(dst, "ERR timeout is not an integer or out of range")
	}
	table := ""
	if len(args) == 3 {
		table = string(args[2])
	}
	limit := maxWait
	if ms > 0 {
		limit = min(limit, time.Duration(min(ms, maxWait.Milliseconds()))*time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		published := c.node().Published()
		if c.includes(&set, table) {
			return resp.AppendInt(dst, 1)
		}
		select {
		case <-ctx.Done():
			return resp.AppendInt(dst, 0)
		case <-published:
		}
	}
}

// includes reports whether a pipeline's data are streaming and include the GTID set.
func (c *Commands) includes(set *binlog.GTIDSet, table string) bool {
	_, all := c.positions()
	for _, f := range all {
		p, err := sink.ParseProgress(f)
		if err != nil || p.Phase != sink.Streaming || p.Partial > 0 {
			continue
		}
		if table != "" && slices.Contains(strings.Split(f["rebuilding"], ","), table) {
			continue
		}
		at, err := ParsePosition(p.Position)
		if err == nil && at.GTID.Contains(*set) {
			return true
		}
	}
	return false
}

// Complete reports whether the node holds data without an unfinished initial load.
func (c *Commands) Complete() bool {
	_, all := c.positions()
	for _, f := range all {
		if f["state"] == sink.Snapshot.String() {
			return false
		}
	}
	return len(all) > 0 || c.node().Keyspace().Len() > 0
}
