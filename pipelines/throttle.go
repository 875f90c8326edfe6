package pipelines

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/pipelines/file"
	"rowfall/pipelines/holds"
	"rowfall/pipelines/jobs"
	"rowfall/sink"
)

const (
	// throttleInterval is how often the load is measured. After an error it is throttleRetry.
	throttleInterval = 500 * time.Millisecond
	throttleRetry    = 5 * time.Second
	// throttleTimeout limits one measurement.
	throttleTimeout = 30 * time.Second
	// throttleLogInterval limits the log lines of pauses that begin and end in quick succession.
	throttleLogInterval = time.Minute
)

// throttle pauses jobs while the load is above the limits of the pipeline file. Watch measures the
// load; IsPaused compares the load with the limits.
//
// The lag has two parts, and each is compared with the limit: how long the stream is behind the end
// of the source's binlog, and how long the slowest replica of the node is behind the node. Both
// follow from the times at which the ends were measured. A replica that is disconnected, or in a
// full resync, has no lag.
type throttle struct {
	limits file.PauseAbove
	// rows is the server whose Threads_running counts, and source the server of the stream.
	rows, source mysql.Config
	replicas     func() sink.ReplicaOffsets // nil: the sink has no replicas
	holds        *holds.Set
	log          zerolog.Logger

	paused atomic.Pointer[holds.Hold] // nil: jobs are not paused
	logged time.Time                  // when a pause was last logged; the loop's

	mu sync.Mutex
	// known is set once the load was measured, and fresh until IsPaused has seen the measurement.
	known, fresh bool
	err          error  // of the last measurement
	addr         string // of the server with these threads
	threads      int
	slowest      int64 // see sink.ReplicaOffsets
	stream       delay[place]
	node         delay[int64]
}

// place is a place in a binlog, in a comparable form.
type place struct {
	file   string
	offset uint64
}

var _ jobs.Throttle = (*throttle)(nil)

// newThrottle returns the throttle of the jobs of a run that follows the server at addr; nil
// without limits.
func (p *Pipeline) newThrottle(addr string) jobs.Throttle {
	limits := p.config.Source.Backfill.PauseAbove
	if limits == (file.PauseAbove{}) {
		return nil
	}
	t := &throttle{
		limits: limits, rows: p.mysqlConfig(), source: p.mysqlConfig(), holds: &p.holds,
		log: p.log,
	}
	t.source.Addresses = []string{addr}
	t.rows.Addresses = t.source.Addresses
	if readFrom := p.config.Source.ReadFrom; len(readFrom) > 0 {
		t.rows.Addresses = readFrom
	}
	if to, ok := p.target().(interface{ ReplicaOffsets() sink.ReplicaOffsets }); ok {
		t.replicas = to.ReplicaOffsets
	}
	return t
}

// Hold implements holds.Waiter.
func (t *throttle) Hold() holds.Hold {
	if h := t.paused.Load(); h != nil {
		return *h
	}
	return holds.Hold{}
}

// Watch implements jobs.Throttle. Pauses are shown as holds until Watch returns.
func (t *throttle) Watch(ctx context.Context, wake func()) {
	defer t.holds.Add(t)()
	defer t.forget()
	var rows, source watchedServer
	defer rows.close()
	defer source.close()
	for {
		err := t.measure(ctx, &rows, &source)
		wait := throttleInterval
		if err != nil {
			wait = throttleRetry
			rows.close()
			source.close()
		}
		if ctx.Err() != nil {
			return
		}
		wake()
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// forget removes the measurements, when the engine has no work any more.
func (t *throttle) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known, t.fresh, t.err = false, false, nil
	t.stream, t.node = delay[place]{}, delay[int64]{}
	t.paused.Store(nil)
}

// measure measures the load once.
func (t *throttle) measure(ctx context.Context, rows, source *watchedServer) error {
	ctx, cancel := context.WithTimeout(ctx, throttleTimeout)
	defer cancel()
	var threads int
	var end binlog.Position
	var err error
	if t.limits.ThreadsRunning > 0 {
		threads, err = rows.threadsRunning(ctx, t.rows)
	}
	if t.limits.ReplicaLag > 0 && err == nil {
		end, err = source.end(ctx, t.source)
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known, t.fresh = true, true
	t.err, t.threads, t.addr = err, threads, rows.addr()
	if t.limits.ReplicaLag > 0 && err == nil {
		t.stream.add(now, place{end.File, end.Offset})
		if t.replicas != nil {
			o := t.replicas()
			t.slowest = o.Slowest
			t.node.add(now, o.End)
		}
	}
	return err
}

// IsPaused implements jobs.Throttle. It compares each measurement with the limits once, because it
// is called after each transaction.
func (t *throttle) IsPaused(at *binlog.Position) bool {
	before := t.paused.Load()
	reason, isNew := t.reason(at)
	switch {
	case !isNew:
		return before != nil
	case reason == "":
		t.paused.Store(nil)
	case before == nil:
		t.paused.Store(&holds.Hold{Reason: reason, Since: time.Now()})
		if time.Since(t.logged) >= throttleLogInterval {
			t.logged = time.Now()
			t.log.Info().Str("reason", reason).Msg("jobs pause")
		}
	default:
		t.paused.Store(&holds.Hold{Reason: reason, Since: before.Since})
	}
	return reason != ""
}

// reason returns why jobs must pause; empty if they need not. isNew is false if nothing was
// measured since the last call.
func (t *throttle) reason(at *binlog.Position) (reason string, isNew bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known && !t.fresh {
		return "", false
	}
	t.fresh = false
	return t.compare(at), true
}

// compare returns why the last measurement is above the limits; empty if it is not.
func (t *throttle) compare(at *binlog.Position) string {
	const prefix = "jobs pause: "
	switch {
	case t.err != nil:
		return prefix + "the load of the source is unknown: " + t.err.Error()
	case !t.known:
		return prefix + "the load of the source is not measured yet"
	case t.limits.ThreadsRunning > 0 && t.threads > t.limits.ThreadsRunning:
		return fmt.Sprintf(prefix+"Threads_running of MySQL at %s is %d, above "+
			"pause_above.threads_running %d", t.addr, t.threads, t.limits.ThreadsRunning)
	case t.limits.ReplicaLag == 0:
		return ""
	}
	now := time.Now()
	stream := t.stream.behind(now, func(end place) bool {
		return at.CompareFile(binlog.Position{File: end.file, Offset: end.offset}) >= 0
	})
	var replica time.Duration
	if t.replicas != nil {
		replica = t.node.behind(now, func(end int64) bool { return end <= t.slowest })
	}
	who, lag := "the stream", stream
	if replica > stream {
		who, lag = "the slowest replica of the node", replica
	}
	if lag <= t.limits.ReplicaLag {
		return ""
	}
	return fmt.Sprintf(prefix+"%s is %v behind, above pause_above.replica_lag %v", who,
		lag.Round(100*time.Millisecond), t.limits.ReplicaLag)
}

// watchedServer is a connection to a server whose load is measured. It is opened when necessary.
type watchedServer struct{ conn *mysql.Conn }

func (s *watchedServer) open(ctx context.Context, c mysql.Config) error {
	if s.conn != nil {
		return nil
	}
	conn, err := mysql.Dial(ctx, c)
	if err != nil {
		return fmt.Errorf("connect to measure the load: %w", err)
	}
	s.conn = conn
	return nil
}

func (s *watchedServer) close() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// addr returns the address of the server; empty while there is no connection.
func (s *watchedServer) addr() string {
	if s.conn == nil {
		return ""
	}
	return s.conn.Addr()
}

// threadsRunning returns the server's counter Threads_running.
func (s *watchedServer) threadsRunning(ctx context.Context, c mysql.Config) (int, error) {
	if err := s.open(ctx, c); err != nil {
		return 0, err
	}
	r, err := s.conn.Query(ctx, "SHOW GLOBAL STATUS LIKE 'Threads_running'")
	if err != nil {
		return 0, fmt.Errorf("read Threads_running: %w", err)
	}
	if len(r.Rows) != 1 || len(r.Rows[0]) != 2 {
		return 0, errors.New("read Threads_running: the server has no such counter")
	}
	n, err := strconv.Atoi(string(r.Rows[0][1]))
	if err != nil {
		return 0, fmt.Errorf("read Threads_running: %w", err)
	}
	return n, nil
}

// end returns the end of the server's binlog.
func (s *watchedServer) end(ctx context.Context, c mysql.Config) (binlog.Position, error) {
	if err := s.open(ctx, c); err != nil {
		return binlog.Position{}, err
	}
	return query.EndOfLog(ctx, s.conn)
}
