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

// CacheOptions says how a Redis or Valkey is to run. The zero value is one that keeps nothing on disk.
type CacheOptions struct {
	// Dir is the folder for its files. "" makes a temporary folder that Stop removes.
	Dir string
	// Port is the TCP port, 0 for any that is free.
	Port int
	// ReplicaOf is the host:port of its master; "" for none.
	ReplicaOf string
	// Args are further options for the server, such as "--save", "60", "1"; they win over this package's.
	Args []string
}

// Cache is a Redis or Valkey server.
type Cache struct{ server }

// StartCache starts a Redis or Valkey and returns when it answers PING, be it still loading its data. ctx bounds the
// start only, not the server's life; without a deadline a minute does. A replica is not waited for to be in sync.
func (in *Installation) StartCache(ctx context.Context, k Kind, o CacheOptions) (*Cache, error) {
	p, ok := in.programs[k]
	if !ok || recipes[k].database {
		return nil, fmt.Errorf("start %s: not an installed cache", k)
	}
	var upstream []string
	if o.ReplicaOf != "" {
		host, port, err := net.SplitHostPort(o.ReplicaOf)
		if err != nil {
			return nil, fmt.Errorf("start %s: read its master's address: %w", k, err)
		}
		upstream = []string{"--replicaof", host, port}
	}
	c := &Cache{server{
		kind: k, port: o.Port, ready: cacheReady, grace: 20 * time.Second, start: time.Minute,
	}}
	if err := c.open(o.Dir); err != nil {
		return nil, err
	}
	c.argv = func(port int) []string {
		args := []string{
			"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", c.dir, "--logfile", c.Log(),
			"--daemonize", "no", "--save", "", "--appendonly", "no",
			"--repl-diskless-sync-delay", "0", // do not wait five seconds for more replicas to come
		}
		return p.argv(append(append(args, upstream...), o.Args...)...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.launch(ctx, o.Port == 0); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", k, err), c.discard())
	}
	return c, nil
}

// StartProgram starts a program of the caller's that answers PING and INFO as a Redis does, such as a `rowfall node`, in
// the same care as the servers of this package: it dies with this process and is ended like them. argv makes its command
// line for a port of 127.0.0.1; what it prints is its log.
func StartProgram(ctx context.Context, name Kind, argv func(port int) []string) (*Cache, error) {
	c := &Cache{server{kind: name, argv: argv, ready: cacheReady, grace: 20 * time.Second, start: time.Minute}}
	if err := c.open(""); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.launch(ctx, true); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), c.discard())
	}
	return c, nil
}

// cacheReady says whether the server answers, and is ours: where it may be asked it tells its process id.
func cacheReady(ctx context.Context, s *server) bool {
	conn, err := dial(ctx, s.port)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }() // the answers are in hand
	if _, err := conn.Write([]byte("PING\r\nINFO server\r\nQUIT\r\n")); err != nil {
		return false
	}
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	if err != nil || line[0] != '+' && !answers(line) {
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
			return answers(line)
		}
	}
}

// answers says whether an error is what a server that works gives to a client without a password or too early.
func answers(line string) bool {
	for _, code := range []string{"-LOADING", "-NOAUTH", "-MASTERDOWN", "-NOPERM"} {
		if strings.HasPrefix(line, code) {
			return true
		}
	}
	return false
}
