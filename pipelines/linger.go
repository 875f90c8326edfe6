package pipelines

import (
	"context"
	"time"
)

// lingerTimer limits how long committed transactions wait in the unit for the next event. The
// context that it gives to the stream's Next ends unitAge after start.
type lingerTimer struct {
	ctx    context.Context
	cancel context.CancelFunc
	timer  *time.Timer
}

// context returns the context for the next read. It may have ended already: then only a read that
// would have to wait fails.
func (t *lingerTimer) context(parent context.Context) context.Context {
	if t.ctx == nil {
		t.ctx, t.cancel = context.WithCancel(parent)
		t.timer = time.AfterFunc(time.Hour, t.cancel)
		t.timer.Stop()
	}
	return t.ctx
}

// start begins the wait of a first committed transaction.
func (t *lingerTimer) start() {
	if t.timer != nil {
		t.timer.Reset(unitAge)
	}
}

// stop ends the wait, because the unit was flushed. If the timer fired just before, the next call
// of context makes a new one.
func (t *lingerTimer) stop() {
	if t.timer == nil {
		return
	}
	t.timer.Stop()
	if t.ctx.Err() != nil {
		t.ctx, t.timer = nil, nil
	}
}

// close releases the timer and its context.
func (t *lingerTimer) close() {
	if t.timer != nil {
		t.timer.Stop()
		t.cancel()
	}
}
