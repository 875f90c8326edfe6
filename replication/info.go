package replication

import (
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"time"

	"rowfall/replication/node"
	"rowfall/replication/resp"
)

// stats are the counters of the clients' side that INFO shows. CONFIG RESETSTAT resets all but
// blocked.
type stats struct {
	connections, rejected, commands atomic.Int64
	blocked                         atomic.Int64 // gauge: clients that are blocked now
}

func (s *stats) reset() {
	for _, c := range []*atomic.Int64{&s.connections, &s.rejected, &s.commands} {
		c.Store(0)
	}
}

// infoSections are the sections in the order in which INFO shows them.
var infoSections = []struct {
	name  string
	write func(w *infoWriter, n *Node, st Status)
}{
	{"Server", infoServer},
	{"Clients", infoClients},
	{"Memory", infoMemory},
	{"Persistence", infoPersistence},
	{"Stats", infoStats},
	{"Replication", infoReplication},
	{"Keyspace", infoKeyspace},
}

// infoCommand answers INFO [section...].
func (s *session) infoCommand(_ context.Context, args [][]byte) {
	w := infoWriter{wanted: func(name string) bool {
		for _, a := range args[1:] {
			for _, word := range []string{name, "all", "everything", "default"} {
				if resp.IsWord(a, word) {
					return true
				}
			}
		}
		return len(args) == 1
	}}
	st := s.n.Status()
	for _, sec := range infoSections {
		if w.section(sec.name) {
			sec.write(&w, s.n, st)
		}
	}
	if s.n.c.Info != nil {
		w.sections(string(s.n.c.Info(nil)))
	}
	s.verbatim(w.text.String())
}

// infoWriter writes the text of INFO.
type infoWriter struct {
	text   strings.Builder
	wanted func(section string) bool
}

// section begins a section and returns true, or returns false if the client did not request it.
func (w *infoWriter) section(name string) bool {
	if !w.wanted(name) {
		return false
	}
	if w.text.Len() > 0 {
		w.text.WriteString("\r\n")
	}
	w.text.WriteString("# " + name + "\r\n")
	return true
}

// field writes one field. Line breaks in the value become spaces, and booleans 1 and 0.
func (w *infoWriter) field(name string, value any) {
	text, ok := value.(string)
	switch {
	case ok:
		text = oneLine(text)
	case value == true:
		text = "1"
	case value == false:
		text = "0"
	default:
		text = fmt.Sprint(value)
	}
	w.text.WriteString(name + ":" + text + "\r\n")
}

// fieldIfSet writes a field unless the value is empty.
func (w *infoWriter) fieldIfSet(name, value string) {
	if value != "" {
		w.field(name, value)
	}
}

// oneLine returns text with its line breaks replaced by spaces.
func oneLine(text string) string { return lineBreaks.Replace(text) }

var lineBreaks = strings.NewReplacer("\r", " ", "\n", " ")

// sections writes the sections of a text in the form of INFO that the client requested.
func (w *infoWriter) sections(text string) {
	inSection := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if name, ok := strings.CutPrefix(line, "# "); ok {
			inSection = w.section(name)
		} else if inSection && line != "" {
			w.text.WriteString(line + "\r\n")
		}
	}
}

func infoServer(w *infoWriter, n *Node, _ Status) {
	up := int64(time.Since(n.Started()).Seconds())
	_, port, _ := net.SplitHostPort(n.Addr())
	w.field("redis_version", node.RedisVersion)
	w.field("redis_mode", "standalone")
	w.field("server_name", "rowfall")
	w.field("os", runtime.GOOS)
	w.field("arch_bits", 64)
	w.field("process_id", os.Getpid())
	w.field("run_id", n.RunID())
	w.field("tcp_port", port)
	w.field("server_time_usec", time.Now().UnixMicro())
	w.field("uptime_in_seconds", up)
	w.field("uptime_in_days", up/86400)
	w.field("config_file", "")
}

func infoClients(w *infoWriter, n *Node, st Status) {
	w.field("connected_clients", st.Clients-len(st.Replicas))
	w.field("maxclients", n.Settings().MaxClients())
	w.field("blocked_clients", n.stats.blocked.Load())
}

// infoMemory adds the arena, the table of keys and the log's window to the memory of Go's heap on
// Linux, where they are mapped apart from the heap.
func infoMemory(w *infoWriter, _ *Node, st Status) {
	heap, resident := goMemory()
	var apart uint64
	if runtime.GOOS == "linux" {
		apart = uint64(st.Memory.Mapped + st.Memory.Table + st.Memory.Window)
	}
	w.field("used_memory", heap+apart)
	w.field("used_memory_dataset", st.Memory.Live)
	w.field("used_memory_rss", resident+apart)
	w.field("maxmemory", 0)
	w.field("maxmemory_policy", "noeviction")
	w.field("rowfall_arena_live", st.Memory.Live)
	w.field("rowfall_arena_garbage", st.Memory.Garbage)
	w.field("rowfall_arena_mapped", st.Memory.Mapped)
	w.field("rowfall_table_size", st.Memory.Table)
	w.field("rowfall_log_window_size", st.Memory.Window)
}

// goMemory returns the bytes of Go's heap in use, and the bytes that Go has mapped and not returned
// to the system. Unlike runtime.ReadMemStats, metrics.Read stops no goroutine.
func goMemory() (heap, resident uint64) {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(samples)
	return samples[0].Value.Uint64(), samples[1].Value.Uint64() - samples[2].Value.Uint64()
}

func infoPersistence(w *infoWriter, n *Node, st Status) {
	status := "ok"
	if st.Snapshot.Err != "" {
		status = "err"
	}
	last := st.Snapshot.Time
	if last.IsZero() {
		last = n.Started()
	}
	w.field("loading", 0)
	w.field("async_loading", st.Upstream != nil && st.Upstream.State == LinkTransfer)
	w.field("rdb_bgsave_in_progress", st.Snapshot.Running)
	w.field("rdb_last_save_time", last.Unix())
	w.field("rdb_last_bgsave_status", status)
	// The snapshot's status is newer than the offset, so its offset may be beyond.
	w.field("rdb_changes_since_last_save", max(st.Offset-st.Snapshot.Offset, 0))
	w.field("aof_enabled", 0)
	w.fieldIfSet("rowfall_snapshot_error", st.Snapshot.Err)
}

func infoStats(w *infoWriter, n *Node, st Status) {
	w.field("total_connections_received", n.stats.connections.Load())
	w.field("total_commands_processed", n.stats.commands.Load())
	w.field("rejected_connections", n.stats.rejected.Load())
	w.field("sync_full", st.FullSyncs)
	w.field("sync_partial_ok", st.PartialSyncs)
	w.field("sync_partial_err", st.PartialsRejected)
	w.field("expired_keys", st.ExpiredKeys)
	w.field("evicted_keys", 0)
}

func infoReplication(w *infoWriter, n *Node, st Status) {
	if st.Upstream != nil {
		infoUpstream(w, n, st)
	} else {
		w.field("role", "master")
	}
	w.fieldIfSet("rowfall_advice", st.Advice)
	w.field("connected_slaves", len(st.Replicas))
	if n.Settings().MinReplicas() > 0 {
		w.field("min_slaves_good_slaves", st.GoodReplicas)
	}
	for i, r := range st.Replicas {
		host, port, _ := net.SplitHostPort(r.Addr)
		w.field(fmt.Sprint("slave", i), fmt.Sprintf("ip=%s,port=%s,state=%s,offset=%d,lag=%d",
			host, port, r.State, r.Acked, int(r.Lag.Seconds())))
	}
	previous, second := strings.Repeat("0", 40), int64(-1)
	if st.PreviousID != "" {
		previous, second = st.PreviousID, int64(st.PreviousTo)+1
	}
	w.field("master_failover_state", st.Failover)
	w.field("master_replid", st.ID)
	w.field("master_replid2", previous)
	w.field("master_repl_offset", st.Offset)
	w.field("second_repl_offset", second)
	w.field("repl_backlog_active", 1)
	w.field("repl_backlog_size", max(st.Offset-st.LogStart, 1))
	w.field("repl_backlog_first_byte_offset", st.LogStart+1)
	w.field("repl_backlog_histlen", st.Offset-st.LogStart)
}

func infoUpstream(w *infoWriter, n *Node, st Status) {
	up := st.Upstream
	host, port, _ := net.SplitHostPort(up.Addr)
	link, lastIO := "down", int64(-1)
	if up.State == LinkConnected {
		link, lastIO = "up", int64(time.Since(up.LastIO).Seconds())
	}
	w.field("role", "slave")
	w.field("master_host", host)
	w.field("master_port", port)
	w.field("master_link_status", link)
	w.field("master_last_io_seconds_ago", lastIO)
	w.field("master_sync_in_progress", up.State == LinkTransfer)
	w.field("slave_read_repl_offset", st.Offset)
	w.field("slave_repl_offset", st.Offset)
	if up.State == LinkTransfer {
		infoTransfer(w, up)
	}
	if up.State != LinkConnected {
		down := int64(-1)
		if !up.Down.IsZero() {
			down = int64(math.Max(0, time.Since(up.Down).Seconds()))
		}
		w.field("master_link_down_since_seconds", down)
	}
	w.field("rowfall_upstream_state", up.State)
	w.fieldIfSet("rowfall_upstream_stopped", up.Stopped)
	w.fieldIfSet("rowfall_upstream_error", up.Err)
	w.field("slave_priority", n.Settings().Priority())
	w.field("slave_read_only", 1)
	w.field("replica_announced", 1)
}

// infoTransfer shows how much of the upstream's snapshot has been received.
func infoTransfer(w *infoWriter, up *UpstreamStatus) {
	left, percent := int64(0), 0.0
	if up.Total > 0 {
		left, percent = max(up.Total-up.Received, 0), 100*float64(up.Received)/float64(up.Total)
	}
	w.field("master_sync_total_bytes", max(up.Total, 0))
	w.field("master_sync_read_bytes", up.Received)
	w.field("master_sync_left_bytes", left)
	w.field("master_sync_perc", fmt.Sprintf("%.2f", percent))
	w.field("master_sync_last_io_seconds_ago", int64(time.Since(up.LastIO).Seconds()))
}

// infoKeyspace shows the number of keys that DBSIZE counts.
func infoKeyspace(w *infoWriter, n *Node, _ Status) {
	if keys, expires, hidden := n.Keyspace().Counts(); keys > hidden {
		w.field("db0", fmt.Sprintf("keys=%d,expires=%d,avg_ttl=0", keys-hidden, expires))
	}
}
