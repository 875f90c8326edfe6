package pipelines

import (
	"context"
	"fmt"
	"time"

	"rowfall/pipelines/holds"
	"rowfall/pipelines/jobs"
	"rowfall/transform"
)

// removeKeys removes what a plan has written and no plan of present can write. In shared sets, rows
// of heirs take the place of its rows. The stream waits meanwhile, which shows as a hold.
// removeKeys returns the number of commands.
func (l *loop) removeKeys(
	ctx context.Context, p *transform.Plan, present, heirs []*transform.Plan, reason string,
) (int, error) {
	since := time.Now()
	report := func(removed int) {
		what := fmt.Sprintf("removing the keys of %s (%s), %d so far",
			p.Table().FullName(), reason, removed)
		l.stats.removing.Store(&holds.Hold{Reason: what, Since: since})
	}
	report(0)
	defer l.stats.removing.Store(nil)
	r := jobs.Removal{
		Plan: p, Present: present, Heirs: heirs, Limit: l.config.Limits.MaxAtomicRows,
		Report: report,
	}
	return r.Run(ctx, l)
}
