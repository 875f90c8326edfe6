package pipelines

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
)

// A pipeline with several servers stops, or reads every table again, only if no server may serve
// later.
func TestFailedServers(t *testing.T) {
	down := errors.New("connection refused")
	lacks := fmt.Errorf("server x %w", errNotExecuted)
	reset := &StopError{Err: &binlog.HistoryError{Reason: "the GTID differs"}}
	for _, test := range []struct {
		name  string
		all   failedServers
		stops bool
		lost  string
	}{
		{"one", failedServers{{"a", reset, ""}}, true, ""},
		{"one that is lost", failedServers{{"a", reset, "reset"}}, true, "reset"},
		{"both reset", failedServers{{"a", reset, "reset"}, {"b", reset, "reset"}}, true, "reset"},
		{"one is down", failedServers{{"a", down, ""}, {"b", reset, ""}}, false, ""},
		{
			"one is down, one lost",
			failedServers{{"a", down, ""}, {"b", reset, "reset"}},
			false,
			"reset",
		},
		{"one may catch up", failedServers{{"a", reset, "reset"}, {"b", lacks, ""}}, false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.all.join()
			if errors.As(err, new(*StopError)) != test.stops {
				t.Errorf("error is %v, want a StopError: %v", err, test.stops)
			}
			if got := test.all.lost(); got != test.lost {
				t.Errorf("lost because of %q, want %q", got, test.lost)
			}
			for _, s := range test.all {
				if !strings.Contains(err.Error(), s.err.Error()) ||
					len(test.all) > 1 && !strings.Contains(err.Error(), s.address+": ") {
					t.Errorf("error %q lacks %s: %v", err, s.address, s.err)
				}
			}
		})
	}
	// The time for which a server may be silent still grows.
	silent := &mysql.SilentError{Addr: "b"}
	err := failedServers{{"a", reset, ""}, {"b", silent, ""}}.join()
	if !errors.As(err, new(*mysql.SilentError)) {
		t.Errorf("%v hides a SilentError", err)
	}
	// A reset of a server that was followed is no reason to stop while there are others.
	err = errResetWhileFollowed(reset)
	if errors.As(err, new(*StopError)) || errors.As(err, new(*binlog.HistoryError)) {
		t.Errorf("%v stops the pipeline", err)
	}
}
