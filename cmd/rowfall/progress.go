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

// progress shows lines on a terminal, in place, such as one for each pipeline whose initial load is
// running. The lines are below the log, so the log must be written through progress.
type progress struct {
	out   io.Writer
	width func() int

	mu     sync.Mutex
	texts  []func(now time.Time) string // each returns a line, or "" if it has nothing to show
	height int                          // lines on the screen now
}

// newProgress returns the progress of a terminal.
func newProgress(terminal *os.File) *progress {
	return &progress{out: terminal, width: func() int { return terminalWidth(terminal) }}
}

// add adds a line. p may be nil, where the output is not a terminal.
func (p *progress) add(text func(now time.Time) string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.texts = append(p.texts, text)
}

// start redraws the lines regularly until stop is called. stop erases them.
func (p *progress) start() (stop func()) {
	stop = every(redrawInterval, p.draw)
	return func() {
		stop()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.erase()
	}
}

// every calls do regularly until stop is called.
func every(interval time.Duration, do func(now time.Time)) (stop func()) {
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case now := <-tick.C:
				do(now)
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
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
	if p.height > 0 {
		// An error means that the terminal was closed.
		_, _ = fmt.Fprintf(p.out, "\x1b[%dA\x1b[J", p.height)
	}
	p.height = 0
}

// draw prints the lines anew.
func (p *progress) draw(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	var b strings.Builder
	for _, text := range p.texts {
		if line := text(now); line != "" {
			b.WriteString(line + "\n")
		}
	}
	text := cutLines(b.String(), p.width())
	p.height = strings.Count(text, "\n")
	_, _ = io.WriteString(p.out, text)
}

// progressLogInterval is the time between two log lines about progress. A variable for tests.
var progressLogInterval = 10 * time.Second

// showProgress shows the progress of a command until stop is called: on a terminal in place,
// elsewhere as a log line every progressLogInterval. text is called by one goroutine. The returned
// flags are those of a logger that may be used meanwhile.
func showProgress(
	logging *logFlags, text func(now time.Time) string,
) (stop func(), with *logFlags, err error) {
	log, err := logging.logger("", "info")
	if err != nil {
		return nil, nil, err
	}
	if logging.out == nil && isTerminal(os.Stderr) {
		p := newProgress(os.Stderr)
		p.add(text)
		return p.start(), &logFlags{format: logging.format, level: logging.level, out: p}, nil
	}
	return every(progressLogInterval, func(now time.Time) {
		if line := text(now); line != "" {
			log.Info().Msg(line)
		}
	}), logging, nil
}

// loadProgress is the initial load of one pipeline.
type loadProgress struct {
	name  string
	stats func() pipelines.Stats
	meter meter
}

// line returns the text of a line; "" while the initial load is not running. The number of
// expected rows is an estimate.
func (l *loadProgress) line(now time.Time) string {
	s := l.stats()
	if s.Phase != sink.Snapshot || s.Stopped != "" || s.Retrying != "" {
		l.meter = meter{}
		return ""
	}
	what := "initial load"
	if s.Replacement != nil {
		what = "replacement"
	}
	if len(s.Held) > 0 {
		// The rate does not count the wait.
		l.meter = meter{}
		return fmt.Sprintf("%s: %s: %s, %s", l.name, what,
			new(meter).text(s.Loaded, s.Expected, "rows", now, nil), s.Held[0].Reason)
	}
	return fmt.Sprintf("%s: %s: %s", l.name, what,
		l.meter.text(s.Loaded, s.Expected, "rows", now, nil))
}
