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

// progress shows on a terminal, in place, a line for each pipeline whose initial load is running.
// The lines are below the log, so the log must be written through progress.
type progress struct {
	out   io.Writer
	width func() int

	mu    sync.Mutex
	loads []*loadProgress
	lines int // lines on the screen now
}

// loadProgress is the initial load of one pipeline.
type loadProgress struct {
	name  string
	stats func() pipelines.Stats
	// The time of the first drawing and the rows loaded by then. Rows that were loaded before a
	// restart do not count for the rate.
	firstSeen time.Time
	firstRows int64
}

// newProgress returns the progress of a terminal.
func newProgress(terminal *os.File) *progress {
	return &progress{out: terminal, width: func() int { return terminalWidth(terminal) }}
}

// add adds a pipeline. p may be nil, where the output is not a terminal.
func (p *progress) add(name string, stats func() pipelines.Stats) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loads = append(p.loads, &loadProgress{name: name, stats: stats})
}

// start redraws the lines regularly until stop is called. stop erases them.
func (p *progress) start() (stop func()) {
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		tick := time.NewTicker(redrawInterval)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case now := <-tick.C:
				p.draw(now)
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.erase()
	}
}

// Write writes log output in place of the lines. The next drawing prints them again below.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	return p.out.Write(b)
}

// erase removes the lines from the screen. The caller holds mu.
func (p *progress) erase() {
	if p.lines > 0 {
		_, _ = fmt.Fprintf(
			p.out, "\x1b[%dA\x1b[J", p.lines,
		) // an error means that the terminal was closed
	}
	p.lines = 0
}

// draw prints the lines anew.
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

// line returns the text of a line; "" while the initial load is not running. The number of
// expected rows is an estimate. Where it is missing or exceeded, the line does not show the
// remaining time.
func (l *loadProgress) line(s pipelines.Stats, now time.Time) string {
	if s.Phase != sink.Snapshot || s.Stopped != "" || s.Retrying != "" {
		l.firstSeen = time.Time{}
		return ""
	}
	if l.firstSeen.IsZero() {
		l.firstSeen, l.firstRows = now, s.Loaded
	}
	what := "loaded"
	if s.Replacement != nil {
		what = "replacement: loaded"
	}
	text := fmt.Sprintf("%s: %s %d rows", l.name, what, s.Loaded)
	left := s.Expected - s.Loaded
	if left > 0 {
		text += fmt.Sprintf(" of about %d (%d%%)", s.Expected, 100*s.Loaded/s.Expected)
	}
	if len(s.Held) > 0 {
		return text + ", " + s.Held[0].Reason
	}
	seconds := now.Sub(l.firstSeen).Seconds()
	if seconds < 1 || s.Loaded == l.firstRows {
		return text
	}
	rate := float64(s.Loaded-l.firstRows) / seconds
	text += fmt.Sprintf(", %.0f rows/s", rate)
	if left > 0 {
		text += fmt.Sprintf(
			", about %v left",
			time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second),
		)
	}
	return text
}
