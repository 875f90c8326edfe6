package servers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// CacheOptions configures a Redis or Valkey. The zero value is a server that saves nothing on
// disk.
type CacheOptions struct {
	// Dir is the folder for its files. "" creates a temporary folder that Stop removes.
	Dir string
	// Port is the TCP port; 0 means any free port.
	Port int
	// ReplicaOf is the host:port of its master; "" means none.
	ReplicaOf string
	// Args are more options of the server, such as "--save", "60", "1". They override those of
	// this package.
	Args []string
}

// Cache is a Redis or Valkey server.
type Cache struct{ server }

// StartCache starts a Redis or Valkey. It returns when the server answers PING, even if it is
// still loading data, and does not wait for a replica to be in sync. ctx bounds only the start,
// not the server's life; if it has no deadline, the start may take a minute.
func (in *Installation) StartCache(ctx context.Context, k Kind, o CacheOptions) (*Cache, error) {
	p, ok := in.programs[k]
	if !ok || kindSpecs[k].database {
		return nil, fmt.Errorf("start %s: it is not an installed Redis or Valkey", k)
	}
	var upstream []string
	if o.ReplicaOf != "" {
		host, port, err := net.SplitHostPort(o.ReplicaOf)
		if err != nil {
			return nil, fmt.Errorf("start %s: parse address of its master: %w", k, err)
		}
		upstream = []string{"--replicaof", host, port}
	}
	c := &Cache{server{
		kind: k, port: o.Port, isReady: isCacheReady,
		stopTimeout: 20 * time.Second, startTimeout: time.Minute,
	}}
	if err := c.makeDir(o.Dir); err != nil {
		return nil, err
	}
	c.argv = func(port int) []string {
		args := []string{
			"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", c.dir, "--logfile",
			c.Log(),
			"--daemonize", "no", "--save", "", "--appendonly", "no",
			"--repl-diskless-sync-delay", "0", // do not wait 5 seconds for more replicas
		}
		return p.argv(append(append(args, upstream...), o.Args...)...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.startUntilReady(ctx, o.Port == 0); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", k, err), c.removeDir())
	}
	return c, nil
}

// StartProgram starts a program of the caller that answers PING and INFO as Redis does, such as a
// `rowfall node`. It is stopped like the servers of this package, and dies with this process. argv
// returns its command line for a port of 127.0.0.1. The output of the program is its log. ctx
// bounds only the start, as in StartCache.
func StartProgram(ctx context.Context, name Kind, argv func(port int) []string) (*Cache, error) {
	c := &Cache{server{
		kind: name, argv: argv, isReady: isCacheReady,
		stopTimeout: 20 * time.Second, startTimeout: time.Minute,
	}}
	if err := c.makeDir(""); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.startUntilReady(ctx, true); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), c.removeDir())
	}
	return c, nil
}

// isCacheReady reports whether the server answers and is the process that s has started. It
// compares the process id in INFO; a server that rejects INFO is assumed to be that process.
func isCacheReady(ctx context.Context, s *server) bool {
	conn, err := dial(ctx, s.port)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }() // all replies have been read
	if _, err := conn.Write([]byte("PING\r\nINFO server\r\nQUIT\r\n")); err != nil {
		return false
	}
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	if err != nil || line[0] != '+' && !isLiveError(line) {
		return false
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		if pid, ok := strings.CutPrefix(line, "process_id:"); ok {
			return strings.TrimSpace(pid) == strconv.Itoa(s.proc.cmd.Process.Pid)
		}
		if line[0] == '-' {
			return isLiveError(line)
		}
	}
}

// isLiveError reports whether an error reply comes from a working server that loads data or wants
// a password.
func isLiveError(line string) bool {
	for _, code := range []string{"-LOADING", "-NOAUTH", "-MASTERDOWN", "-NOPERM"} {
		if strings.HasPrefix(line, code) {
			return true
		}
	}
	return false
}
