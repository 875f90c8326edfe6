package query_test

import (
	"fmt"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/internal/servers"
)

func testCheck(t *testing.T, s server) {
	root := s.dial(t)
	exec(t, root, "CREATE USER poor@'%' IDENTIFIED BY 'p'", "CREATE TABLE shop.seen (a int, b int)",
		"CREATE TABLE shop.unseen (a int)", "GRANT SELECT ON shop.seen TO poor@'%'")
	patterns := []string{"shop.seen", "shop.unseen"}
	check := func(c *mysql.Conn, want ...string) {
		t.Helper()
		p, err := query.Check(t.Context(), c, patterns...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range max(len(p), len(want)) {
			if i >= len(p) || i >= len(want) || !strings.Contains(p[i].String(), want[i]) {
				t.Errorf("problems are %q, want %q", p, want)
				return
			}
		}
	}
	check(root)
	status := "REPLICATION CLIENT"
	if s.kind.IsMariaDB() {
		status = "BINLOG MONITOR"
	}
	check(
		s.dialAs(t, "poor", "p"), "GRANT "+status+" ON *.* TO `poor`@`%`",
		"GRANT REPLICATION SLAVE ON *.* TO `poor`@`%`",
		"all of shop.unseen: GRANT SELECT ON `shop`.`unseen` TO `poor`@`%`",
	)
	exec(t, root, "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO poor@'%'")
	// A user who may read one table of a wildcard was once reported to read all of them.
	patterns = []string{"shop.*", "shop.seen"}
	check(s.dialAs(t, "poor", "p"), "all of shop.*: GRANT SELECT ON `shop`.* TO `poor`@`%`")
	// Some columns of a table are not the table.
	exec(t, root, "REVOKE SELECT ON shop.seen FROM poor@'%'",
		"GRANT SELECT (a) ON shop.seen TO poor@'%'")
	patterns = []string{"shop.seen"}
	check(s.dialAs(t, "poor", "p"), "all of shop.seen")
	// A role counts when it is in use.
	patterns = []string{"shop.*"}
	exec(t, root, "CREATE ROLE reader", "GRANT SELECT ON shop.* TO reader",
		"GRANT reader TO poor@'%'")
	check(s.dialAs(t, "poor", "p"), "all of shop.*")
	if s.kind.IsMariaDB() {
		exec(t, root, "SET DEFAULT ROLE reader FOR poor@'%'")
	} else {
		exec(t, root, "SET DEFAULT ROLE reader TO poor@'%'")
	}
	check(s.dialAs(t, "poor", "p"))
	exec(t, root, "DROP ROLE reader", "GRANT SELECT ON shop.* TO poor@'%'")
	poor := s.dialAs(t, "poor", "p")
	check(poor)
	// The grants that Check asks for are all that reading takes.
	table, err := readTable(t, poor, "shop", "big")
	if err != nil {
		t.Fatal(err)
	}
	applied, err := query.End(t.Context(), poor)
	if err != nil {
		t.Fatal(err)
	}
	res, err := query.Read(t.Context(), poor, query.ChunkRequest{Table: table, Limit: 5}, applied,
		func(*binlog.Row) error { return nil })
	if err != nil || res.Rows != 5 {
		t.Errorf("reading with few grants: %+v, %v", res, err)
	}
	checkWarnings(t, s, poor)
	exec(t, root, "SET GLOBAL binlog_format=MIXED", "SET GLOBAL binlog_row_image=MINIMAL")
	if s.kind == servers.MySQL {
		exec(t, root, "SET GLOBAL binlog_row_value_options=PARTIAL_JSON")
	}
	c := s.dial(t)
	check(c)
	warnings := fmt.Sprint(query.FormatWarnings(c.Server()))
	want := []string{"binlog_format is MIXED", "binlog_row_image is MINIMAL", "PARTIAL_JSON"}
	if s.kind != servers.MySQL {
		want = want[:2]
	}
	for _, w := range want {
		if !strings.Contains(warnings, w) {
			t.Errorf("the warnings %s lack %q", warnings, w)
		}
	}
}

// checkWarnings changes settings that Warnings reports. The user has the privileges of the README
// and no others.
func checkWarnings(t *testing.T, s server, user *mysql.Conn) {
	root := s.dial(t)
	const seconds = 24 * 3600
	for _, test := range []struct {
		set  string
		want []string
	}{
		{fmt.Sprint("sync_binlog = 1, GLOBAL binlog_expire_logs_seconds = ", seconds), nil},
		{"binlog_expire_logs_seconds = 0", nil},
		{"sync_binlog = 1000", []string{"sync_binlog is 1000", "SET GLOBAL sync_binlog = 1"}},
		{"sync_binlog = 0", []string{"sync_binlog is 0"}},
		{
			fmt.Sprint("sync_binlog = 1, GLOBAL binlog_expire_logs_seconds = ", seconds-1),
			[]string{
				"binlog_expire_logs_seconds is 86399", "purges its binlog after 23h59m59s",
				"for a week, SET GLOBAL binlog_expire_logs_seconds = 604800, and",
			},
		},
	} {
		exec(t, root, "SET GLOBAL "+test.set)
		warnings, err := query.Warnings(t.Context(), user)
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprint(warnings)
		for _, want := range test.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the warnings are %s, want %q", test.set, text, want)
			}
		}
		if len(warnings) != min(1, len(test.want)) {
			t.Errorf("%s: the warnings are %s", test.set, text)
		}
	}
	if s.kind != servers.MariaDB {
		return
	}
	// Has the server replicated, although its binlog does not have what it replicates?
	exec(t, root, "SET GLOBAL binlog_expire_logs_seconds = 0",
		"SET GLOBAL gtid_slave_pos = '5-6-7'")
	warnings, err := query.Warnings(t.Context(), user)
	if text := fmt.Sprint(warnings); err != nil || len(warnings) != 1 ||
		!strings.Contains(text, "log_slave_updates is OFF") ||
		!strings.Contains(text, "GRANT REPLICA MONITOR ON *.* TO `poor`@`%`") {
		t.Errorf("the warnings are %s (%v)", text, err)
	}
	exec(t, root, "SET GLOBAL gtid_slave_pos = ''")
}
