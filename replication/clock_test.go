package replication_test

import (
	"strconv"
	"sync/atomic"
	"time"
)

// clock is a node's time, which stands still until it is moved.
type clock struct{ atomic.Int64 }

func (c *clock) in(ms int64) string { return strconv.FormatInt(c.Load()+ms, 10) }

func stopped() *clock {
	c := &clock{}
	c.Store(time.Now().UnixMilli())
	return c
}
