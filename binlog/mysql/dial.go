package mysql

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	gomysql "github.com/go-mysql-org/go-mysql/mysql"
)

const defaultTimeout = 10 * time.Second

// Dial connects to the first of the addresses that accepts, and prepares the session: utf8mb4,
// time_zone '+00:00', an empty sql_mode, autocommit, a timeout of an hour for a slow reader, a
// bounded wait for metadata locks, and the variables of resultVariables. The error names every
// address that was tried and, where known, the remedy.
func Dial(ctx context.Context, c Config) (*Conn, error) {
	if len(c.Addresses) == 0 {
		return nil, errors.New("connect to mysql: no address is given")
	}
	var failed error
	for _, address := range c.Addresses {
		conn, err := dialOne(ctx, c, address)
		if err == nil {
			return conn, nil
		}
		err = fmt.Errorf("connect to mysql at %s: %w", address, withRemedy(err))
		if failed == nil {
			failed = err
		} else {
			failed = fmt.Errorf("%w; %w", failed, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

func dialOne(ctx context.Context, c Config, address string) (*Conn, error) {
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout,
		fmt.Errorf("no answer within %v: check address and firewall", timeout))
	defer cancel()
	raw, err := handshake(ctx, c, address)
	if err != nil {
		return nil, err
	}
	conn := newConn(address, raw, c.Silence)
	if err := conn.prepare(ctx, c.lockWait()); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// handshake returns an authenticated connection from which no bytes are left to read.
func handshake(ctx context.Context, c Config, address string) (_ net.Conn, err error) {
	t, err := c.tlsConfig(address)
	if err != nil {
		return nil, err
	}
	password, err := c.password()
	if err != nil {
		return nil, err
	}
	network := "tcp"
	if isSocket(address) {
		network = "unix"
	}
	var greeted *greetedConn
	// In a few places (the public key of an account's plugin, the authentication data) go-mysql
	// indexes past the end of a malformed packet. A server must not be able to end the process.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the server's handshake is malformed: %v", p)
		}
		if err != nil && greeted != nil {
			_ = greeted.Close()
		}
	}()
	// The socket is closed when ctx ends. stop must run before the connection is returned, so
	// that the end of ctx cannot close it later.
	dial := dialer(&greeted)
	var stop func()
	watched := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err == nil {
			stop = closeOnDone(ctx, conn)
		}
		return conn, err
	}
	defer func() {
		if stop != nil {
			stop()
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()
	gc, err := client.ConnectWithDialer(
		ctx, network, address, c.User, password, "", watched, negotiate(c, t, &greeted))
	if err != nil {
		return nil, fromGoMySQL(err)
	}
	if gc.Conn.Conn == net.Conn(greeted) {
		return greeted.Conn, nil
	}
	greeted.budget = -1 // the TLS connection reads through it
	return gc.Conn.Conn, nil
}

// negotiate returns the option that sets the capabilities of the connection, after the greeting.
// t nil means no TLS.
func negotiate(c Config, t *tls.Config, greeted **greetedConn) client.Option {
	return func(gc *client.Conn) error {
		// Without these capabilities the protocol is the same on every server. Compression is off
		// by default.
		gc.UnsetCapability(gomysql.CLIENT_DEPRECATE_EOF)
		gc.UnsetCapability(gomysql.CLIENT_QUERY_ATTRIBUTES)
		attributes := map[string]string{"program_name": "rowfall"}
		maps.Copy(attributes, c.Attributes)
		gc.SetAttributes(attributes)
		switch {
		case t == nil:
		case (*greeted).ssl:
			gc.SetTLSConfig(t)
		case !c.tlsOptional():
			return fmt.Errorf("tls mode %s, but the server has no TLS: set it up there, "+
				"or set tls mode to preferred", c.TLS.Mode)
		}
		return nil
	}
}

// fromGoMySQL turns go-mysql's error into a *ServerError.
func fromGoMySQL(err error) error {
	var me *gomysql.MyError
	if errors.As(err, &me) {
		return &ServerError{Code: me.Code, State: me.State, Message: me.Message}
	}
	return err
}

// prepare reads the server's version and variables and sets up the session.
func (c *Conn) prepare(ctx context.Context, lockWait time.Duration) error {
	if err := c.Exec(ctx, "SET NAMES utf8mb4"); err != nil {
		return err
	}
	// Both may shorten or reject the next results. DEFAULT would be the global value.
	const unlimited = "SET SESSION sql_select_limit=18446744073709551615, SESSION sql_big_selects=1"
	if err := c.Exec(ctx, unlimited); err != nil {
		return err
	}
	r, err := c.Query(ctx, serverQuery)
	if err != nil {
		return err
	}
	if c.server, err = parseServer(r); err != nil {
		return err
	}
	// Back-pressure from the sink makes a slow reader: the server closes the connection if a write
	// is blocked for net_write_timeout seconds.
	set := []string{
		"time_zone='+00:00'", "sql_mode=''", "autocommit=1",
		"net_write_timeout=3600", "net_read_timeout=3600", "wait_timeout=28800",
		"group_concat_max_len=4294967295",
		// The default is to wait a year (MariaDB: a day) for a metadata lock.
		fmt.Sprintf("lock_wait_timeout=%d", int(max(lockWait, time.Second).Seconds())),
	}
	if c.server.Flavor == MySQL {
		set = append(set, "max_execution_time=0")
		if c.server.AtLeast(8, 0, 30) {
			// Generated invisible primary keys are read as other columns are.
			set = append(set, "show_gipk_in_create_table_and_information_schema=ON")
		}
	} else {
		// lockTimeoutWarning needs all warnings of a result.
		set = append(set, "max_statement_time=0", "max_error_count=65535")
	}
	if err := c.Exec(ctx, "SET SESSION "+strings.Join(set, ", SESSION ")); err != nil {
		return err
	}
	if err := c.setResultVariables(ctx); err != nil {
		return err
	}
	return c.Exec(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
}
