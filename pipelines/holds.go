package pipelines

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"rowfall/binlog/mysql"
)

// Hold is a cause that keeps a pipeline from making progress although nothing has failed.
type Hold struct {
	// Reason names what the pipeline waits for, and Since is when the wait began.
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// String returns "reason, since TIME".
func (h Hold) String() string {
	return h.Reason + ", since " + h.Since.UTC().Format(time.RFC3339)
}

// holdThreshold is how long a wait lasts before it counts as a hold.
const holdThreshold = time.Second

// holds collects what may hold a pipeline or its jobs: its sink, table locks, queries without an
// answer, and the throttle of jobs.
// Any goroutine may use it.
type holds struct {
	mu      sync.Mutex
	sources map[holdSource]struct{}
}

// holdSource is something that may wait. Any goroutine may call hold, which returns a zero Since
// while it does not wait.
type holdSource interface{ hold() Hold }

// add adds a source, until remove is called.
func (h *holds) add(w holdSource) (remove func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sources == nil {
		h.sources = make(map[holdSource]struct{})
	}
	h.sources[w] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.sources, w)
	}
}

// now returns the present holds of the sink and the sources, and removal if it is not nil, oldest
// first.
func (h *holds) now(sink Sink, removal *Hold) []Hold {
	var found []Hold
	reason, since := sink.Held()
	candidates := []Hold{{reason, since}}
	if removal != nil {
		candidates = append(candidates, *removal)
	}
	h.mu.Lock()
	for w := range h.sources {
		candidates = append(candidates, w.hold())
	}
	h.mu.Unlock()
	for _, c := range candidates {
		if !c.Since.IsZero() && time.Since(c.Since) >= holdThreshold {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b Hold) int {
		if n := a.Since.Compare(b.Since); n != 0 {
			return n
		}
		return strings.Compare(a.Reason, b.Reason)
	})
	return found
}

// queryWait is the wait of the statements of one connection.
type queryWait struct {
	conn *mysql.Conn
	// what describes the statements, for messages: "rows of shop.users".
	what string
	log  zerolog.Logger
	// known is the wait's cause, if more is known than that the server is silent.
	known atomic.Pointer[Hold]
}

func newQueryWait(conn *mysql.Conn, what string, log zerolog.Logger) *queryWait {
	return &queryWait{conn: conn, what: what, log: log}
}

// hold returns what the connection waits for. Since is zero if it does not wait.
func (w *queryWait) hold() Hold {
	if h := w.known.Load(); h != nil {
		return *h
	}
	reason := fmt.Sprintf("waiting for MySQL at %s to answer %s", w.conn.Addr(), w.what)
	return Hold{reason, w.conn.SilentSince()}
}

const (
	// lockRetryDelay is the pause between two tries of a statement that needs a lock. In each try
	// the server itself waits for mysql.Config.LockWait.
	lockRetryDelay = 100 * time.Millisecond
	// lockLogInterval is how often a lasting wait for a lock is logged.
	lockLogInterval = time.Minute
)

// retryWhileLocked runs query again as long as it fails because another session holds a lock of the
// table. The wait has no limit but ctx; the log and Stats.Held show it. likely means that query
// waits for nothing but the lock, so that the hold begins at once.
func (w *queryWait) retryWhileLocked(
	ctx context.Context, table string, likely bool, query func() error,
) error {
	began := time.Now()
	wait := &Hold{"waiting for a metadata lock on " + table, began}
	if likely {
		w.known.Store(wait)
	}
	defer w.known.Store(nil)
	var logged time.Time
	for {
		err := query()
		if !mysql.IsCode(err, mysql.CodeLockTimeout) {
			if !logged.IsZero() && err == nil {
				w.log.Info().Str("table", table).Dur("after", time.Since(began)).
					Msg("the lock is free; the pipeline continues")
			}
			return err
		}
		w.known.Store(wait)
		if time.Since(logged) >= lockLogInterval {
			logged = time.Now()
			w.log.Warn().Str("table", table).Time("since", began).
				Msg("the pipeline waits for a lock that another session holds; " +
					"SHOW PROCESSLIST on the server shows the sessions")
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lockRetryDelay):
		}
	}
}
