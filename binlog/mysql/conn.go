package mysql

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	comQuit   = 0x01
	comQuery  = 0x03
	maxResult = 64 << 20
	maxColumn = 1 << 16

	quitTimeout = 100 * time.Millisecond
)

// errBroken says that an earlier call ended in the middle of a response.
var errBroken = errors.New("the connection was given up after an earlier error")

// Conn is one connection to a server. Only Close may be called from another
// goroutine than the one that uses it.
type Conn struct {
	server  Server
	addr    string
	net     net.Conn
	timed   *timedConn // net, as packets reads and writes it
	packets *packetConn
	closed  atomic.Bool
	broken  bool
	buf     []byte
	// warnings counts those that the last statement's result ended with.
	warnings uint16
}

func newConn(addr string, raw net.Conn, silence time.Duration) *Conn {
	if silence <= 0 {
		silence = defaultSilence
	}
	timed := &timedConn{Conn: raw, limit: silence}
	return &Conn{addr: addr, net: raw, timed: timed, packets: newPacketConn(timed)}
}

// Cell is one value of a text result; nil is NULL.
type Cell = []byte

// Result is a small result held in memory.
type Result struct {
	Columns []string
	Rows    [][]Cell
}

// Text returns a cell of a row by its column's name, in capitals or not, as text; NULL, and a
// column that is not there, is "".
func (r *Result) Text(row int, column string) string {
	for i, name := range r.Columns {
		if strings.EqualFold(name, column) {
			return string(r.Rows[row][i])
		}
	}
	return ""
}

// Server returns what the server said about itself when the connection began.
func (c *Conn) Server() Server { return c.server }

// Addr returns the address that the connection was made to.
func (c *Conn) Addr() string { return c.addr }

// Query runs one statement and returns its whole result, which must be small
// (at most 64 MiB). An error that the server answers with is a *ServerError,
// and the connection lives on; any other error ends it.
func (c *Conn) Query(ctx context.Context, sql string) (*Result, error) {
	res, size := &Result{}, 0
	err := c.run(ctx, sql, &res.Columns, func(cells [][]byte) error {
		kept := make([]Cell, len(cells))
		for i, cell := range cells {
			if cell != nil {
				kept[i] = append(Cell{}, cell...)
			}
			size += len(cell) + 24
		}
		if size > maxResult {
			return fmt.Errorf("query mysql at %s: result larger than %d bytes", c.addr, maxResult)
		}
		res.Rows = append(res.Rows, kept)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}

// Stream runs one statement and calls row for each row of its result as it
// arrives. cells and what they point to are valid during the call. An error
// from row is returned as it is and closes the connection.
func (c *Conn) Stream(ctx context.Context, sql string, row func(cells [][]byte) error) error {
	return c.run(ctx, sql, nil, row)
}

// Exec runs one statement and ignores the rows it returns, if any. Errors are as
// those of Query.
func (c *Conn) Exec(ctx context.Context, sql string) error {
	return c.run(ctx, sql, nil, func([][]byte) error { return nil })
}

// run does one COM_QUERY under ctx. Errors of the server leave the connection
// in step; all others end it.
func (c *Conn) run(ctx context.Context, sql string, columns *[]string, row func([][]byte) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("query mysql at %s: %w", c.addr, err)
	}
	if c.broken || c.closed.Load() {
		return fmt.Errorf("query mysql at %s: %w", c.addr, errBroken)
	}
	stop := closeOnDone(ctx, socket(c.net))
	c.timed.startStatement()
	fromRow, err := c.roundTrip(sql, columns, row)
	if err == nil && c.warnings > 0 {
		err = c.lockTimeoutWarning()
	}
	c.timed.endStatement()
	stop()
	if err == nil {
		return nil
	}
	var se *ServerError
	if !fromRow && errors.As(err, &se) {
		return fmt.Errorf("query mysql at %s: %w", c.addr, withRemedy(err))
	}
	c.broken = true
	_ = c.Close()
	switch {
	case fromRow:
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("query mysql at %s: %w", c.addr, context.Cause(ctx))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &SilentError{Addr: c.addr, Limit: c.timed.limit}
	}
	return fmt.Errorf("query mysql at %s: %w", c.addr, err)
}

// lockTimeout returns the error of a lock that the last statement waited for in vain. Of
// information_schema servers leave out the tables that are locked, and add a warning: such a
// result must not be taken for a whole one.
func (c *Conn) lockTimeoutWarning() error {
	var found error
	_, err := c.roundTrip("SHOW WARNINGS", nil, func(cells [][]byte) error {
		if len(cells) == 3 && string(cells[1]) == strconv.Itoa(CodeLockTimeout) {
			found = &ServerError{Code: CodeLockTimeout, State: "HY000", Message: string(cells[2])}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return found
}

// exchange sends a query and reads its response; fromRow says that the error is
// row's.
func (c *Conn) roundTrip(sql string, columns *[]string, row func([][]byte) error) (fromRow bool, err error) {
	p := c.packets
	c.warnings = 0
	if err := p.command(comQuery, []byte(sql)); err != nil {
		return false, err
	}
	n, err := c.readHeader(columns)
	if err != nil || n == 0 {
		return false, err
	}
	cells := make([][]byte, n)
	for {
		b, err := p.read(c.buf[:0])
		if cap(b) <= 1<<20 {
			c.buf = b
		}
		if err != nil {
			return false, err
		}
		switch {
		case len(b) == 0:
			return false, errMalformed
		case b[0] == 0xff:
			return false, ParseError(b)
		case isEOF(b):
			if len(b) >= 3 {
				c.warnings = binary.LittleEndian.Uint16(b[1:])
			}
			return false, checkLastResult(b)
		}
		if err := splitRow(b, cells); err != nil {
			return false, err
		}
		if err := row(cells); err != nil {
			return true, err
		}
	}
}

// readHeader reads a response up to its rows and returns the number of
// columns, 0 for a statement without a result.
func (c *Conn) readHeader(columns *[]string) (int, error) {
	p := c.packets
	b, err := p.read(nil)
	if err != nil {
		return 0, err
	}
	switch {
	case len(b) == 0 || b[0] == 0xfb || b[0] == 0xfe: // a request for a local file is refused
		return 0, errMalformed
	case b[0] == 0xff:
		return 0, ParseError(b)
	case b[0] == 0:
		return 0, nil
	}
	n, used, err := lengthInt(b)
	if err != nil || used != len(b) || n > maxColumn {
		return 0, fmt.Errorf("%w: column count", errMalformed)
	}
	for range n {
		if b, err = p.read(b[:0]); err != nil {
			return 0, err
		}
		if len(b) > 0 && b[0] == 0xff {
			return 0, ParseError(b)
		}
		if columns != nil {
			name, err := columnName(b)
			if err != nil {
				return 0, err
			}
			*columns = append(*columns, name)
		}
	}
	if b, err = p.read(b[:0]); err != nil {
		return 0, err
	}
	if len(b) > 0 && b[0] == 0xff {
		return 0, ParseError(b)
	}
	if !isEOF(b) {
		return 0, fmt.Errorf("%w: no end of column definitions", errMalformed)
	}
	return int(n), nil
}

// isEOF tells an EOF packet from a row that begins with a value of 16 MiB or
// more, whose length starts with the same byte.
func isEOF(b []byte) bool { return len(b) > 0 && len(b) < 9 && b[0] == 0xfe }

// checkLastResult refuses a second result, which no statement of ours has.
func checkLastResult(b []byte) error {
	const moreResults = 8
	if len(b) >= 5 && binary.LittleEndian.Uint16(b[3:])&moreResults != 0 {
		return fmt.Errorf("%w: more than one result", errMalformed)
	}
	return nil
}

// Command writes one command packet (sequence 0). The response is the
// caller's to read from NetConn: nothing of it is ever buffered here. An error
// is the socket's.
func (c *Conn) Command(cmd byte, payload []byte) error {
	if c.broken || c.closed.Load() {
		return fmt.Errorf("send command to mysql at %s: %w", c.addr, errBroken)
	}
	if err := c.packets.command(cmd, payload); err != nil {
		c.broken = true
		_ = c.Close()
		return fmt.Errorf("send command to mysql at %s: %w", c.addr, err)
	}
	_ = c.net.SetReadDeadline(time.Time{}) // of the last query; the caller sets its own
	return nil
}

// NetConn returns the socket, or the TLS connection over it. After Command the
// caller owns its read side and calls none of Query, Stream and Exec again.
func (c *Conn) NetConn() net.Conn { return c.net }

// Close closes the connection. It may be called more than once, and while
// another goroutine uses the connection, whose call then fails.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	// Without a COM_QUIT the server's log complains of an aborted connection.
	// It is written as one packet of its own, so that it cannot become part
	// of another; whether it arrives does not matter.
	if c.net.SetWriteDeadline(time.Now().Add(quitTimeout)) == nil {
		_, _ = c.net.Write([]byte{1, 0, 0, 0, comQuit})
	}
	return c.net.Close()
}

// socket returns what lies under TLS, which closes without a farewell.
func socket(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c
}
