package node

import (
	"context"
	"sync"
	"time"
)

// sleep waits for d, or returns the error of ctx when that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waitFor waits until ctx ends, changed is closed, or timer fires. A nil channel does nothing.
func waitFor(ctx context.Context, changed <-chan struct{}, timer <-chan time.Time) {
	select {
	case <-ctx.Done():
	case <-changed:
	case <-timer:
	}
}

// every calls fn once a period in a goroutine, until fn fails or stop is called. stop waits for the
// goroutine and may be called again.
func every(period time.Duration, fn func() error) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if fn() != nil {
					return // the link is broken, and the goroutine that reads from it gets an error
				}
			case <-done:
				return
			}
		}
	})
	return sync.OnceFunc(func() {
		close(done)
		wg.Wait()
	})
}
