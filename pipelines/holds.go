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

// Hold is something that keeps a pipeline from making progress although nothing has failed.
type Hold struct {
	// Reason names what the pipeline waits for.
	Reason string
	Since  time.Time
}

// String returns "reason, since TIME".
func (h Hold) String() string {
	return h.Reason + ", since " + h.Since.UTC().Format(time.RFC3339)
}

// holdThreshold is how long a wait lasts before it counts as a hold.
const holdThreshold = time.Second

// holds gathers everything that may hold a pipeline: its sink, its locks, its queries. Any
// goroutine may use it.
type holds struct {
	mu      sync.Mutex
	sources map[*queryWait]struct{}
}

// add makes w one of the sources until remove is called.
func (h *holds) add(w *queryWait) (remove func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sources == nil {
		h.sources = make(map[*queryWait]struct{})
	}
	h.sources[w] = struct{}{}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.sources, w)
	}
}

// now returns the holds of this moment, the oldest first; sink is asked besides the sources.
func (h *holds) now(sink Sink) []Hold {
	var found []Hold
	reason, since := sink.Held()
	candidates := []Hold{{reason, since}}
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

// waits shows what the statements of one connection wait for.
type queryWait struct {
	conn *mysql.Conn
	// what the statements are, for messages: "rows of shop.users".
	what string
	log  zerolog.Logger
	// known is set while the cause of a wait is known better than by the server's silence.
	known atomic.Pointer[Hold]
}

func newQueryWait(conn *mysql.Conn, what string, log zerolog.Logger) *queryWait {
	return &queryWait{conn: conn, what: what, log: log}
}

// hold returns what the connection waits for; Since is zero while it waits for nothing.
func (w *queryWait) hold() Hold {
	if h := w.known.Load(); h != nil {
		return *h
	}
	return Hold{fmt.Sprintf("waiting for MySQL at %s to answer %s", w.conn.Addr(), w.what), w.conn.SilentSince()}
}

const (
	// lockRetryDelay is how long a statement waits before it tries again to get a lock. The server has
	// waited for the lock itself before that (mysql.Config.LockWait).
	lockRetryDelay = 100 * time.Millisecond
	// lockLogInterval is how often a wait for a lock is logged while it lasts.
	lockLogInterval = time.Minute
)

// retryWhileLocked runs query until it fails by something else than a lock of the table that is held
// elsewhere, or succeeds. So the wait has no end, as long as ctx has none, but it shows: in the log
// and as a hold. likely makes it a hold from the beginning, since query waits for nothing else.
func (w *queryWait) retryWhileLocked(ctx context.Context, table string, likely bool, query func() error) error {
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
				w.log.Info().Str("table", table).Dur("after", time.Since(began)).Msg("the lock is free; the pipeline goes on")
			}
			return err
		}
		w.known.Store(wait)
		if time.Since(logged) >= lockLogInterval {
			logged = time.Now()
			w.log.Warn().Str("table", table).Time("since", began).
				Msg("the pipeline waits for a lock that another session holds; SHOW PROCESSLIST on the server shows the sessions")
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lockRetryDelay):
		}
	}
}
