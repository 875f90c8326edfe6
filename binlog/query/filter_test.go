package query

import (
	"fmt"
	"testing"
	"time"
)

func TestBinlogFilter(t *testing.T) {
	for _, test := range []struct {
		filter         BinlogFilter
		database, want string
	}{
		{BinlogFilter{}, "shop", ""},
		{BinlogFilter{Do: []string{"shop", "crm"}}, "crm", ""},
		{BinlogFilter{Do: []string{"shop"}}, "crm", "binlog_do_db"},
		{BinlogFilter{Ignore: []string{"shop"}}, "shop", "binlog_ignore_db"},
		{BinlogFilter{Ignore: []string{"shop"}}, "crm", ""},
		// The servers look at one of the two lists only.
		{BinlogFilter{Do: []string{"shop"}, Ignore: []string{"shop"}}, "shop", ""},
		{BinlogFilter{Ignore: []string{"Shop"}}, "shop", ""},
		{BinlogFilter{Ignore: []string{"Shop"}, foldsCase: true}, "shop", "binlog_ignore_db"},
	} {
		if got := test.filter.Excludes(test.database); got != test.want {
			t.Errorf("%+v excludes %s because of %q, want %q", test.filter, test.database, got,
				test.want)
		}
	}
}

// The variables of all versions: MySQL 5.7 and old MariaDBs have only days, MySQL 9 only seconds,
// and newer MariaDBs fractions of days.
func TestRetention(t *testing.T) {
	for _, test := range []struct {
		variables map[string]string
		want      time.Duration // 0: no warning
	}{
		{map[string]string{"expire_logs_days": "0"}, 0},
		{map[string]string{"expire_logs_days": "1"}, 0},
		{map[string]string{"expire_logs_days": "0.500000"}, 12 * time.Hour},
		{map[string]string{
			"expire_logs_days": "0.041667", "binlog_expire_logs_seconds": "3600",
		}, time.Hour},
		{map[string]string{"expire_logs_days": "10", "binlog_expire_logs_seconds": "0"}, 0},
		{map[string]string{"binlog_expire_logs_seconds": "60"}, time.Minute},
		{map[string]string{
			"binlog_expire_logs_seconds": "60", "binlog_expire_logs_auto_purge": "OFF",
		}, 0},
	} {
		got := retentionWarnings(test.variables)
		switch {
		case test.want == 0 && len(got) > 0:
			t.Errorf("%v: %v", test.variables, got)
		case test.want > 0 && (len(got) != 1 || got[0].What[len(got[0].What)-
			len(fmt.Sprint(test.want)):] != fmt.Sprint(test.want)):
			t.Errorf("%v: %v, want a warning of %v", test.variables, got, test.want)
		}
	}
}
