package pipelines

import (
	"context"
	"time"
)

// patience bounds how long a read of the stream may hold back transactions that
// wait in the unit: the context it gives out ends unitAge after begin.
type patience struct {
	ctx    context.Context
	cancel context.CancelFunc
	timer  *time.Timer
}

// within returns the context to read with. It may have ended already: then a read
// that would wait fails at once, and others do not notice.
func (p *patience) within(ctx context.Context) context.Context {
	if p.ctx == nil {
		p.ctx, p.cancel = context.WithCancel(ctx)
		p.timer = time.AfterFunc(time.Hour, p.cancel)
		p.timer.Stop()
	}
	return p.ctx
}

// begin starts the time that may be waited.
func (p *patience) begin() {
	if p.timer != nil {
		p.timer.Reset(unitAge)
	}
}

// end says that nothing waits any more.
func (p *patience) end() {
	if p.timer == nil {
		return
	}
	p.timer.Stop()
	if p.ctx.Err() != nil {
		p.ctx, p.timer = nil, nil
	}
}

// stop frees what within took.
func (p *patience) stop() {
	if p.timer != nil {
		p.timer.Stop()
		p.cancel()
	}
}
