package replication_test

import (
	"strconv"
	"sync/atomic"
	"time"
)

// clock is a node's clock. It shows the same time until the test moves it.
type clock struct{ atomic.Int64 }

// in returns the clock's time plus ms, as text.
func (c *clock) in(ms int64) string { return strconv.FormatInt(c.Load()+ms, 10) }

// newClock returns a clock that starts at the present time.
func newClock() *clock {
	c := &clock{}
	c.Store(time.Now().UnixMilli())
	return c
}
