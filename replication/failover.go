package replication

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"rowfall/replication/disk"
	"rowfall/replication/progress"
	"rowfall/replication/replog"
	"rowfall/replication/upstream"
)

// failoverFile names the target of a hand-over that was begun and not answered, and the id that is handed over,
// so that a restart goes on with it: otherwise each of the two would follow the other.
const failoverFile = "failover"

// The states of a hand-over, as INFO spells them.
const (
	failoverNone    = "no-failover"
	failoverWaiting = "waiting-for-sync"
	failoverAsking  = "failover-in-progress"
)

// failover hands the master's role over to a replica that has everything: writes
// pause, the replica acknowledges the last byte, the node becomes its replica and
// asks it by PSYNC ... FAILOVER to be the master.
type failover struct {
	n        *Node
	requests chan handOver // one at most

	mu    sync.Mutex
	state string // asking begins and ends on the appender only
	abort func()

	fileWritten bool // failoverFile may be on disk; the appender's
}

// handOver is one FAILOVER.
type handOver struct {
	to      string // empty: whoever has everything first
	force   bool   // at the time-out go on although to lacks something
	timeout time.Duration
	ctx     context.Context // ends by ABORT
}

// errNoFailover is returned when there is no hand-over to end or to take back.
var errNoFailover = errors.New("No failover in progress.") //nolint:staticcheck // Redis's own words

// pausedError is what a unit gets during the pause; resumed is closed at its end.
type pausedError struct{ resumed <-chan struct{} }

func (e *pausedError) Error() string { return "writing is paused for a failover" }

// now is the state.
func (f *failover) now() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

func (f *failover) setState(state string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = state
}

// Failover hands the master's role over to the replica at to, as it announces
// itself, or with an empty address to the first that has everything. It returns
// when that has begun; Status says how it goes. A timeout ends the wait for the
// replica: without force the node stays the master, with force, which needs both to
// and a timeout, the role goes to a replica that lacks what it did not get. 0 waits
// for ever.
func (n *Node) Failover(to string, force bool, timeout time.Duration) error {
	f := n.failover
	if role, _ := n.Role(); role == Replica {
		return errors.New("FAILOVER is not valid when server is a replica.") //nolint:staticcheck // Redis's own words
	}
	all := n.replicas.status()
	switch {
	case len(all) == 0:
		return errors.New("FAILOVER requires connected replicas.") //nolint:staticcheck // Redis's own words
	case force && (to == "" || timeout <= 0):
		return errors.New("FAILOVER with force option requires both a timeout and target HOST and IP.") //nolint:staticcheck // Redis's own words
	case to != "":
		known, online := false, false
		for _, r := range all {
			known = known || r.Addr == to
			online = online || r.Addr == to && r.State == ReplicaOnline
		}
		if !known {
			return errors.New("FAILOVER target HOST and PORT is not a replica.") //nolint:staticcheck // Redis's own words
		}
		if !online {
			return errors.New("FAILOVER target replica is not online.") //nolint:staticcheck // Redis's own words
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state != failoverNone {
		return errors.New("FAILOVER already in progress.") //nolint:staticcheck // Redis's own words
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.state, f.abort = failoverWaiting, cancel
	f.requests <- handOver{to, force, timeout, ctx}
	return nil
}

// AbortFailover takes a hand-over back. If the replica has been asked already the
// node becomes the master again under a new replication id, for the replica may
// have become one, too.
func (n *Node) AbortFailover(ctx context.Context) error {
	_, err := n.appender.submit(ctx, 0, nil, n.appender.abortFailover)
	return err
}

// abortFailover is AbortFailover, on the appender: so the role is either not given
// away yet, and will not be, or is taken back.
func (a *appender) abortFailover() error {
	f := a.n.failover
	f.mu.Lock()
	state, abort := f.state, f.abort
	f.mu.Unlock()
	switch state {
	case failoverNone:
		return errNoFailover
	case failoverAsking:
		return a.cancelHandOver("it was aborted")
	}
	abort()
	return nil
}

// run serves requests until ctx ends.
func (f *failover) run(ctx context.Context) {
	for {
		select {
		case h := <-f.requests:
			f.handOver(ctx, h)
		case <-ctx.Done():
			return
		}
	}
}

// handOver pauses, waits, and gives the role away.
func (f *failover) handOver(ctx context.Context, h handOver) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	a := f.n.appender
	release := f.n.stall("a failover waits for its replica")
	defer release()
	to, err := f.reach(ctx, h)
	if err == nil {
		_, err = a.submit(ctx, 0, nil, func() error { return a.demoteTo(h.ctx, to) })
	}
	if err != nil {
		f.setState(failoverNone)
		_, _ = a.submit(context.Background(), 0, nil, func() error { a.resume(); return nil }) // it fails when nobody waits any more
		f.n.logger.Warn().Err(err).Str("target", h.to).Msg("failover given up: node stays the master")
	}
}

// reach pauses the writer and waits for a replica that has everything.
func (f *failover) reach(ctx context.Context, h handOver) (to string, err error) {
	var end replog.Offset
	_, err = f.n.appender.submit(ctx, 0, nil, func() error {
		if f.n.appender.role != Master {
			return ErrDemoted
		}
		f.n.appender.pause()
		end = f.n.appender.log.End()
		return nil
	})
	if err != nil {
		return "", err
	}
	var late <-chan time.Time
	if h.timeout > 0 {
		late = time.After(h.timeout)
	}
	for {
		to := ""
		_, more := f.n.replicas.countIf(func(r *replica, p progress.Status) bool {
			if p.HasApplied(end) && (h.to == "" || r.addr == h.to) && !r.legacy {
				to = r.addr
			}
			return to != ""
		})
		if to != "" {
			return to, nil
		}
		select {
		case <-more:
		case <-late:
			if h.force {
				return h.to, nil
			}
			return "", fmt.Errorf("no replica has everything within %v", h.timeout)
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// asking says whether the upstream is to be asked to become the master.
func (f *failover) asking() bool { return f.now() == failoverAsking }

// answered ends the hand-over as the upstream's answer says, and returns the one by
// which it is followed now. Without any it is asked again.
func (f *failover) handleReply(ctx context.Context, q psyncRequest, sync upstream.Sync, err error) (upstream.Sync, error) {
	var refused *upstream.ReplyError
	switch {
	case err == nil:
		return sync, f.finishIfAsking(ctx, q, "the replica took over")
	case !errors.As(err, &refused), isLater(refused):
		return sync, err
	case strings.Contains(refused.Text, "can't be sent to a master"):
		if fault := f.finishIfAsking(ctx, q, "the replica is the master already"); fault != nil {
			return sync, fault
		}
		return sync, err
	case strings.Contains(refused.Text, "must match my replid"):
		return f.resolveForeignID(ctx, q, err)
	}
	if fault := f.onAppender(ctx, q, func(a *appender) error { return a.cancelHandOver(refused.Text) }); fault != nil {
		return sync, fmt.Errorf("%w; %w", err, fault)
	}
	return sync, err
}

// isLater says whether an upstream only cannot answer yet.
func isLater(r *upstream.ReplyError) bool {
	return strings.HasPrefix(r.Text, "-NOMASTERLINK") || strings.HasPrefix(r.Text, "-LOADING") || strings.HasPrefix(r.Text, "-MASTERDOWN")
}

// resolveForeignID finds out what became of a replica that is under another id now. It may
// have taken over, unheard by us, and handed the role on: then there is a master, and
// its stream goes on from ours. Where it does not, the replica may as well have been
// given to a foreign master before it heard of us, and nothing is done: to be the
// master again may make two, and to follow may replace the only copy of the data.
func (f *failover) resolveForeignID(ctx context.Context, q psyncRequest, refused error) (upstream.Sync, error) {
	sync, err := q.send(false)
	switch {
	case err != nil:
		return sync, fmt.Errorf("%w; and without FAILOVER: %w", refused, err)
	case sync.Full:
		return sync, &stopError{fmt.Errorf("%w; it offers the data of id %s in the place of ours, so whether it took over first is not known: "+
			"send FAILOVER ABORT to make this node the master again, and REPLICAOF after it if there is another master", refused, sync.ID)}
	case sync.ID == "" || strings.EqualFold(sync.ID, q.id):
		return sync, refused
	}
	return sync, f.finishIfAsking(ctx, q, "the replica took over, and follows another by now")
}

// end is finish, as an answer says.
func (f *failover) finishIfAsking(ctx context.Context, q psyncRequest, how string) error {
	return f.onAppender(ctx, q, func(*appender) error { f.finish(how); return nil })
}

// onAppender does what an answer says, unless ABORT came first.
func (f *failover) onAppender(ctx context.Context, q psyncRequest, do func(a *appender) error) error {
	a := f.n.appender
	_, err := a.submit(ctx, 0, nil, func() error {
		if !f.asking() || q.term != a.term {
			return errNoFailover
		}
		return do(a)
	})
	return err
}

// finish ends the hand-over. It, unmark and cancelHandOver are the appender's.
func (f *failover) finish(how string) {
	f.setState(failoverNone)
	if err := f.removeFile(); err != nil {
		f.n.logger.Warn().Err(err).Msg("the mark of a failover stays until it can be removed: a restart before that asks once more")
	}
	f.n.logger.Info().Str("how", how).Msg("failover ended")
}

// unmark removes failoverFile, if it may be there.
func (f *failover) removeFile() error {
	if !f.fileWritten {
		return nil
	}
	err := f.n.c.FS.Remove(filepath.Join(f.n.c.Dir, failoverFile))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = f.n.c.FS.SyncDir(f.n.c.Dir)
	}
	if err != nil {
		return fmt.Errorf("remove mark of a failover: %w", err)
	}
	f.fileWritten = false
	return nil
}

// cancelHandOver makes the node the master again. The hand-over ends only when it is: a
// node that follows the one it asked and does not know any more that it did would
// wait for it for ever, and it for the node.
func (a *appender) cancelHandOver(why string) error {
	if err := a.replicaOf(""); err != nil {
		return fmt.Errorf("take failover back: %w", err)
	}
	a.n.failover.finish("taken back: " + why)
	return nil
}

// recover goes on with a hand-over that a restart interrupted. A mark that could not be
// removed when it was over, and is of the id before that, means nothing.
func (f *failover) recover() error {
	b, err := disk.ReadFile(f.n.c.FS, filepath.Join(f.n.c.Dir, failoverFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read mark of a failover: %w", err)
	}
	f.fileWritten = true
	id, mark := f.n.identity(), strings.Fields(string(b))
	if len(mark) > 0 && mark[0] == id.Upstream && (len(mark) == 1 || mark[1] == string(id.History.ID())) {
		f.setState(failoverAsking)
		return nil
	}
	return f.removeFile()
}

// pause refuses units, and keeps expiry and PING away, until resume.
func (a *appender) pause() {
	if a.paused == nil {
		a.paused = make(chan struct{})
	}
}

func (a *appender) resume() {
	if a.paused != nil {
		close(a.paused)
		a.paused = nil
	}
}

// demoteTo makes the node a replica of the one that is to take over, unless ctx has
// ended. Not a byte is written between the pause and this.
func (a *appender) demoteTo(ctx context.Context, addr string) (err error) {
	f := a.n.failover
	switch {
	case ctx.Err() != nil: // ABORT said that it would not happen
		return ctx.Err()
	case a.role != Master:
		return ErrDemoted
	}
	defer a.resume()
	was := f.now()
	defer func() {
		if err == nil || a.err != nil { // what is on disk the next start judges
			return
		}
		f.setState(was)
		if fault := f.removeFile(); fault != nil { // while we are the master it means nothing, and replicaOf comes by here
			a.n.logger.Warn().Err(fault).Msg("the mark of a failover that was given up stays until it can be removed")
		}
	}()
	f.fileWritten = true
	err = disk.WriteFile(a.n.c.FS, filepath.Join(a.n.c.Dir, failoverFile), func(f disk.File) error {
		_, err := f.WriteAt([]byte(addr+"\n"+string(a.n.identity().History.ID())+"\n"), 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("mark failover: %w", err)
	}
	id := a.n.identity()
	id.Upstream = addr
	id.Term++
	f.setState(failoverAsking)
	return a.setIdentity(id)
}

// refusedError says that a node does not take over and has not: who asked is the
// master again.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }

func (e *refusedError) Unwrap() error { return e.err }

// takeOver is the other side: the upstream, whose id we follow, hands over to us.
func (a *appender) takeOver(id string) (err error) {
	switch {
	case a.role == Master:
		err = errors.New("PSYNC FAILOVER can't be sent to a master.") //nolint:staticcheck // Redis's own words
	case !strings.EqualFold(id, string(a.n.identity().History.ID())):
		err = errors.New("PSYNC FAILOVER replid must match my replid.") //nolint:staticcheck // Redis's own words
	case !a.n.isComplete():
		err = errors.New("PSYNC FAILOVER to a node whose data are not complete")
	default:
		err = a.replicaOf("")
	}
	if err != nil && a.err == nil {
		return &refusedError{err}
	}
	return err
}
