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

	"rowfall/binlog/blocking"
)

const (
	comQuit   = 0x01
	comQuery  = 0x03
	maxResult = 64 << 20
	maxColumn = 1 << 16

	quitTimeout = 100 * time.Millisecond
)

// errBroken is returned after a call that ended in the middle of a response.
var errBroken = errors.New("the connection was closed after an earlier error")

// Conn is a connection to a server. One goroutine at a time may use it; Close and SilentSince may
// be called from any.
type Conn struct {
	server  Server
	addr    string
	net     net.Conn
	timed   *timedConn     // net with the deadlines of Config.Silence
	waits   *blocking.Conn // the socket below net, after WaitInKernel; otherwise nil
	packets *packetConn
	closed  atomic.Bool
	broken  bool
	// warnings is the number of warnings of the last statement's result.
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

// Result is a small result, held in memory.
type Result struct {
	Columns []string
	Rows    [][]Cell
}

// Text returns a cell as text, by its row's index and its column's name, whose case is ignored.
// NULL and an unknown column are "".
func (r *Result) Text(row int, column string) string {
	for i, name := range r.Columns {
		if strings.EqualFold(name, column) {
			return string(r.Rows[row][i])
		}
	}
	return ""
}

// Server returns the server's version and variables at the time of the connection.
func (c *Conn) Server() Server { return c.server }

// IsUsable reports whether the connection can be used again after the last error.
func (c *Conn) IsUsable() bool { return !c.broken && !c.closed.Load() }

// Addr returns the address that the connection was made to.
func (c *Conn) Addr() string { return c.addr }

// Query runs one statement and returns its whole result, at most 64 MiB. A *ServerError leaves the
// connection usable; any other error closes it, a *SilentError included.
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

// Stream runs one statement and calls row for each row of its result as the row arrives. cells and
// their bytes are valid during the call. An error of row is returned unchanged and closes the
// connection. Other errors are as those of Query.
func (c *Conn) Stream(ctx context.Context, sql string, row func(cells [][]byte) error) error {
	return c.run(ctx, sql, nil, row)
}

// Exec runs one statement and ignores its rows, if any. Errors are as those of Query.
func (c *Conn) Exec(ctx context.Context, sql string) error {
	return c.run(ctx, sql, nil, func([][]byte) error { return nil })
}

// run performs one COM_QUERY. After a server's error the connection can be used again; other errors
// close it.
func (c *Conn) run(
	ctx context.Context, sql string, columns *[]string, row func([][]byte) error,
) error {
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

// lockTimeoutWarning returns an error if the last statement waited in vain for a lock. Servers
// leave locked tables out of information_schema and add a warning; such a result is incomplete.
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

// roundTrip sends a query and reads its response. fromRow is set if the error is one of row.
func (c *Conn) roundTrip(
	sql string, columns *[]string, row func([][]byte) error,
) (fromRow bool, err error) {
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
		b, err := p.next()
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

// readHeader reads a response up to its rows. It returns the number of columns, 0 for a statement
// without a result.
func (c *Conn) readHeader(columns *[]string) (int, error) {
	p := c.packets
	b, err := p.read(nil)
	if err != nil {
		return 0, err
	}
	switch {
	case len(b) == 0 || b[0] == 0xfb || b[0] == 0xfe: // 0xfb requests a local file
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

// isEOF reports whether b is an EOF packet. A row that begins with a value of 16 MiB or more starts
// with the same byte, but is longer.
func isEOF(b []byte) bool { return len(b) > 0 && len(b) < 9 && b[0] == 0xfe }

// checkLastResult rejects a second result, which no statement of this program has.
func checkLastResult(b []byte) error {
	const moreResults = 8
	if len(b) >= 5 && binary.LittleEndian.Uint16(b[3:])&moreResults != 0 {
		return fmt.Errorf("%w: more than one result", errMalformed)
	}
	return nil
}

// Command writes one command packet (sequence number 0). The caller reads the response from
// NetConn; the Conn has buffered nothing of it. An error closes the connection.
func (c *Conn) Command(cmd byte, payload []byte) error {
	if c.broken || c.closed.Load() {
		return fmt.Errorf("send command to mysql at %s: %w", c.addr, errBroken)
	}
	if err := c.packets.command(cmd, payload); err != nil {
		c.broken = true
		_ = c.Close()
		return fmt.Errorf("send command to mysql at %s: %w", c.addr, err)
	}
	_ = c.net.SetReadDeadline(time.Time{}) // clears the last query's; the caller sets its own
	return nil
}

// NetConn returns the socket, or the TLS connection over it. After Command the caller owns its read
// side and must not call Query, Stream or Exec again.
func (c *Conn) NetConn() net.Conn { return c.net }

// Close closes the connection. It may be called more than once and from any goroutine. A call that
// is running then fails.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	// Without COM_QUIT the server logs an aborted connection. It is sent in one write, so that it
	// cannot become part of another packet. An error is ignored.
	if c.net.SetWriteDeadline(time.Now().Add(quitTimeout)) == nil {
		_, _ = c.net.Write([]byte{1, 0, 0, 0, comQuit})
	}
	return c.net.Close()
}

// socket returns the connection under TLS, which closes without sending a TLS alert.
func socket(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c
}
