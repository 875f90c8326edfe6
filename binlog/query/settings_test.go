package query

import (
	"strings"
	"testing"

	"rowfall/binlog/mysql"
)

// MariaDB 12.3 can write its binlog into InnoDB's pages. Such a server is rejected by name, and the
// reason is the first of several problems.
func TestCheckSettings(t *testing.T) {
	server := mysql.Server{
		Flavor: mysql.MariaDB, LogBin: true, RowFormat: "ROW", RowImage: "FULL", ServerID: 1,
	}
	if p := checkSettings(server); len(p) > 0 {
		t.Errorf("problems are %v", p)
	}
	server.BinlogEngine, server.ServerID = "innodb", 0
	p := checkSettings(server)
	if len(p) != 2 || !strings.Contains(p[0].What, "InnoDB-based binary log") ||
		!strings.Contains(p[0].Remedy, "without binlog_storage_engine") {
		t.Errorf("problems are %v", p)
	}
	source := server
	source.BinlogEngine, source.GTIDMode = "", true
	server.GTIDMode, server.LogReplicaUpdates = true, true
	if reason := unfitSettings(server, source); !strings.Contains(reason, "InnoDB-based") {
		t.Errorf("as a replica: %q", reason)
	}
	if reason := unfitSettings(source, source); reason != "" {
		t.Errorf("as its own replica: %q", reason)
	}
	server.LogBin = false
	if p := checkSettings(server); len(p) != 2 || !strings.Contains(p[0].What, "log_bin is OFF") {
		t.Errorf("without a binlog, problems are %v", p)
	}
}
