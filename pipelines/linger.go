package pipelines

import (
	"context"
	"time"
)

// patience bounds how long a read of the stream may hold back transactions that
// wait in the unit: the context it gives out ends unitAge after begin.
type lingerTimer struct {
	ctx    context.Context
	cancel context.CancelFunc
	timer  *time.Timer
}

// within returns the context to read with. It may have ended already: then a read
// that would wait fails at once, and others do not notice.
func (t *lingerTimer) context(ctx context.Context) context.Context {
	if t.ctx == nil {
		t.ctx, t.cancel = context.WithCancel(ctx)
		t.timer = time.AfterFunc(time.Hour, t.cancel)
		t.timer.Stop()
	}
	return t.ctx
}

// begin starts the time that may be waited.
func (t *lingerTimer) start() {
	if t.timer != nil {
		t.timer.Reset(unitAge)
	}
}

// end says that nothing waits any more.
func (t *lingerTimer) stop() {
	if t.timer == nil {
		return
	}
	t.timer.Stop()
	if t.ctx.Err() != nil {
		t.ctx, t.timer = nil, nil
	}
}

// stop frees what within took.
func (t *lingerTimer) close() {
	if t.timer != nil {
		t.timer.Stop()
		t.cancel()
	}
}
