package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"rowfall/pipelines/file"
	"rowfall/sink"
)

// requestTimeout limits how long a running pipeline may take to answer.
const requestTimeout = 40 * time.Second

// errNotRunning is returned if nothing listens at the address of a pipeline's node.
var errNotRunning = errors.New("no pipeline is running")

// askRunning sends a command to the node of the pipeline that runs with a file, and returns the
// reply.
func askRunning(ctx context.Context, path string, command ...string) (any, error) {
	c, err := file.Load(path)
	if err != nil {
		return nil, usageError{err}
	}
	node := &c.Sink.Node
	host, port, err := net.SplitHostPort(node.Listen)
	if err != nil {
		return nil, fmt.Errorf("read sink.node.listen of %s: %w", path, err)
	}
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	r := sink.OpenRemote(net.JoinHostPort(host, port), node.Password)
	defer func() { _ = r.Close() }()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	// Without this probe, the Redis client would retry, and print each failed attempt.
	probe, err := new(net.Dialer).DialContext(ctx, "tcp", r.Addr())
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%s: %w (nothing listens at %s); "+
			"start it with `rowfall run %s`", path, errNotRunning, r.Addr(), path)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the node of %s: %w", path, err)
	}
	_ = probe.Close()
	if node.ServerTLS.Cert != "" {
		return nil, fmt.Errorf("%s: the node accepts only TLS connections; "+
			"send %q to it with redis-cli --tls", path, strings.Join(command, " "))
	}
	return r.Do(ctx, command...)
}
