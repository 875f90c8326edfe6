package replication

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"rowfall/replication/resp"
)

// answerLoading replies LOADING to every connection and closes it, until stop is called. The node
// listens before its data are loaded, and a client that had to wait would not try another node.
// With TLS it sends no reply, because that would need a handshake. The listener is unused when stop
// returns.
func answerLoading(l *net.TCPListener, tls bool) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
				return
			case err != nil: // mostly too many open files, which can pass
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
		_ = l.SetDeadline(time.Unix(1, 0)) // ends Accept; an error means that Accept has ended
		wg.Wait()
		_ = l.SetDeadline(time.Time{})
	}
}
