package mysql

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
)

// handshakeBudget bounds the bytes that a server may send before the client is authenticated.
const handshakeBudget = 256 << 10

const capabilitySSL = 0x0800

// greetedConn is a connection whose greeting was read and checked, and is read again by go-mysql.
// go-mysql indexes the packet without checking its length, and TLS must be decided before go-mysql
// connects.
type greetedConn struct {
	net.Conn
	pending []byte
	budget  int // bytes that may still be read; negative: no limit
	ssl     bool
	// immediate, if it is not nil, is the connection whose readNow reads instead of Read. With
	// nothing to read, Read returns os.ErrDeadlineExceeded, after which TLS can be read further.
	immediate *Conn
}

func (c *greetedConn) Read(b []byte) (int, error) {
	if len(c.pending) > 0 {
		n := copy(b, c.pending)
		c.pending = c.pending[n:]
		return n, nil
	}
	if c.budget == 0 {
		return 0, errors.New("the server sends too much before authentication is complete")
	}
	if c.budget > 0 && len(b) > c.budget {
		b = b[:c.budget]
	}
	if c.immediate != nil {
		if n := c.immediate.readNow(c.Conn, b); n > 0 {
			return n, nil
		}
		return 0, os.ErrDeadlineExceeded
	}
	n, err := c.Conn.Read(b)
	if c.budget > 0 {
		c.budget -= n
	}
	return n, err
}

// NetConn returns the socket, as the NetConn of a TLS connection does.
func (c *greetedConn) NetConn() net.Conn { return c.Conn }

// greet reads the greeting, the server's first packet.
func greet(conn net.Conn) (*greetedConn, error) {
	var h [4]byte
	if _, err := io.ReadFull(conn, h[:]); err != nil {
		return nil, fmt.Errorf("read greeting: %w", err)
	}
	n := int(h[0]) | int(h[1])<<8 | int(h[2])<<16
	if n == 0 || n > 64<<10 || h[3] != 0 {
		return nil, errors.New("this is not a MySQL server: it sent no greeting")
	}
	pending := make([]byte, 4+n)
	copy(pending, h[:])
	if _, err := io.ReadFull(conn, pending[4:]); err != nil {
		return nil, fmt.Errorf("read greeting: %w", err)
	}
	ssl, err := parseGreeting(pending[4:])
	if err != nil {
		return nil, err
	}
	return &greetedConn{Conn: conn, pending: pending, budget: handshakeBudget, ssl: ssl}, nil
}

// parseGreeting checks an initial handshake packet (protocol version 10) up to its end, and reports
// whether the server offers TLS.
func parseGreeting(b []byte) (ssl bool, err error) {
	bad := errors.New("this is not a MySQL server: its greeting is malformed")
	switch {
	case len(b) == 0:
		return false, bad
	case b[0] == 0xff:
		return false, ParseError(b)
	case b[0] == 0x0b:
		return false, errors.New("this port serves MySQL's X protocol; " +
			"use the port of the classic protocol, usually 3306")
	case b[0] != 10:
		return false, fmt.Errorf("protocol version %d is not supported, only 10", b[0])
	}
	end := bytes.IndexByte(b, 0)
	if end < 0 {
		return false, bad
	}
	b = b[end+1:]
	// thread id 4, scramble 8, filler 1, capabilities 2, charset 1, status 2,
	// capabilities 2, scramble length 1, reserved 10
	const fixed = 4 + 8 + 1 + 2 + 1 + 2 + 2 + 1 + 10
	if len(b) < fixed || b[12] != 0 {
		return false, bad
	}
	capabilities := uint32(binary.LittleEndian.Uint16(b[13:])) |
		uint32(binary.LittleEndian.Uint16(b[18:]))<<16
	const protocol41, secureConnection, pluginAuth = 0x200, 0x8000, 0x80000
	if capabilities&protocol41 == 0 || capabilities&secureConnection == 0 {
		return false, errors.New("this server is older than MySQL 5.7, which is not supported")
	}
	scramble := max(int(b[20])-8, 13)
	rest := b[fixed:]
	if len(rest) < scramble {
		return false, bad
	}
	if capabilities&pluginAuth != 0 && bytes.IndexByte(rest[scramble:], 0) < 0 {
		return false, bad
	}
	return capabilities&capabilitySSL != 0, nil
}

// dialer returns a function that connects and reads the greeting, and stores the connection in
// *last.
func dialer(last **greetedConn) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		stop := closeOnDone(ctx, conn)
		g, err := greet(conn)
		stop()
		if err != nil {
			_ = conn.Close()
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return nil, err
		}
		*last = g
		return g, nil
	}
}

// closeOnDone closes conn when ctx ends. stop ends the watch, and returns when a close that has
// begun is over.
func closeOnDone(ctx context.Context, conn io.Closer) (stop func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	done := make(chan struct{})
	end := context.AfterFunc(ctx, func() {
		_ = conn.Close()
		close(done)
	})
	return func() {
		if !end() {
			<-done
		}
	}
}
