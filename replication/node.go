package replication

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"

	"rowfall/replication/node"
)

// Node is one master or replica: the core, whose methods it has, and the clients' side, which
// accepts connections and executes commands.
type Node struct {
	*node.Node
	c        Config
	listener net.Listener
	clients  *clients
	stats    stats
}

// Open listens, locks the directory against a second owner and recovers the data in it. Clients are
// served from Run on; until Open returns they get LOADING.
//
// Open returns an error if the configuration is invalid, the port or the directory is in use, or
// the data cannot be recovered. The directory is not changed then, unless recovery had begun.
func Open(c Config) (*Node, error) {
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("open node: %w", err)
	}
	stop := answerLoading(listener.(*net.TCPListener), c.TLS != nil)
	core, err := node.Open(c, listener.Addr().String())
	stop()
	if err != nil {
		listener.Close()
		return nil, err
	}
	if c.TLS != nil {
		listener = tls.NewListener(listener, c.TLS)
	}
	n := &Node{Node: core, c: c, listener: listener}
	n.clients = newClients(n)
	return n, nil
}

// Run serves until ctx ends, Close is called or the log fails. It returns when every goroutine of
// the node has ended and the directory is unlocked. It returns nil if ctx ended or Close was
// called, and everything written is known to be on disk. It may be called once.
func (n *Node) Run(ctx context.Context) error { return n.Node.Run(ctx, n.serve) }

// serve is the clients' side of Run. It ends when ctx has ended and all sessions have.
func (n *Node) serve(ctx context.Context) {
	host, _, _ := net.SplitHostPort(n.Addr())
	if n.c.Password == "" && !net.ParseIP(host).IsLoopback() {
		n.c.Logger.Warn().
			Msg("no password is set: any client that reaches this address can read and replicate " +
				"all data; administration is limited to clients of this host")
	}
	var accepting sync.WaitGroup
	accepting.Go(func() { n.clients.accept(ctx, n.listener) })
	<-ctx.Done()
	n.listener.Close()
	accepting.Wait()
}

// Close ends Run and waits for it, or, without Run, releases what Open opened. It may be called
// again.
func (n *Node) Close() error {
	err := n.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, n.Node.Close())
}

// Status returns the node's status, which INFO shows, too.
func (n *Node) Status() Status {
	st := n.Node.Status()
	st.Clients = n.clients.count()
	return st
}

// resetStats sets the counters of INFO to 0.
func (n *Node) resetStats() {
	n.ResetStats()
	n.stats.reset()
}
