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

	"rowfall/replication/resp"
)

// stats are the counters that INFO shows.
type stats struct {
	connections, rejected, commands, expired atomic.Int64
	fullSyncs, partialOK, partialErr         atomic.Int64
	blocked                                  atomic.Int64 // clients that wait now; not a counter
}

func (s *stats) reset() {
	for _, c := range []*atomic.Int64{&s.connections, &s.rejected, &s.commands, &s.expired, &s.fullSyncs, &s.partialOK, &s.partialErr} {
		c.Store(0)
	}
}

// Status returns what the node is doing; INFO says the same.
func (n *Node) Status() Status {
	st := n.replicationStatus()
	keys := n.Keyspace()
	all, _, hidden := keys.Counts()
	st.Keys, st.HiddenKeys = all-hidden, hidden
	m := keys.Memory()
	st.Memory = MemoryStatus{Live: m.Live, Garbage: m.Garbage + m.Retired, Mapped: m.Mapped}
	st.Addr, st.Clients, st.Snapshot = n.Addr(), n.clients.count(), n.snaps.Status()
	st.FullSyncs, st.PartialSyncs, st.PartialsRefused = n.stats.fullSyncs.Load(), n.stats.partialOK.Load(), n.stats.partialErr.Load()
	st.Held, st.Failover = n.stalls.newest().reason, n.failover.now()
	st.GoodReplicas, _ = n.quorum.count()
	return st
}

// replicationStatus is the part of Status that belongs to one moment. A full resync
// changes id and offsets under n.state, and a change of role the id. While that is
// held the log only grows at its end, and only its beginning is dropped, so what is
// read earlier is never beyond what is read later.
func (n *Node) replicationStatus() Status {
	n.state.Lock()
	defer n.state.Unlock()
	id := n.state.id
	role, term := roleOf(id)
	previous, to, _ := id.History.Previous()
	st := Status{
		Role: role, Term: term, Complete: n.state.complete, Advice: n.state.advice,
		ID: string(id.History.ID()), PreviousID: string(previous), PreviousTo: to,
	}
	st.Replicas = n.replicas.status()
	st.LogStart = n.log.Start()
	st.Offset = n.log.End()
	if role == Replica {
		up := n.upstream.status()
		up.Addr = id.Upstream
		st.Upstream = &up
	}
	return st
}

// infoSections are in the order in which INFO shows them.
var infoSections = []struct {
	name  string
	write func(b *strings.Builder, n *Node, st Status)
}{
	{"Server", infoServer},
	{"Clients", infoClients},
	{"Memory", infoMemory},
	{"Persistence", infoPersistence},
	{"Stats", infoStats},
	{"Replication", infoReplication},
	{"Keyspace", infoKeyspace},
}

// info is INFO [section...].
func (s *session) info(_ context.Context, args [][]byte) {
	wanted := func(name string) bool {
		for _, a := range args[1:] {
			if is(a, name) || is(a, "all") || is(a, "everything") || is(a, "default") {
				return true
			}
		}
		return len(args) == 1
	}
	var b strings.Builder
	st := s.n.Status()
	for _, sec := range infoSections {
		if wanted(sec.name) {
			if b.Len() > 0 {
				b.WriteString("\r\n")
			}
			fmt.Fprintf(&b, "# %s\r\n", sec.name)
			sec.write(&b, s.n, st)
		}
	}
	if s.n.c.Info != nil {
		appendExtra(&b, string(s.n.c.Info(nil)), wanted)
	}
	s.out = resp.AppendVerbatim(s.out, s.proto, b.String())
}

// appendExtra adds those of the owner's sections that are asked for.
func appendExtra(b *strings.Builder, text string, wanted func(string) bool) {
	show := false
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "# "); ok {
			if show = wanted(strings.TrimRight(name, "\r\n")); show && b.Len() > 0 {
				b.WriteString("\r\n")
			}
		}
		if show && strings.TrimRight(line, "\r\n") != "" {
			b.WriteString(line)
		}
	}
}

func infoServer(b *strings.Builder, n *Node, _ Status) {
	up := int64(time.Since(n.started).Seconds())
	_, port, _ := net.SplitHostPort(n.Addr())
	fmt.Fprintf(b, "redis_version:%s\r\nredis_mode:standalone\r\nserver_name:rowfall\r\nos:%s\r\narch_bits:64\r\nprocess_id:%d\r\nrun_id:%s\r\n"+
		"tcp_port:%s\r\nserver_time_usec:%d\r\nuptime_in_seconds:%d\r\nuptime_in_days:%d\r\nconfig_file:\r\n",
		redisVersion, runtime.GOOS, os.Getpid(), n.runID, port, time.Now().UnixMicro(), up, up/86400)
}

func infoClients(b *strings.Builder, n *Node, st Status) {
	fmt.Fprintf(b, "connected_clients:%d\r\nmaxclients:%d\r\nblocked_clients:%d\r\n",
		st.Clients-len(st.Replicas), n.settings.maxClients.Load(), n.stats.blocked.Load())
}

// infoMemory adds the arena to Go's heap, on Linux, where it is apart from that.
func infoMemory(b *strings.Builder, _ *Node, st Status) {
	heap, resident := goMemory()
	var apart uint64
	if runtime.GOOS == "linux" {
		apart = uint64(st.Memory.Mapped)
	}
	fmt.Fprintf(b, "used_memory:%d\r\nused_memory_dataset:%d\r\nused_memory_rss:%d\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"+
		"rowfall_arena_live:%d\r\nrowfall_arena_garbage:%d\r\nrowfall_arena_mapped:%d\r\n",
		heap+apart, st.Memory.Live, resident+apart, st.Memory.Live, st.Memory.Garbage, st.Memory.Mapped)
}

// goMemory returns the bytes of Go's heap in use, and what Go's memory takes of the
// system's. Unlike runtime.ReadMemStats, metrics.Read stops no goroutine.
func goMemory() (heap, resident uint64) {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(samples)
	return samples[0].Value.Uint64(), samples[1].Value.Uint64() - samples[2].Value.Uint64()
}

func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}

func infoPersistence(b *strings.Builder, n *Node, st Status) {
	status := "ok"
	if st.Snapshot.Err != "" {
		status = "err"
	}
	last := st.Snapshot.Time
	if last.IsZero() {
		last = n.started
	}
	fmt.Fprintf(b, "loading:0\r\nasync_loading:%d\r\nrdb_bgsave_in_progress:%d\r\nrdb_last_save_time:%d\r\nrdb_last_bgsave_status:%s\r\n"+
		"rdb_changes_since_last_save:%d\r\naof_enabled:0\r\n",
		flag(st.Upstream != nil && st.Upstream.State == LinkTransfer), flag(st.Snapshot.Running), last.Unix(), status, max(st.Offset-st.Snapshot.Offset, 0)) // a newer snapshot may be there by now
	if st.Snapshot.Err != "" {
		fmt.Fprintf(b, "rowfall_snapshot_error:%s\r\n", oneLine(st.Snapshot.Err))
	}
}

// oneLine is the text for a line of INFO.
func oneLine(text string) string { return strings.NewReplacer("\r", " ", "\n", " ").Replace(text) }

func infoStats(b *strings.Builder, n *Node, st Status) {
	fmt.Fprintf(b, "total_connections_received:%d\r\ntotal_commands_processed:%d\r\nrejected_connections:%d\r\n"+
		"sync_full:%d\r\nsync_partial_ok:%d\r\nsync_partial_err:%d\r\nexpired_keys:%d\r\nevicted_keys:0\r\n",
		n.stats.connections.Load(), n.stats.commands.Load(), n.stats.rejected.Load(), st.FullSyncs, st.PartialSyncs, st.PartialsRefused, n.stats.expired.Load())
}

func infoReplication(b *strings.Builder, n *Node, st Status) {
	if st.Upstream != nil {
		infoUpstream(b, n, st)
	} else {
		b.WriteString("role:master\r\n")
	}
	if st.Advice != "" {
		fmt.Fprintf(b, "rowfall_advice:%s\r\n", oneLine(st.Advice))
	}
	fmt.Fprintf(b, "connected_slaves:%d\r\n", len(st.Replicas))
	if n.settings.minReplicas.Load() > 0 {
		fmt.Fprintf(b, "min_slaves_good_slaves:%d\r\n", st.GoodReplicas)
	}
	for i, r := range st.Replicas {
		host, port, _ := net.SplitHostPort(r.Addr)
		fmt.Fprintf(b, "slave%d:ip=%s,port=%s,state=%s,offset=%d,lag=%d\r\n", i, host, port, r.State, r.Acked, int(r.Lag.Seconds()))
	}
	previous, second := strings.Repeat("0", 40), int64(-1)
	if st.PreviousID != "" {
		previous, second = st.PreviousID, int64(st.PreviousTo)+1
	}
	fmt.Fprintf(b, "master_failover_state:%s\r\nmaster_replid:%s\r\nmaster_replid2:%s\r\nmaster_repl_offset:%d\r\nsecond_repl_offset:%d\r\n"+
		"repl_backlog_active:1\r\nrepl_backlog_size:%d\r\nrepl_backlog_first_byte_offset:%d\r\nrepl_backlog_histlen:%d\r\n",
		st.Failover, st.ID, previous, st.Offset, second, max(st.Offset-st.LogStart, 1), st.LogStart+1, st.Offset-st.LogStart)
}

func infoUpstream(b *strings.Builder, n *Node, st Status) {
	up := st.Upstream
	host, port, _ := net.SplitHostPort(up.Addr)
	link, lastIO := "down", int64(-1)
	if up.State == LinkConnected {
		link, lastIO = "up", int64(time.Since(up.LastIO).Seconds())
	}
	fmt.Fprintf(b, "role:slave\r\nmaster_host:%s\r\nmaster_port:%s\r\nmaster_link_status:%s\r\nmaster_last_io_seconds_ago:%d\r\nmaster_sync_in_progress:%d\r\n"+
		"slave_read_repl_offset:%d\r\nslave_repl_offset:%d\r\n", host, port, link, lastIO, flag(up.State == LinkTransfer), st.Offset, st.Offset)
	if up.State == LinkTransfer {
		total, left, percent := max(up.Total, 0), int64(0), 0.0
		if up.Total > 0 {
			left, percent = max(up.Total-up.Received, 0), 100*float64(up.Received)/float64(up.Total)
		}
		fmt.Fprintf(b, "master_sync_total_bytes:%d\r\nmaster_sync_read_bytes:%d\r\nmaster_sync_left_bytes:%d\r\nmaster_sync_perc:%.2f\r\nmaster_sync_last_io_seconds_ago:%d\r\n",
			total, up.Received, left, percent, int64(time.Since(up.LastIO).Seconds()))
	}
	if up.State != LinkConnected {
		down := int64(-1)
		if !up.Down.IsZero() {
			down = int64(math.Max(0, time.Since(up.Down).Seconds()))
		}
		fmt.Fprintf(b, "master_link_down_since_seconds:%d\r\n", down)
	}
	fmt.Fprintf(b, "rowfall_upstream_state:%s\r\n", up.State)
	if up.Stopped != "" {
		fmt.Fprintf(b, "rowfall_upstream_stopped:%s\r\n", oneLine(up.Stopped))
	}
	if up.Err != "" {
		fmt.Fprintf(b, "rowfall_upstream_error:%s\r\n", oneLine(up.Err))
	}
	fmt.Fprintf(b, "slave_priority:%d\r\nslave_read_only:1\r\nreplica_announced:1\r\n", n.settings.priority.Load())
}

// infoKeyspace counts as DBSIZE does.
func infoKeyspace(b *strings.Builder, n *Node, _ Status) {
	if keys, expires, hidden := n.Keyspace().Counts(); keys > hidden {
		fmt.Fprintf(b, "db0:keys=%d,expires=%d,avg_ttl=0\r\n", keys-hidden, expires)
	}
}
