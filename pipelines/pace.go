package pipelines

import "time"

// pace keeps to rows_per_second for all who read: a chunk takes the time of its
// rows before it is read, and gives back what it did not need.
type pace struct {
	perSecond int       // 0: no limit
	due       time.Time // when the time that was taken is over
}

// wait returns how long nothing more may be taken.
func (p *pace) wait(now time.Time) time.Duration { return max(0, p.due.Sub(now)) }

func (p *pace) take(now time.Time, rows int) {
	if p.due.Before(now) {
		p.due = now
	}
	p.due = p.due.Add(p.span(rows))
}

func (p *pace) giveBack(rows int) { p.due = p.due.Add(-p.span(rows)) }

func (p *pace) span(rows int) time.Duration {
	if p.perSecond == 0 {
		return 0
	}
	return time.Duration(rows) * time.Second / time.Duration(p.perSecond)
}
