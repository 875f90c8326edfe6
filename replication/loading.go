package replication

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"rowfall/replication/resp"
)

// answerLoading answers LOADING to everybody who connects, and hangs up, until stop is
// called: the node has its port before it has its data, and a client that is kept
// waiting would not go elsewhere. With TLS it only hangs up: a word would take a
// handshake. stop returns when nobody uses the listener any more.
func answerLoading(l *net.TCPListener, tls bool) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
				return
			case err != nil: // out of file descriptors, mostly: it can pass
				select {
				case <-time.After(100 * time.Millisecond):
				case <-done:
				}
				continue
			}
			if !tls {
				_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
				_, _ = conn.Write(resp.AppendError(nil, loadingError))
			}
			conn.Close()
		}
	})
	return func() {
		close(done)
		_ = l.SetDeadline(time.Unix(1, 0)) // ends Accept; it fails only where that has ended
		wg.Wait()
		_ = l.SetDeadline(time.Time{})
	}
}
