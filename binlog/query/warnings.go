package query

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"rowfall/binlog/mysql"
)

// leastRetention is the retention of the binlog below which Warnings has a warning.
const leastRetention = 24 * time.Hour

// Warnings returns settings of the server that can cost data or time later. The server can be
// followed nevertheless.
func Warnings(ctx context.Context, c *mysql.Conn) ([]Problem, error) {
	r, err := c.Query(ctx, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('sync_binlog',"+
		"'binlog_expire_logs_seconds','expire_logs_days','binlog_expire_logs_auto_purge',"+
		"'binlog_format','binlog_row_image')")
	if err != nil {
		return nil, fmt.Errorf("read settings of the server: %w", err)
	}
	variables := make(map[string]string, len(r.Rows))
	for _, row := range r.Rows {
		variables[strings.ToLower(string(row[0]))] = string(row[1])
	}
	server := c.Server() // the values at the time of the connect
	server.RowFormat = strings.ToUpper(variables["binlog_format"])
	server.RowImage = strings.ToUpper(variables["binlog_row_image"])
	warnings := slices.Concat(FormatWarnings(server), retentionWarnings(variables),
		durabilityWarnings(variables))
	filter, err := ReadBinlogFilter(ctx, c)
	if err != nil {
		return nil, err
	}
	warnings = append(warnings, filter.warnings()...)
	unknown, err := unknownReplica(ctx, c)
	return append(warnings, unknown...), err
}

// retentionWarnings warns of a server that purges its binlog early. 0 means never, in each of the
// variables. A server with both uses the seconds, if they are not 0.
func retentionWarnings(variables map[string]string) []Problem {
	name, unit := "binlog_expire_logs_seconds", time.Second
	value, err := strconv.ParseFloat(variables[name], 64)
	if err != nil || value == 0 {
		name, unit = "expire_logs_days", 24*time.Hour
		value, err = strconv.ParseFloat(variables[name], 64)
	}
	retention := time.Duration(value * float64(unit))
	if err != nil || retention <= 0 || retention >= leastRetention ||
		strings.EqualFold(variables["binlog_expire_logs_auto_purge"], "OFF") {
		return nil
	}
	return []Problem{{
		fmt.Sprintf("%s is %s, so the server purges its binlog after %v", name, variables[name],
			retention),
		fmt.Sprintf("a pipeline that is away for longer must read every table again; "+
			"for a week, SET GLOBAL %s = %d, and put it into the server's configuration", name,
			7*leastRetention/unit),
	}}
}

func durabilityWarnings(variables map[string]string) []Problem {
	value, exists := variables["sync_binlog"]
	if !exists || value == "1" {
		return nil
	}
	return []Problem{{
		"sync_binlog is " + value + ", so the server may lose the end of its binlog, which was " +
			"applied already, if its machine crashes",
		"SET GLOBAL sync_binlog = 1, and put it into the server's configuration",
	}}
}

// unknownReplica warns of a MariaDB that does not log what it replicates, if it is not known
// whether the server is a replica. Check rejects such a replica where it is known.
func unknownReplica(ctx context.Context, c *mysql.Conn) ([]Problem, error) {
	s := c.Server()
	if s.LogReplicaUpdates || !s.LogBin || s.Flavor != mysql.MariaDB {
		return nil, nil
	}
	_, err := c.Query(ctx, replicaStatusStatement(s))
	if !mysql.IsCode(err, codeDenied) {
		return nil, err
	}
	replicated, err := queryValue(ctx, c, "SELECT @@GLOBAL.gtid_slave_pos")
	if err != nil || replicated == "" {
		return nil, err
	}
	user, err := account(ctx, c)
	if err != nil {
		return nil, err
	}
	return []Problem{{
		"log_slave_updates is OFF, and the server has replicated changes, which its binlog lacks",
		"if it is still a replica, start it with --log-slave-updates; GRANT REPLICA MONITOR " +
			"ON *.* TO " + user + " lets the pipeline find out",
	}}, nil
}
