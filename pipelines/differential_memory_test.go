package pipelines_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/pipelines"
	"rowfall/pipelines/file"
	"rowfall/pipelines/file/filetest"
	"rowfall/sink"
)

// memorySubject is a pipeline in this process whose sink is in memory. Every unit is checked.
type memorySubject struct {
	t       *testing.T
	config  *file.Config
	memory  *memory
	log     syncedBuffer
	run     *pipelineRun // nil while no run is going on
	watch   watch
	crashes crash
}

// pipelineRun is a run of the pipeline.
type pipelineRun struct {
	pipeline *pipelines.Pipeline
	cancel   context.CancelFunc
	ended    chan struct{}
	err      error
}

// crash lets an Apply fail.
type crash struct {
	sync.Mutex
	before, after int // 0: none
}

// syncedBuffer is a log.
type syncedBuffer struct {
	sync.Mutex
	bytes.Buffer
}

func (b *syncedBuffer) Write(p []byte) (int, error) {
	b.Lock()
	defer b.Unlock()
	return b.Buffer.Write(p)
}

// tail returns the last lines.
func (b *syncedBuffer) tail(n int) string {
	b.Lock()
	defer b.Unlock()
	lines := strings.Split(b.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func newMemorySubject(t *testing.T, text string) (subject, *file.Config, []*watch) {
	m := &memorySubject{
		t: t, memory: newMemory(), config: filetest.Parse(t, "test.yaml", text),
	}
	m.memory.Before = m.crashes.hook(&m.crashes.before)
	after := m.crashes.hook(&m.crashes.after)
	m.memory.After = func(u *sink.Unit) error {
		m.watch.check(m.memory.Keys)
		return after(u)
	}
	return m, m.config, []*watch{&m.watch}
}

func (m *memorySubject) start() {
	if m.run != nil {
		return
	}
	ctx, cancel := context.WithCancel(m.t.Context())
	r := &pipelineRun{
		pipeline: pipelines.New(*m.config, m.memory, "", zerolog.New(&m.log)),
		cancel:   cancel, ended: make(chan struct{}),
	}
	go func() {
		defer close(r.ended)
		r.err = r.pipeline.Run(ctx)
	}()
	m.run = r
}

// kill ends the run as a crash would: nothing more is written.
func (m *memorySubject) kill() {
	if m.run == nil {
		return
	}
	m.run.cancel()
	<-m.run.ended
	m.run = nil
}

func (m *memorySubject) close() { m.kill() }

// crash makes the n-th Apply from now on fail.
func (m *memorySubject) crash(when string, n int) {
	m.crashes.Lock()
	defer m.crashes.Unlock()
	if when == "before" {
		m.crashes.before = n
	} else {
		m.crashes.after = n
	}
}

func (m *memorySubject) backfill(table string) {
	if m.run != nil {
		_, _ = m.run.pipeline.Backfill(m.t.Context(), table)
	}
}

func (m *memorySubject) fault() *failure {
	if m.run == nil {
		return nil
	}
	select {
	case <-m.run.ended:
	default:
		return nil
	}
	err := m.run.err
	m.run = nil
	if !errors.Is(err, errCrash) && errors.As(err, new(*pipelines.StopError)) {
		return &failure{kind: "stopped", text: err.Error()}
	}
	_, _ = fmt.Fprintf(&m.log, "the run has ended: %v\n", err)
	m.start()
	return nil
}

func (m *memorySubject) copies() []dataCopy {
	return []dataCopy{{m.memory, m.memory.reader(m.t), func() stored {
		return m.memory.progress(m.t)
	}}}
}

func (m *memorySubject) tail(lines int) string { return m.log.tail(lines) }

// hook returns a function that counts down and crashes.
func (c *crash) hook(left *int) func(*sink.Unit) error {
	return func(*sink.Unit) error {
		c.Lock()
		defer c.Unlock()
		if *left == 0 {
			return nil
		}
		if *left--; *left == 0 {
			return errCrash
		}
		return nil
	}
}
