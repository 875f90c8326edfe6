package mysql

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// defaultSilence is the value of Config.Silence if that is 0.
const defaultSilence = time.Minute

// ScanSilence is the silence to allow for statements for which the server reads a whole binlog file
// (BINLOG_GTID_POS); see Conn.SetSilence.
const ScanSilence = 10 * time.Minute

// SilentError is returned when the server sent nothing for too long while a statement ran, and the
// connection was closed. Either the connection is dead without having been closed (a firewall or a
// proxy dropped it), or the statement takes longer. A retry with a higher limit helps in both
// cases.
type SilentError struct {
	Addr  string
	Limit time.Duration
}

// Error names the server and the limit.
func (e *SilentError) Error() string {
	return fmt.Sprintf("mysql at %s has sent nothing for %v: the connection is dead, "+
		"or the statement takes longer; "+
		"check the network and SHOW PROCESSLIST on the server", e.Addr, e.Limit)
}

// timedConn bounds the duration of each read and write. It measures silence: a result that keeps
// arriving may take any time.
type timedConn struct {
	net.Conn
	limit time.Duration
	// lastByte is the time in nanoseconds since 1970 at which the last byte arrived, or the running
	// statement was sent; 0 while no statement runs.
	lastByte atomic.Int64
}

func (c *timedConn) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b)
	if n > 0 && c.lastByte.Load() != 0 {
		c.lastByte.Store(time.Now().UnixNano())
	}
	return n, err
}

func (c *timedConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	if err == nil {
		// TLS may write while it reads, long after this deadline.
		err = c.SetWriteDeadline(time.Time{})
	}
	return n, err
}

// startStatement and endStatement mark the time in which a statement runs.
func (c *timedConn) startStatement() { c.lastByte.Store(time.Now().UnixNano()) }
func (c *timedConn) endStatement()   { c.lastByte.Store(0) }

// SilentSince returns the time since which the server has sent nothing while a statement runs. It
// is zero while none runs. Any goroutine may call it.
func (c *Conn) SilentSince() time.Time {
	at := c.timed.lastByte.Load()
	if at == 0 {
		return time.Time{}
	}
	return time.Unix(0, at)
}

// SuspendSilence makes SilentSince return zero until resume is called. Use it while the rows of a
// result are not read, so that the server cannot send.
func (c *Conn) SuspendSilence() (resume func()) {
	c.timed.endStatement()
	return c.timed.startStatement
}

// SetSilence changes how long the server may send nothing while a statement runs, until restore is
// called. Use it for statements that keep the server silent for long.
func (c *Conn) SetSilence(limit time.Duration) (restore func()) {
	was := c.timed.limit
	c.timed.limit = limit
	return func() { c.timed.limit = was }
}

// Silence returns how long the server may send nothing while a statement runs.
func (c *Conn) Silence() time.Duration { return c.timed.limit }
