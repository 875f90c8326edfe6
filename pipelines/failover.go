package pipelines

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"rowfall/binlog"
	"rowfall/pipelines/mysqlsource"
	"rowfall/sink"
)

// This file chooses the server of a run. The servers of source.mysql.addresses are tried in their
// order, until the stream of one of them works. After that, every error ends the run, and the next
// run begins with the first address again.

// serverError is a fault of one server that was found before its stream worked. Another server of
// source.mysql.addresses may be without this fault.
type serverError struct{ err error }

func (e *serverError) Error() string { return e.err.Error() }
func (e *serverError) Unwrap() error { return e.err }

// ofServer marks an error as a fault of the server; nil stays nil.
func ofServer(err error) error {
	if err == nil {
		return nil
	}
	return &serverError{err}
}

// isOfServer reports whether the next server may be tried after an error. The end of ctx and a sink
// that is not writable are not faults of a server.
func isOfServer(ctx context.Context, err error) bool {
	return errors.As(err, new(*serverError)) && ctx.Err() == nil &&
		!errors.Is(err, sink.ErrDemoted) && !errors.Is(err, sink.ErrClosed)
}

// runServers runs with the first server that can serve the stored position.
func (p *Pipeline) runServers(ctx context.Context, state sink.State, stored progress) error {
	var failed failedServers
	addresses := p.config.Source.MySQL.Addresses
	for i, address := range addresses {
		src, err := p.openMySQL(ctx, []string{address})
		if err == nil {
			p.serverAddr.Store(&address)
			err = p.runServer(ctx, src, state, stored, &failed)
			p.serverAddr.Store(nil)
			src.Close()
		} else if ctx.Err() == nil {
			failed.add(address, err, "")
			err = ofServer(err)
		}
		if !isOfServer(ctx, err) {
			return err
		}
		if i+1 < len(addresses) {
			p.log.Warn().Err(err).Str("addr", address).
				Msg("cannot follow this server of source.mysql.addresses; the next one is tried")
		}
	}
	err := failed.join()
	if reason := failed.lost(); reason != "" {
		return p.beginRebuild(reason, err)
	}
	return err
}

// runServer runs with one server. A fault of this server is added to failed.
func (p *Pipeline) runServer(
	ctx context.Context, src *mysqlsource.Source, state sink.State, stored progress,
	failed *failedServers,
) error {
	err := p.runOnce(ctx, src, state, stored)
	if !isOfServer(ctx, err) {
		if p.hasOtherServers() && errors.As(err, new(*binlog.HistoryError)) {
			return errResetWhileFollowed(err)
		}
		return p.rebuildAfter(ctx, src, &stored, err)
	}
	reason := ""
	if p.mayRebuild(ctx, &stored) {
		lost, reconcile, checked := p.sourceLost(ctx, src, &stored, err)
		switch {
		case checked != nil:
			err = ofServer(checked)
		case reconcile:
			reason = lost
		}
	}
	failed.add(src.Identity().Addr, err, reason)
	return err
}

// serverAddresses returns the address of the server that the pipeline follows. While it follows
// none, these are all the servers of source.mysql.addresses.
func (p *Pipeline) serverAddresses() []string {
	if addr := p.serverAddr.Load(); addr != nil {
		return []string{*addr}
	}
	return p.config.Source.MySQL.Addresses
}

func (p *Pipeline) hasOtherServers() bool { return len(p.config.Source.MySQL.Addresses) > 1 }

// errResetWhileFollowed returns an error that is neither a StopError nor a HistoryError: the next
// run finds out whether another server still has the history of the data.
func errResetWhileFollowed(err error) error {
	return fmt.Errorf("%s; the servers of source.mysql.addresses are tried again", err.Error())
}

// failedServers are the servers that a run could not use.
type failedServers []failedServer

type failedServer struct {
	address string
	err     error
	// lost is why the server can never serve the stored position; empty if it may, or if the
	// pipeline file does not allow reading every table again.
	lost string
}

func (f *failedServers) add(address string, err error, lost string) {
	*f = append(*f, failedServer{address, err, lost})
}

// join returns one error for all servers. It is a StopError if every server's error is one: a
// server that may recover is tried again.
func (f failedServers) join() error {
	if len(f) == 1 {
		return f[0].err
	}
	texts := make([]string, len(f))
	joined := &serversError{}
	stopped := 0
	for i, s := range f {
		texts[i] = s.address + ": " + s.err.Error()
		if errors.As(s.err, new(*StopError)) {
			stopped++
		} else {
			joined.retried = append(joined.retried, s.err)
		}
	}
	joined.text = fmt.Sprintf("no server of source.mysql.addresses can be followed: %s",
		strings.Join(texts, "; "))
	if stopped == len(f) {
		return &StopError{Err: joined}
	}
	return joined
}

// lost returns the reason to read every table again. It is empty if no server has lost the stored
// position, or if a server that was reached has not executed all of the position yet: that server
// may serve the position later. A server that cannot be reached does not prevent the reading,
// because it may be gone for good.
func (f failedServers) lost() string {
	reason := ""
	for _, s := range f {
		if errors.Is(s.err, errNotExecuted) {
			return ""
		}
		if reason == "" {
			reason = s.lost
		}
	}
	return reason
}

// serversError contains the errors of several servers. Only those that a retry may correct are
// unwrapped.
type serversError struct {
	text    string
	retried []error
}

func (e *serversError) Error() string   { return e.text }
func (e *serversError) Unwrap() []error { return e.retried }
