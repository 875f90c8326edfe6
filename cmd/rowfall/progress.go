package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"rowfall/pipelines"
	"rowfall/sink"
)

// progress draws on a terminal a line for each pipeline whose first load runs, in
// place, below what is logged. So the log is written through it.
type progress struct {
	out   io.Writer
	width func() int

	mu    sync.Mutex
	loads []*load
	lines int // on the screen now
}

// load is the first load of a pipeline.
type load struct {
	name  string
	stats func() pipelines.Stats
	// Where it was when it was first seen; what was loaded before a restart has
	// no part in the rate.
	since time.Time
	rows  int64
}

func newProgress(terminal *os.File) *progress {
	return &progress{out: terminal, width: func() int { return terminalWidth(terminal) }}
}

// add takes a pipeline in. It may be called on nil: where there is no terminal.
func (p *progress) add(name string, stats func() pipelines.Stats) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loads = append(p.loads, &load{name: name, stats: stats})
}

// start draws until the function is called that it returns.
func (p *progress) start() (stop func()) {
	var wg sync.WaitGroup
	over := make(chan struct{})
	wg.Go(func() {
		tick := time.NewTicker(redrawEvery)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case now := <-tick.C:
				p.draw(now)
			}
		}
	})
	return func() {
		close(over)
		wg.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.erase()
	}
}

// Write puts what is logged above the lines. They are back with the next draw.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	return p.out.Write(b)
}

func (p *progress) erase() {
	if p.lines > 0 {
		_, _ = fmt.Fprintf(p.out, "\x1b[%dA\x1b[J", p.lines) // a terminal that is gone shows nothing
	}
	p.lines = 0
}

func (p *progress) draw(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	var b strings.Builder
	for _, l := range p.loads {
		if line := l.line(l.stats(), now); line != "" {
			b.WriteString(line + "\n")
		}
	}
	text := cutLines(b.String(), p.width())
	p.lines = strings.Count(text, "\n")
	_, _ = io.WriteString(p.out, text)
}

// line is empty while nothing is loaded. What is expected is an estimate: without
// one, and past it, nobody knows what is left.
func (l *load) line(s pipelines.Stats, now time.Time) string {
	if s.Phase != sink.Snapshot || s.Stopped != "" || s.Retrying != "" {
		l.since = time.Time{}
		return ""
	}
	if l.since.IsZero() {
		l.since, l.rows = now, s.Loaded
	}
	text := fmt.Sprintf("%s: loaded %d rows", l.name, s.Loaded)
	left := s.Expected - s.Loaded
	if left > 0 {
		text += fmt.Sprintf(" of about %d (%d%%)", s.Expected, 100*s.Loaded/s.Expected)
	}
	seconds := now.Sub(l.since).Seconds()
	if seconds < 1 || s.Loaded == l.rows {
		return text
	}
	rate := float64(s.Loaded-l.rows) / seconds
	text += fmt.Sprintf(", %.0f rows/s", rate)
	if left > 0 {
		text += fmt.Sprintf(", about %v left", time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
	}
	return text
}
