package pipelines

import (
	"cmp"
	"context"
	"encoding/json"
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
	pipeline *Pipeline // nil on a node without a pipeline; set before the node runs
}

// NewCommands returns the commands of the node that node returns. node is called at each use,
// because the commands are needed to open the node.
func NewCommands(node func() *replication.Node) *Commands { return &Commands{node: node} }

// Handlers returns the commands by name, for replication.Config.
func (c *Commands) Handlers() map[string]replication.Handler {
	return map[string]replication.Handler{"ROWFALL": c.rowfall}
}

// AdminSubcommands returns the subcommands of Handlers that change data, for replication.Config.
func (c *Commands) AdminSubcommands() map[string][]string {
	return map[string][]string{
		"ROWFALL": {"BACKFILL", "REPLAY", "CONFIRM", "CANCEL", "DEADLETTERS", "SKIP"},
	}
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
		return c.status(dst, args[2:])
	case "SKIP":
		return c.skip(ctx, dst, args[2:])
	case "DEADLETTERS":
		return c.deadLetters(ctx, dst, args[2:])
	case "BACKFILL", "REPLAY", "CONFIRM", "CANCEL", "JOBS":
		return c.jobCommand(ctx, dst, sub, args[2:])
	case "HELP":
		help := []string{
			"ROWFALL BACKFILL database.table -- read a table of the running pipeline again, " +
				"which also ends its quarantine: the number of the job",
			"ROWFALL BACKFILL database.table WHERE sql -- read again the rows that match an SQL " +
				"expression over the table's columns: the number of the job",
			"ROWFALL REPLAY from [to] -- read again the rows that the binlog between two " +
				"positions has changed: the number of the job",
			"ROWFALL JOBS -- the jobs that are not done: for each its number, table, state, " +
				"rows read, estimate, keys without a row, keys checked, and reason",
			"ROWFALL CONFIRM job -- let a job remove more than half of a table's keys",
			"ROWFALL CANCEL job -- end a job",
			"ROWFALL DEADLETTERS [LIST | SHOW id] -- the rows of which a change could not be " +
				"applied: for each its number, table, key, time, position, and reason",
			"ROWFALL DEADLETTERS RETRY [id] -- read these rows again: the number of rows",
			"ROWFALL DEADLETTERS DROP id -- forget a dead letter; its row stays as it is",
			"ROWFALL POSITION [pipeline] -- the position of this node's data",
			"ROWFALL WAIT gtid timeout-ms [table] -- wait until this node holds a GTID set: " +
				"1, or 0 on timeout",
			"ROWFALL SKIP position [database.table ...] -- leave out a transaction that cannot " +
				"be applied, or its changes of some tables, which makes a gap",
			"ROWFALL STATUS [JSON] -- the state of each pipeline of this node, as text or JSON",
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
	"gtid", "file", "offset", "server", "time", "state", "rebuilding", "quarantined", "gaps",
	"partial", "row",
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

// wait implements ROWFALL WAIT. It replies 1 once a pipeline's data on this node include the GTID
// set and are complete, and 0 after the timeout. If a table is given, only that table must be
// complete. The reply is an error at once if the given table is in quarantine or not mapped, or,
// without a table, if any table is in quarantine.
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
		included, fault := c.includes(&set, table)
		switch {
		case fault != "":
			return resp.AppendError(dst, fault)
		case included:
			return resp.AppendInt(dst, 1)
		}
		select {
		case <-ctx.Done():
			return resp.AppendInt(dst, 0)
		case <-published:
		}
	}
}

// includes reports whether a pipeline's data include the GTID set and are complete; with a table,
// only that table must be complete. fault is the error reply if waiting is useless: a table is in
// quarantine, or the given table is not mapped.
func (c *Commands) includes(set *binlog.GTIDSet, table string) (ok bool, fault string) {
	names, all := c.positions()
	data := dataTable{table, func(pipeline, name string) ([]byte, bool) {
		return sink.Piece(c.node().Keyspace(), pipeline, name)
	}}
	isMissing, reason := len(names) > 0, ""
	for _, name := range names {
		f := all[name]
		p, err := sink.ParseProgress(f)
		if err != nil {
			isMissing = false
			continue
		}
		for _, name := range listed(p.Quarantined) {
			if table == "" || table == name {
				return false, "QUARANTINED " + name + " " + c.reasonOf(name)
			}
		}
		at, err := ParsePosition(p.Position)
		isIncluded := p.Partial == 0 && err == nil && at.GTID.Contains(*set)
		if table != "" && !data.isIn(name) {
			// A table that a statement in the set has created is in the data that hold the set.
			isMissing = isMissing && (isIncluded || !data.mayComeTo(name))
			reason = cmp.Or(reason, data.notMapped(name))
			continue
		}
		isMissing = false
		rebuilding := listed(p.Rebuilding)
		isComplete := len(rebuilding) == 0 && p.Phase == sink.Streaming
		if table != "" {
			isComplete = !slices.Contains(rebuilding, table) &&
				(p.Phase == sink.Streaming || p.Phase == sink.Rebuilding)
		}
		if isComplete && isIncluded {
			return true, ""
		}
	}
	if table != "" && isMissing {
		fault = fmt.Sprintf("ERR table %.200q is not mapped", table)
		if reason != "" {
			fault += ": " + reason
		}
	}
	return false, fault
}

// listed returns the names in a field that is a JSON array.
func listed(text string) []string {
	if text == "" {
		return nil
	}
	var names []string
	if json.Unmarshal([]byte(text), &names) != nil {
		return strings.Split(text, ",") // as the first versions would have written it
	}
	return names
}

// reasonOf returns why a table is in quarantine, if the pipeline runs in this process.
func (c *Commands) reasonOf(table string) string {
	if c.pipeline != nil {
		for _, f := range c.pipeline.Stats().Quarantined {
			if f.Table == table {
				return strings.Join(strings.Fields(f.Reason), " ")
			}
		}
	}
	return "its changes are not applied; the log of the pipeline has the reason"
}

// jobCommand implements the subcommands about jobs. They need the pipeline's process.
func (c *Commands) jobCommand(
	ctx context.Context, dst []byte, sub string, args [][]byte,
) []byte {
	if c.pipeline == nil {
		return resp.AppendError(dst, "ERR no pipeline runs on this node; "+
			"send the command to the master")
	}
	least, most := 1, 1
	switch sub {
	case "JOBS":
		least, most = 0, 0
	case "BACKFILL":
		most = 3
	case "REPLAY":
		most = 2
	}
	isWhere := sub == "BACKFILL" && len(args) == 3 && strings.EqualFold(string(args[1]), "WHERE")
	if len(args) < least || len(args) > most || sub == "BACKFILL" && len(args) > 1 && !isWhere {
		return resp.AppendError(dst, fmt.Sprintf(
			"ERR wrong number of arguments for 'rowfall|%s' command", strings.ToLower(sub)))
	}
	if sub == "JOBS" && c.pipeline.stats.jobs.Load() == nil {
		return resp.AppendError(dst, "ERR the jobs are not known until the pipeline streams; "+
			"`rowfall status "+c.pipeline.config.Path+"` shows why it does not")
	}
	if sub == "JOBS" {
		return appendJobs(dst, c.pipeline.Stats().Jobs)
	}
	var id int
	var err error
	if isWhere {
		id, err = c.pipeline.BackfillWhere(ctx, string(args[0]), string(args[2]))
	} else if sub == "BACKFILL" {
		id, err = c.pipeline.Backfill(ctx, string(args[0]))
	} else if sub == "REPLAY" {
		to := ""
		if len(args) == 2 {
			to = string(args[1])
		}
		id, err = c.pipeline.Replay(ctx, string(args[0]), to)
	} else if id, err = strconv.Atoi(string(args[0])); err != nil {
		return resp.AppendError(dst, "ERR the number of a job is not an integer")
	} else if sub == "CONFIRM" {
		err = c.pipeline.ConfirmJob(ctx, id)
	} else {
		err = c.pipeline.CancelJob(ctx, id)
	}
	if err != nil {
		return resp.AppendError(dst, "ERR "+strings.Join(strings.Fields(err.Error()), " "))
	}
	return resp.AppendInt(dst, int64(id))
}

// appendJobs appends an array of jobs, each an array of texts and integers.
func appendJobs(dst []byte, list []Job) []byte {
	dst = resp.AppendArray(dst, len(list))
	for i := range list {
		j := &list[i]
		dst = resp.AppendArray(dst, 8)
		dst = resp.AppendInt(dst, int64(j.ID))
		dst = resp.AppendBulkString(dst, j.Table)
		dst = resp.AppendBulkString(dst, j.State)
		for _, n := range [...]int64{j.Rows, j.Estimate, j.Stale, j.Checked} {
			dst = resp.AppendInt(dst, n)
		}
		dst = resp.AppendBulkString(dst, j.Reason)
	}
	return dst
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
