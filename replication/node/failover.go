package node

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
	"rowfall/replication/identity"
	"rowfall/replication/notify"
	"rowfall/replication/progress"
	"rowfall/replication/replog"
)

// failoverFile is the file that names the target of an open hand-over and the replication id that
// is handed over. A restart reads the file and continues the hand-over. Without the file each of
// the two nodes could follow the other.
const failoverFile = "failover"

// The states of a hand-over, as INFO spells them.
const (
	failoverNone    = "no-failover"
	failoverWaiting = "waiting-for-sync"
	failoverAsking  = "failover-in-progress"
)

// failover hands the master's role over to a replica that has all data: writes are paused, the
// replica acknowledges the last byte, and the node becomes the replica's replica and sends PSYNC
// ... FAILOVER, by which the replica becomes the master.
type failover struct {
	n        *Node
	requests chan handOver // capacity 1

	mu    sync.Mutex
	state string // failoverAsking begins and ends on the appender only
	abort func() // closes the aborted channel of the current handOver; may be called again

	fileWritten bool // failoverFile may exist; only the holder of the appender's turn uses it
}

// handOver is one FAILOVER command.
type handOver struct {
	to      string // empty: the first replica that has all data
	force   bool   // after timeout, hand over to a target that lacks data
	timeout time.Duration
	aborted <-chan struct{} // closed by ABORT
}

// errNoFailover is returned when there is no hand-over to complete or to cancel.
var errNoFailover = errors.New("No failover in progress.") //nolint:staticcheck // Redis's own words

// pausedError is returned for a unit during the pause; resumed is closed at the end of the pause.
type pausedError struct{ resumed <-chan struct{} }

func (e *pausedError) Error() string { return "writing is paused for a failover" }

// now returns the state.
func (f *failover) now() string {
	state, _ := f.current()
	return state
}

// current returns the state and the function that aborts the current handOver.
func (f *failover) current() (state string, abort func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state, f.abort
}

func (f *failover) setState(state string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = state
}

// Failover hands the master's role over to the replica at to, host:port as announced, or with an
// empty address to the first replica that has all data. It returns when the hand-over has begun;
// Status.Failover shows its state. After timeout, the node stays the master without force. With
// force, which needs to and a timeout, the role goes to a replica that lacks the newest writes. A
// timeout of 0 waits without limit.
//
// Errors are Redis's texts: on a replica, without replicas, for an unknown or not online target,
// and during another failover.
func (n *Node) Failover(to string, force bool, timeout time.Duration) error {
	f := n.failover
	if role, _ := n.Role(); role == Replica {
		//nolint:staticcheck // Redis's own words
		return errors.New("FAILOVER is not valid when server is a replica.")
	}
	all := n.replicas.status()
	switch {
	case len(all) == 0:
		//nolint:staticcheck // Redis's own words
		return errors.New("FAILOVER requires connected replicas.")
	case force && (to == "" || timeout <= 0):
		//nolint:staticcheck // Redis's own words
		return errors.New("FAILOVER with force option requires both a timeout and " +
			"target HOST and IP.")
	case to != "":
		known, online := false, false
		for _, r := range all {
			known = known || r.Addr == to
			online = online || r.Addr == to && r.State == ReplicaOnline
		}
		if !known {
			//nolint:staticcheck // Redis's own words
			return errors.New("FAILOVER target HOST and PORT is not a replica.")
		}
		if !online {
			//nolint:staticcheck // Redis's own words
			return errors.New("FAILOVER target replica is not online.")
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state != failoverNone {
		return errors.New("FAILOVER already in progress.") //nolint:staticcheck // Redis's own words
	}
	aborted := make(chan struct{})
	f.state, f.abort = failoverWaiting, sync.OnceFunc(func() { close(aborted) })
	f.requests <- handOver{to, force, timeout, aborted}
	return nil
}

// AbortFailover cancels a hand-over. If PSYNC ... FAILOVER may have been sent, the node becomes the
// master again under a new replication id, because the replica may be a master, too.
func (n *Node) AbortFailover(ctx context.Context) error {
	return n.appender.do(ctx, n.appender.abortFailover)
}

// abortFailover is AbortFailover on the appender. There, either the role has not been handed over,
// and abort prevents that, or the node takes the role back.
func (a *appender) abortFailover() error {
	state, abort := a.n.failover.current()
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

// handOver pauses writes, waits for the replica and makes the node its replica.
func (f *failover) handOver(ctx context.Context, h handOver) {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel()
	watch.Go(func() {
		defer cancel()
		waitFor(ctx, h.aborted, nil)
	})
	a := f.n.appender
	release := f.n.stall("a failover waits for its replica")
	defer release()
	to, err := f.waitForReplica(ctx, h)
	if err == nil {
		err = a.do(ctx, func() error { return a.demoteTo(h.aborted, to) })
	}
	if err != nil {
		f.setState(failoverNone)
		// On an error the appender has stopped, and no unit waits.
		_ = a.do(context.Background(), func() error { a.resume(); return nil })
		f.n.logger.Warn().Err(err).Str("target", h.to).
			Msg("failover aborted: node stays the master")
	}
}

// waitForReplica pauses writes and waits for a replica that has all data. It returns the replica's
// address.
func (f *failover) waitForReplica(ctx context.Context, h handOver) (to string, err error) {
	var end replog.Offset
	err = f.n.appender.do(ctx, func() (err error) {
		end, err = f.n.appender.pause()
		return err
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
			return "", fmt.Errorf("wait for replica: none has all data within %v", h.timeout)
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// finish ends the hand-over. Appender goroutine only.
func (f *failover) finish(how string) {
	f.setState(failoverNone)
	if err := f.removeFile(); err != nil {
		f.n.logger.Warn().Err(err).
			Msg("the file of the failover cannot be removed; a restart before its removal sends " +
				"PSYNC with FAILOVER again")
	}
	f.n.logger.Info().Str("how", how).Msg("failover ended")
}

// removeFile removes failoverFile if it may exist. Appender goroutine only.
func (f *failover) removeFile() error {
	if !f.fileWritten {
		return nil
	}
	err := f.n.c.FS.Remove(filepath.Join(f.n.c.Dir, failoverFile))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = f.n.c.FS.SyncDir(f.n.c.Dir)
	}
	if err != nil {
		return fmt.Errorf("remove file of failover: %w", err)
	}
	f.fileWritten = false
	return nil
}

// cancelHandOver makes the node the master again. The hand-over ends only if that succeeds:
// otherwise the node and its former replica, which follow each other, would wait for each other for
// ever.
func (a *appender) cancelHandOver(why string) error {
	if err := a.replicaOf(""); err != nil {
		return fmt.Errorf("cancel failover: %w", err)
	}
	a.n.failover.finish("canceled: " + why)
	return nil
}

// recover continues a hand-over that a restart interrupted. A file of an earlier id is left from a
// hand-over that has ended, and is removed.
func (f *failover) recover() error {
	b, err := disk.ReadFile(f.n.c.FS, filepath.Join(f.n.c.Dir, failoverFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read file of failover: %w", err)
	}
	f.fileWritten = true
	id, words := f.n.identity(), strings.Fields(string(b))
	// Does the file name the current upstream, and, if it names an id, the current id?
	sameID := len(words) == 1 || len(words) > 1 && words[1] == string(id.History.ID())
	if len(words) > 0 && words[0] == id.Upstream && sameID {
		f.setState(failoverAsking)
		return nil
	}
	return f.removeFile()
}

// writeFile writes failoverFile. Appender goroutine only.
func (f *failover) writeFile(target string, id identity.ID) error {
	f.fileWritten = true
	path := filepath.Join(f.n.c.Dir, failoverFile)
	text := target + "\n" + string(id) + "\n"
	err := disk.WriteFile(f.n.c.FS, path, func(f disk.File) error {
		_, err := f.WriteAt([]byte(text), 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("write file of failover: %w", err)
	}
	return nil
}

// pause stops units, expiry and PING of a master until resume. It returns the end of the log.
func (a *appender) pause() (end replog.Offset, err error) {
	if a.role != Master {
		return 0, ErrDemoted
	}
	if a.paused == nil {
		a.paused = make(chan struct{})
	}
	return a.log.End(), nil
}

func (a *appender) resume() {
	if a.paused != nil {
		close(a.paused)
		a.paused = nil
	}
}

// demoteTo makes the node a replica of its target, unless aborted is closed. No byte is written
// between pause and demoteTo.
func (a *appender) demoteTo(aborted <-chan struct{}, addr string) (err error) {
	f := a.n.failover
	switch {
	case notify.IsClosed(aborted): // ABORT got the reply OK
		return context.Canceled
	case a.role != Master:
		return ErrDemoted
	}
	defer a.resume()
	was := f.now()
	defer func() {
		if err == nil || a.err != nil { // after a disk error the next start decides
			return
		}
		f.setState(was)
		// A master ignores the file, and replicaOf removes it before the role changes.
		if fault := f.removeFile(); fault != nil {
			a.n.logger.Warn().Err(fault).
				Msg("the file of the aborted failover cannot be removed; the removal is retried")
		}
	}()
	id := a.n.identity()
	if err := f.writeFile(addr, id.History.ID()); err != nil {
		return err
	}
	id.Upstream = addr
	id.Term++
	f.setState(failoverAsking)
	return a.setIdentity(id)
}
