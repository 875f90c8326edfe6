package replication_test

import (
	"fmt"
	"math"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
)

func TestInfoRoleConfig(t *testing.T) {
	n, _ := complete(t, config(t))
	at := apply(t, n, unit("SET", "k", "v"))
	c := client(t, n.Addr())
	ctx := t.Context()
	st := n.Status()
	for section, want := range map[string]string{
		"server":      "tcp_port:" + n.Addr()[strings.LastIndex(n.Addr(), ":")+1:] + "\r\n",
		"clients":     "maxclients:10000\r\n",
		"memory":      "used_memory:",
		"persistence": "loading:0\r\n",
		"stats":       "sync_partial_err:0\r\n",
		"replication": fmt.Sprintf("role:master\r\nconnected_slaves:0\r\n"+
			"master_failover_state:no-failover\r\nmaster_replid:%s\r\nmaster_replid2:%040d\r\n"+
			"master_repl_offset:%d\r\nsecond_repl_offset:-1\r\n", st.ID, 0, at),
		"keyspace": "db0:keys=1,expires=0",
	} {
		text, err := c.Info(ctx, section).Result()
		if err != nil || !strings.Contains(text, want) || strings.Count(text, "# ") != 1 {
			t.Errorf("INFO %s is %q, %v; want %q in it", section, text, err, want)
		}
	}
	if all := c.Info(ctx).Val(); strings.Count(all, "# ") != 7 {
		t.Errorf("INFO is %q", all)
	}
	if got := fmt.Sprint(c.Do(ctx, "ROLE").Val()); got != fmt.Sprintf("[master %d []]", at) {
		t.Errorf("ROLE is %s", got)
	}
	if got := c.ConfigGet(ctx, "max*").Val(); got["maxmemory"] != "0" ||
		got["maxclients"] != "10000" ||
		got["max-full-syncs"] != "16" ||
		got["maxmemory-clients"] != "268435456" ||
		len(got) != 5 {
		t.Errorf("CONFIG GET is %v", got)
	}
	if got := len(c.ConfigGet(ctx, "*").Val()); got < 15 {
		t.Errorf("CONFIG GET * has %d names", got)
	}
	if err := c.ConfigSet(ctx, "dir", "/elsewhere").Err(); err == nil {
		t.Error("CONFIG SET changed a fixed setting")
	}
}

// A monitor requests INFO each second. Once, INFO stopped all goroutines to read the size of the
// heap.
func TestInfoStopsNoGoroutines(t *testing.T) {
	n, _ := start(t, config(t))
	cl := client(t, n.Addr())
	stops := func() (count uint64) {
		s := []metrics.Sample{{Name: "/sched/pauses/stopping/other:seconds"}}
		metrics.Read(s)
		for _, c := range s[0].Value.Float64Histogram().Counts {
			count += c
		}
		return count
	}
	info := func() string { return cl.Info(t.Context(), "memory").Val() }
	for _, name := range []string{"used_memory", "used_memory_rss"} {
		_, rest, _ := strings.Cut(info(), name+":")
		value, _, _ := strings.Cut(rest, "\r\n")
		if v, err := strconv.ParseInt(value, 10, 64); err != nil || v < 1<<16 ||
			v > math.MaxInt64/2 {
			t.Errorf("%s is %q", name, value)
		}
	}
	before := stops()
	for range 100 {
		info()
	}
	if more := stops() - before; more >= 100 {
		t.Errorf("100 INFOs stopped all goroutines %d times", more)
	}
}
