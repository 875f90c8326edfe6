package replication

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rowfall/replication/identity"
	"rowfall/replication/replog"
)

const sendAtOnce = 256 << 10

// announced is what a connection has said of itself by REPLCONF.
type announced struct {
	ip, version string
	port        int
	psync2      bool
	eof         bool // it can take a snapshot whose length is not said first
	packed      bool // it is of a kind that loads listpacks
	rdbOnly     bool // it wants the snapshot and no stream
	rdbEmpty    bool // and of that only what we never have
}

// packedCapa is the capability by which our own replicas say that they load
// listpacks; others ignore it.
const packedCapa = "rdb-listpack"

// filter takes the words of REPLCONF rdb-filter-only: what the snapshot is to
// hold. We have no functions, and nothing else can be asked for.
func (a *announced) filter(words string) error {
	for _, w := range strings.Fields(words) {
		if !strings.EqualFold(w, "functions") {
			return fmt.Errorf("Unsupported rdb-filter-only option: %.64s", w) //nolint:staticcheck // Redis's own text, a reply
		}
	}
	a.rdbEmpty = true
	return nil
}

// replica is one connection that follows the node. Its session's goroutine
// sends; another reads what it acknowledges.
type replica struct {
	s      *session
	addr   string // as announced
	legacy bool   // it came by SYNC: it knows no offset and may never acknowledge
	cancel func()
	loaded chan struct{} // closed at the first acknowledgement after a full sync
	form   form          // of the snapshot in a full resync

	pin     atomic.Pointer[replog.Pin] // the log that a full resync still needs; nil: none
	size    atomic.Int64               // bytes of the snapshot that it was sent
	since   atomic.Int64               // unix nanoseconds when it had all of the snapshot
	dropped atomic.Bool                // the node has ended its link

	state  atomic.Uint32
	sent   atomic.Int64 // stream bytes given to the socket, those of a write under way included
	acked  atomic.Int64 // stream bytes it said it applied; never more than sent
	kept   atomic.Int64 // stream bytes it said it has in its AOF on disk; never more than sent
	heard  atomic.Int64 // unix nanoseconds of its last sign of life, or of the end of the transfer
	ackNow atomic.Int64 // unix nanoseconds of its last acknowledgement
}

// unpin gives back the log that a full resync needed.
func (r *replica) unpin() {
	if p := r.pin.Swap(nil); p != nil {
		p.Release()
	}
}

func (r *replica) set(s ReplicaState) { r.state.Store(uint32(s)) }

func (r *replica) status(now time.Time) ReplicaStatus {
	st := ReplicaStatus{
		Addr: r.addr, State: ReplicaState(r.state.Load()), Acked: replog.Offset(r.acked.Load()),
		Sent: replog.Offset(r.sent.Load()), Version: r.s.repl.version,
	}
	if at := r.ackNow.Load(); at != 0 {
		st.Lag = now.Sub(time.Unix(0, at))
	}
	return st
}

// replicas are those who follow the node.
type replicas struct {
	n *Node

	sync.Mutex
	all   map[*replica]struct{}
	left  map[*replica]struct{} // their links have ended, but log is still kept for them: they come back for it
	acked chan struct{}         // closed and replaced at every acknowledgement
}

func (rs *replicas) add(r *replica) {
	rs.Lock()
	defer rs.Unlock()
	rs.all[r] = struct{}{}
}

func (rs *replicas) remove(r *replica) {
	rs.Lock()
	defer rs.Unlock()
	delete(rs.all, r)
}

func (rs *replicas) count() int {
	rs.Lock()
	defer rs.Unlock()
	count := 0
	for r := range rs.all {
		if !r.s.repl.rdbOnly { // that is a tool, not a replica
			count++
		}
	}
	return count
}

// dropAll closes every replica's connection; they come back with a PSYNC.
func (rs *replicas) dropAll(why string) {
	rs.Lock()
	defer rs.Unlock()
	for r := range rs.all {
		rs.n.logger.Info().Str("replica", r.addr).Str("why", why).Msg("replica dropped")
		r.s.cut() // its goroutines see the end and say so
		r.cancel()
	}
}

// wakeAck tells those who wait for acknowledgements.
func (rs *replicas) wakeAck() {
	rs.Lock()
	defer rs.Unlock()
	close(rs.acked)
	rs.acked = make(chan struct{})
}

// reached counts the replicas that acknowledged at; more is closed at the next
// acknowledgement.
func (rs *replicas) reached(at replog.Offset) (count int, more <-chan struct{}) {
	return rs.countIf(func(r *replica) bool { return r.acked.Load() >= int64(at) })
}

// durable is reached for those that have it on disk.
func (rs *replicas) durable(at replog.Offset) (count int, more <-chan struct{}) {
	return rs.countIf(func(r *replica) bool { return r.kept.Load() >= int64(at) && r.kept.Load() > 0 })
}

func (rs *replicas) countIf(fits func(*replica) bool) (count int, more <-chan struct{}) {
	rs.Lock()
	defer rs.Unlock()
	for r := range rs.all {
		if ReplicaState(r.state.Load()) == ReplicaOnline && fits(r) {
			count++
		}
	}
	return count, rs.acked
}

func (rs *replicas) status() []ReplicaStatus {
	rs.Lock()
	defer rs.Unlock()
	list := make([]ReplicaStatus, 0, len(rs.all))
	now := time.Now()
	for r := range rs.all {
		if !r.s.repl.rdbOnly {
			list = append(list, r.status(now))
		}
	}
	slices.SortFunc(list, func(a, b ReplicaStatus) int { return strings.Compare(a.Addr, b.Addr) })
	return list
}

// psync is what a PSYNC or SYNC asks for and what it gets.
type psync struct {
	id     string
	offset int64
	legacy bool // SYNC

	answer identity.Answer
	with   identity.ID // the id to name in the answer
	refuse string      // an error that makes the replica come back in a second; any other would make it fall back to SYNC
}

// admit decides p and makes r one of the replicas in one step, so that a change
// of identity finds either nothing to drop or all of it.
func (n *Node) admit(p *psync, r *replica) {
	n.state.Lock()
	defer n.state.Unlock()
	role, _ := roleOf(n.state.id)
	link, stopped := n.upstream.state()
	start, end := n.log.Start(), n.log.End()
	p.with = n.state.id.History.ID()
	p.answer = n.state.id.History.Answer(p.id, p.offset, start, end)
	switch {
	case role == Master && n.isForeign(p) && n.Keyspace().Len() == 0:
		p.refuse = "NOMASTERLINK this node holds nothing and never wrote what you hold; its log says what to do"
		n.sayLost(r.addr, p)
	case !n.state.complete:
		if role == Master && n.isForeign(p) && replog.Offset(p.offset-1) > end {
			n.sayLost(r.addr, p)
		}
		p.refuse = "LOADING Rowfall is loading the dataset: it is not complete yet"
	case n.failover.now() != failoverNone:
		p.refuse = "NOMASTERLINK Can't SYNC while failing over"
	case role == Replica && stopped != nil:
		p.refuse = oneLine(fmt.Sprintf("NOMASTERLINK this node stopped following its upstream: %v", stopped))
	case role == Replica && p.answer == identity.Ahead:
		p.refuse = "NOMASTERLINK this node has not received these bytes from its upstream yet"
	case role == Replica && p.answer == identity.Full && link != LinkConnected:
		p.refuse = "NOMASTERLINK Can't SYNC while not connected with my master"
	}
	n.logger.Info().Str("replica", r.addr).Str("asked_replid", p.id).Int64("asked_offset", p.offset).Str("replid", string(p.with)).
		Stringer("first", start+1).Stringer("end", end).Bool("partial", p.answer == identity.Continue).Str("refused", p.refuse).Msg("resync asked for")
	if p.refuse == "" {
		n.replicas.add(r)
	}
}

// isForeign says whether a full resync would replace data that did not come from
// here. A server without a past asks from byte 1 on.
func (n *Node) isForeign(p *psync) bool {
	return p.answer == identity.Full && p.offset > 1 && !n.state.id.History.Knows(p.id)
}

// sayLost tells the operator, once per replica and offset, what most likely
// happened and what to do. The caller holds n.state.
func (n *Node) sayLost(addr string, p *psync) {
	host, port, _ := net.SplitHostPort(addr)
	advice := fmt.Sprintf("replica %s holds %d bytes of a stream that this node, which holds %d, knows nothing of: if the directory %s was lost, "+
		"take the state back from the replica that is furthest: send it REPLICAOF NO ONE, send REPLICAOF %s %s here, when that link is up REPLICAOF NO ONE here, "+
		"and have the replica follow this node again; "+
		"if that replica's data may go, restart it without its dump file and attach it again",
		addr, p.offset-1, n.log.End(), n.c.Dir, host, port)
	if n.state.advice != advice {
		n.state.advice = advice
		n.logger.Error().Msg(advice)
	}
}

// serveReplica makes the session a replica's and sends it what it needs until
// either side ends. ok is false if PSYNC was refused and the session goes on.
func (s *session) serveReplica(ctx context.Context, p *psync) (ok bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &replica{s: s, addr: s.replicaAddr(), legacy: p.legacy, cancel: cancel, loaded: make(chan struct{})}
	r.heard.Store(time.Now().UnixNano())
	s.n.admit(p, r)
	if p.refuse != "" {
		return false
	}
	defer s.n.replicas.remove(r)
	s.replica.Store(r)
	var reader sync.WaitGroup
	// The first of the two that ends closes the connection, which ends the other.
	reader.Go(func() {
		defer cancel()
		r.readAcks()
	})
	err := r.send(ctx, p)
	s.conn.Close() // the reader ends by it
	reader.Wait()
	r.left()
	if p.answer != identity.Continue {
		s.n.governor.Ended(r.addr, time.Now()) // with its load, if it did not come through
		s.n.forms.ended(r.addr, r.form, ReplicaState(r.state.Load()) == ReplicaOnline)
	}
	s.n.logger.Info().Err(err).Str("replica", r.addr).Int64("sent", r.sent.Load()).Int64("acked", r.acked.Load()).Msg("replica left")
	return true
}

// left lets the log go that the full sync needed; but a replica that has the whole
// snapshot will come for what follows it as soon as it is loaded.
func (r *replica) left() {
	st := ReplicaState(r.state.Load())
	if r.legacy || r.s.repl.rdbOnly || st != ReplicaLoading && st != ReplicaOnline {
		r.unpin()
		return
	}
	r.s.n.replicas.keepFor(r, r.s.n.timeout())
}

// replicaAddr is where the replica can be reached: announced, else its peer's.
func (s *session) replicaAddr() string {
	host, port, _ := net.SplitHostPort(s.conn.RemoteAddr().String())
	if s.repl.ip != "" {
		host = s.repl.ip
	}
	if s.repl.port != 0 {
		port = strconv.Itoa(s.repl.port)
	}
	return net.JoinHostPort(host, port)
}

// readAcks takes what the replica says until the connection ends. An empty line
// is a sign of life while it loads.
func (r *replica) readAcks() {
	for {
		args, _, err := r.s.r.ReadCommand()
		if err != nil {
			return
		}
		now := time.Now().UnixNano()
		r.heard.Store(now)
		if len(args) < 3 || !bytes.EqualFold(args[0], []byte("REPLCONF")) || !bytes.EqualFold(args[1], []byte("ACK")) {
			continue
		}
		at, err := strconv.ParseInt(string(args[2]), 10, 64)
		if err != nil || at < 0 {
			continue
		}
		r.ackNow.Store(now)
		r.acked.Store(max(r.acked.Load(), min(at, r.sent.Load())))
		if p := r.pin.Load(); p != nil {
			p.Advance(replog.Offset(r.acked.Load())) // after a lost link it asks for what follows
		}
		if len(args) >= 5 && bytes.EqualFold(args[3], []byte("FACK")) {
			if kept, err := strconv.ParseInt(string(args[4]), 10, 64); err == nil {
				r.kept.Store(max(r.kept.Load(), min(kept, r.sent.Load())))
			}
		}
		if st := ReplicaState(r.state.Load()); st == ReplicaLoading {
			r.set(ReplicaOnline)
			_ = r.s.conn.SetWriteDeadline(time.Now().Add(r.s.n.timeout())) // for a write that waits; if it fails the connection is gone
			if r.sent.Load() >= int64(r.s.n.log.End()) {
				r.unpin() // and if nothing is written, nobody else would
			}
			close(r.loaded)
			r.s.n.governor.Forgive(r.addr)
			r.s.n.logger.Info().Str("replica", r.addr).Int64("acked", at).Msg("replica online")
		}
		r.s.n.replicas.wakeAck()
	}
}

// send answers the resync and then sends the stream without end.
func (r *replica) send(ctx context.Context, p *psync) error {
	n := r.s.n
	if p.answer == identity.Continue {
		n.stats.partialOK.Add(1)
		reply := "+CONTINUE\r\n"
		if r.s.repl.psync2 {
			reply = "+CONTINUE " + string(p.with) + "\r\n"
		}
		from := replog.Offset(p.offset - 1)
		if err := r.write([]byte(reply)); err != nil {
			return err
		}
		now := time.Now().UnixNano()
		r.heard.Store(now)
		r.sent.Store(int64(from))
		r.acked.Store(int64(from)) // it asked for what follows
		r.ackNow.Store(now)
		r.set(ReplicaOnline)
		return r.stream(ctx, from)
	}
	at, marked, err := r.fullSync(ctx, p)
	if err != nil || r.s.repl.rdbOnly {
		return err
	}
	switch {
	case marked:
		// What follows the mark at once is lost, or taken for a part of the snapshot: it must have found the mark first.
		select {
		case <-r.loaded:
		case <-ctx.Done():
			return ctx.Err()
		}
	case p.legacy: // it may never say anything
		r.set(ReplicaOnline)
	}
	return r.stream(ctx, at)
}

// stream sends the log from an offset on. The log stays pinned until the replica
// is online and has caught up once: what was written while it loaded may be more
// than is kept.
func (r *replica) stream(ctx context.Context, from replog.Offset) error {
	n := r.s.n
	reader, err := n.log.NewReader(from)
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	defer reader.Close()       //nolint:errcheck // only read from
	var caughtUp replog.Offset // where the log ended when the replica came online
	for {
		b, err := reader.Next(ctx, sendAtOnce)
		if err != nil {
			n.noteDamage(err)
			return fmt.Errorf("read log: %w", err)
		}
		// Before the write: the acknowledgement may be back before the write returns.
		r.sent.Store(int64(reader.Offset()))
		if err := r.write(b); err != nil {
			return err
		}
		if ReplicaState(r.state.Load()) == ReplicaOnline {
			if caughtUp.IsZero() {
				caughtUp = n.log.End()
			}
			if reader.Offset() >= caughtUp {
				r.unpin()
			}
		}
	}
}

// noteDamage gives up what cannot be read from the log's files. Who asks for these
// bytes gets a full resync instead of the same fault for ever, and from a new
// snapshot that does not need them; then a restart does not need them either.
func (n *Node) noteDamage(err error) {
	var damage *replog.CorruptError
	if !errors.As(err, &damage) {
		return
	}
	start, fault := n.log.Condemn(damage)
	n.logger.Error().Err(errors.Join(err, fault)).Stringer("log_start", start).
		Msg("the log is damaged: a new snapshot is taken, and replicas that need what is lost get a full resync")
	n.snaps.request()
}

// write sends b. A replica that loads from disk does not read meanwhile, however
// long that takes, so then there is no deadline: it says every second that it is
// there, and dropSilent listens.
func (r *replica) write(b []byte) error {
	loading := func() bool { return ReplicaState(r.state.Load()) == ReplicaLoading }
	deadline := time.Now().Add(r.s.n.timeout())
	err := r.s.conn.SetWriteDeadline(deadline)
	if loading() && err == nil {
		err = r.s.conn.SetWriteDeadline(time.Time{})
		if !loading() && err == nil { // that was meanwhile
			err = r.s.conn.SetWriteDeadline(deadline)
		}
	}
	if err != nil {
		return fmt.Errorf("send to replica: %w", err)
	}
	if _, err := r.s.conn.Write(b); err != nil {
		return fmt.Errorf("send to replica: %w", err)
	}
	return nil
}
