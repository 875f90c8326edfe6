package replication_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
)

// A connection alone is no progress, so retries back off. Once, the node connected every 100 ms
// without end to an upstream that replies and hangs up.
func TestLinkWithoutProgressBacksOff(t *testing.T) {
	up := script(t, func(link int, _ string) string {
		switch link {
		case 1:
			return fullResync(0, hangUp)
		case 4:
			return "+CONTINUE\r\n" + string(unit("SET", "k", "v")) + hangUp
		}
		return "+CONTINUE\r\n" + hangUp
	})
	c := config(t)
	c.ReplicaOf = up.addr
	var waits waits
	c.Logger = zerolog.New(&waits)
	start(t, c)
	eventually(t, "five links", func() bool { return len(waits.list()) >= 5 })
	if got := fmt.Sprint(waits.list()[:5]); got != "[100 200 400 100 200]" {
		t.Errorf("the node waited %s ms", got)
	}
}

// Retries back off when an upstream grants a full resync and sends no snapshot, and the error names
// the upstream's log as the place of the reason. A Valkey 9 does so when it cannot write a key in
// the form that it chose, and forks each time. Once, the node retried every second, or at each
// closed connection.
func TestFailedFullResyncsBackOff(t *testing.T) {
	up := script(t, func(link int, _ string) string {
		switch {
		case link == 3:
			return fullResync(0, hangUp)
		case link < 3:
			return "+FULLRESYNC " + foreignID + " 0\r\n" + hangUp
		}
		return "+FULLRESYNC " + foreignID + " 0\r\n$1000\r\nREDIS0009" + hangUp
	})
	c := config(t)
	c.ReplicaOf = up.addr
	var waits waits
	c.Logger = zerolog.New(&waits)
	n, _ := start(t, c)
	eventually(t, "one link", func() bool { return len(waits.list()) >= 1 })
	if got := n.Status().Upstream.Err; !strings.Contains(got, "its own log holds the reason") {
		t.Errorf("the link ended with %q", got)
	}
	eventually(t, "five links", func() bool { return len(waits.list()) >= 5 })
	// The third link loaded a snapshot, which ends the back-off.
	if got := fmt.Sprint(slices.Delete(waits.list()[:5], 2, 3)); got != "[1000 2000 1000 2000]" {
		t.Errorf("the node waited %s ms", got)
	}
}

// waits is a log that keeps only the values of retry_in.
type waits struct {
	mu sync.Mutex
	ms []int
}

func (w *waits) Write(line []byte) (int, error) {
	var event struct {
		RetryIn int `json:"retry_in"`
	}
	if err := json.Unmarshal(line, &event); err == nil && event.RetryIn > 0 {
		w.mu.Lock()
		w.ms = append(w.ms, event.RetryIn)
		w.mu.Unlock()
	}
	return len(line), nil
}

func (w *waits) list() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]int(nil), w.ms...)
}
