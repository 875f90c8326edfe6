package replication_test

import (
	"fmt"
	"strings"
	"testing"
)

// CONFIG SET sets all values or none, and CONFIG REWRITE keeps them over a restart.
func TestSettingsAreKept(t *testing.T) {
	c := config(t)
	n, stop := start(t, c)
	cl := client(t, n.Addr())
	do := func(args ...any) string {
		v, err := cl.Do(t.Context(), args...).Result()
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(v)
	}
	const related = "ERR CONFIG SET failed (possibly related to argument '%s') - argument %s"
	for _, step := range [][2]string{
		{
			"CONFIG SET min-slaves-to-write 2 repl-timeout x",
			fmt.Sprintf(related, "repl-timeout", "couldn't be parsed into an integer"),
		},
		{"CONFIG GET min-replicas-to-write", "map[min-replicas-to-write:0]"},
		{
			"CONFIG SET maxclients 0",
			fmt.Sprintf(related, "maxclients", "must be between 1 and 2147483647 inclusive"),
		},
		{
			"CONFIG SET replica-serve-stale-data maybe",
			fmt.Sprintf(related, "replica-serve-stale-data", "must be 'yes' or 'no'"),
		},
		{"CONFIG SET min-slaves-to-write 2 replica-serve-stale-data no masterauth sec\"ret", "OK"},
		{"CONFIG REWRITE", "OK"},
		{"CONFIG SET repl-timeout 7", "OK"},
	} {
		args := []any{}
		for _, a := range strings.Fields(step[0]) {
			args = append(args, a)
		}
		if got := do(args...); got != step[1] {
			t.Errorf("%s gets %q, want %q", step[0], got, step[1])
		}
	}
	stop()
	n, _ = start(t, c)
	cl = client(t, n.Addr())
	for name, want := range map[string]string{
		"min-replicas-to-write":  "2",
		"slave-serve-stale-data": "no",
		"masterauth":             `sec"ret`,
		"repl-timeout":           "60",
	} {
		if got := cl.ConfigGet(t.Context(), name).Val()[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
