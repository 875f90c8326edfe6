package query

import (
	"context"
	"fmt"
	"slices"

	"rowfall/binlog/mysql"
)

// Problem is a reason why a server cannot be followed.
type Problem struct {
	// What describes the problem, Remedy what to do: one sentence each, without a full stop.
	What, Remedy string
}

// String returns both sentences as one.
func (p Problem) String() string { return p.What + ": " + p.Remedy }

// codeDenied is the error number of a statement that lacks a privilege.
const codeDenied = mysql.CodeNoPrivilege

// Check returns the Problems that prevent following the server: its binlog settings, the user's
// privileges, and SELECT on all tables of the patterns, which binlog.ParseTablePattern reads. The
// error is about the connection, or about a pattern. FormatWarnings is about the format of the
// events, which sessions can set.
func Check(ctx context.Context, c *mysql.Conn, patterns ...string) ([]Problem, error) {
	problems := checkSettings(c.Server())
	checks := []func(context.Context, *mysql.Conn) ([]Problem, error){
		checkStatus, checkDump, checkReplica,
	}
	for _, check := range checks {
		found, err := check(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("check server: %w", err)
		}
		problems = append(problems, found...)
	}
	found, err := CheckSelect(ctx, c, patterns...)
	if err != nil {
		return nil, err
	}
	problems = append(problems, found...)
	return problems, nil
}

// checkSettings checks the server's variables.
func checkSettings(s mysql.Server) []Problem {
	var p []Problem
	if !s.LogBin {
		p = append(p, Problem{
			"log_bin is OFF, so there is nothing to follow", "start the server with --log-bin",
		})
	}
	if s.LogBin && s.BinlogEngine != "" {
		p = append(p, Problem{
			"the server writes MariaDB's InnoDB-based binary log (binlog_storage_engine is " +
				s.BinlogEngine + "), which is not supported yet",
			"restart the server without binlog_storage_engine, so that it writes an ordinary " +
				"binlog, or follow a replica that does so and has log_slave_updates",
		})
	}
	if s.ServerID == 0 {
		p = append(p, Problem{
			"server_id is 0, and such a server serves no replica",
			"SET GLOBAL server_id = 1 (any number of its own)",
		})
	}
	return p
}

// statusStatement returns the statement that reads the end of a server's binlog.
func statusStatement(s mysql.Server) string {
	if s.Flavor == mysql.MySQL && s.AtLeast(8, 2, 0) {
		return "SHOW BINARY LOG STATUS"
	}
	return "SHOW MASTER STATUS"
}

// checkStatus runs the statement that reads the binlog's end.
func checkStatus(ctx context.Context, c *mysql.Conn) ([]Problem, error) {
	s := c.Server()
	if !s.LogBin {
		return nil, nil
	}
	err := c.Exec(ctx, statusStatement(s))
	if !mysql.IsCode(err, codeDenied) {
		return nil, err
	}
	privilege := "REPLICATION CLIENT"
	if s.Flavor == mysql.MariaDB && s.AtLeast(10, 5, 2) {
		privilege = "BINLOG MONITOR"
	}
	user, err := account(ctx, c)
	return []Problem{{
		"the user may not read the binlog's position", "GRANT " + privilege + " ON *.* TO " + user,
	}}, err
}

// checkDump checks the privilege to follow the binlog. On MySQL it runs a statement that needs the
// same privilege, which also takes roles into account. MariaDB has no such statement, so its grants
// are read.
func checkDump(ctx context.Context, c *mysql.Conn) ([]Problem, error) {
	allowed := false
	if s := c.Server(); s.Flavor == mysql.MySQL {
		sql := "SHOW SLAVE HOSTS"
		if s.AtLeast(8, 0, 22) {
			sql = "SHOW REPLICAS"
		}
		err := c.Exec(ctx, sql)
		if err != nil && !mysql.IsCode(err, codeDenied) {
			return nil, err
		}
		allowed = err == nil
	} else {
		grants, err := readGrants(ctx, c)
		if err != nil {
			return nil, err
		}
		allowed = slices.ContainsFunc(grants, mayFollow)
	}
	if allowed {
		return nil, nil
	}
	user, err := account(ctx, c)
	return []Problem{{
		"the user may not follow the binlog", "GRANT REPLICATION SLAVE ON *.* TO " + user,
	}}, err
}

// mayFollow reports whether a grant allows following the binlog.
func mayFollow(g grant) bool {
	return !g.revoked && g.database == "*" && g.has("REPLICATION SLAVE")
}

// checkReplica detects a replica whose own binlog lacks what it replicates. Without the privilege
// to read the replica's status, nothing is reported (see unknownReplica).
func checkReplica(ctx context.Context, c *mysql.Conn) ([]Problem, error) {
	s := c.Server()
	if s.LogReplicaUpdates || !s.LogBin {
		return nil, nil
	}
	r, err := c.Query(ctx, replicaStatusStatement(s))
	if mysql.IsCode(err, codeDenied) {
		return nil, nil
	}
	if err != nil || len(r.Rows) == 0 {
		return nil, err
	}
	return []Problem{{
		"log_replica_updates is OFF, so this replica's binlog lacks what it replicates",
		"start the server with --log-replica-updates (--log-slave-updates on MariaDB), " +
			"or follow its source",
	}}, nil
}

// replicaStatusStatement returns the statement that describes what a server replicates.
func replicaStatusStatement(s mysql.Server) string {
	if s.Flavor == mysql.MySQL && s.AtLeast(8, 0, 22) {
		return "SHOW REPLICA STATUS"
	}
	return "SHOW SLAVE STATUS"
}
