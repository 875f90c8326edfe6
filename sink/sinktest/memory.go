// Package sinktest has a sink in memory, for tests of what writes to a sink.
package sinktest

import (
	"context"
	"slices"
	"sync"
	"time"

	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
	"rowfall/sink"
)

// Memory is a sink without a replication node: a keyspace, and a record of every applied unit. Any
// goroutine may call its methods.
type Memory struct {
	// Before and After are called around each Apply. An error of Before leaves the unit
	// unapplied, and an error of After comes too late: both simulate a crash. Set them while no
	// pipeline runs.
	Before, After func(u *sink.Unit) error
	// Can is what Capabilities returns.
	Can sink.Capabilities
	// Clock returns milliseconds since 1970, which decide about expired keys. Set it while no
	// pipeline runs; nil means the wall clock.
	Clock func() int64
	// Keys are the data.
	Keys *keyspace.Keyspace

	mu       sync.Mutex
	encoder  *sink.Encoder
	units    []Applied
	reply    []byte // buffer of Read
	readOnly bool
	loaded   bool // since it became writable
	closed   bool
	changed  chan struct{}
}

// Applied is a unit that was applied.
type Applied struct {
	Commands string
	Progress sink.Progress
}

// NewMemory returns an empty, writable sink of a pipeline, with all capabilities.
func NewMemory(pipeline string) *Memory {
	m := &Memory{
		Can:     sink.Capabilities{Atomic: true, Deltas: true},
		encoder: sink.NewEncoder(pipeline),
		changed: make(chan struct{}),
	}
	m.Keys = keyspace.New(keyspace.Options{HiddenPrefix: sink.HiddenPrefix, Now: m.Now})
	return m
}

// Now returns the time of Clock.
func (m *Memory) Now() int64 {
	if m.Clock == nil {
		return time.Now().UnixMilli()
	}
	return m.Clock()
}

// Capabilities returns Can.
func (m *Memory) Capabilities() sink.Capabilities { return m.Can }

// Writable returns what SetWritable has set.
func (m *Memory) Writable() (writable bool, changed <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.readOnly, m.changed
}

// SetWritable changes the role. Load is required before the next Apply.
func (m *Memory) SetWritable(writable bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.readOnly, m.loaded = !writable, false
	close(m.changed)
	m.changed = make(chan struct{})
}

// Close makes Apply return sink.ErrClosed.
func (m *Memory) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
}

// Load returns what the keyspace holds of the pipeline.
func (m *Memory) Load(ctx context.Context) (sink.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.readOnly {
		return sink.State{}, sink.ErrDemoted
	}
	m.loaded = true
	return m.encoder.Load(ctx, &sink.KeyspaceReader{Keys: m.Keys})
}

// Apply executes the unit in the keyspace and records it.
func (m *Memory) Apply(ctx context.Context, u *sink.Unit) error {
	if m.Before != nil {
		if err := m.Before(u); err != nil {
			return err
		}
	}
	if err := m.apply(ctx, u); err != nil {
		return err
	}
	if m.After != nil {
		return m.After(u)
	}
	return nil
}

func (m *Memory) apply(ctx context.Context, u *sink.Unit) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return sink.ErrClosed
	case !m.loaded:
		return sink.ErrDemoted
	}
	if err := m.encoder.Resolve(ctx, &sink.KeyspaceReader{Keys: m.Keys}, u); err != nil {
		return err
	}
	m.expire()
	if err := m.Keys.Stage(m.encoder.Encode(nil, u)); err != nil {
		return sink.ExplainKeyType(m.Keys, err)
	}
	m.Keys.Publish()
	p := u.Progress
	p.Position = p.Position.Clone()
	m.units = append(m.units, Applied{string(u.Commands.Bytes), p})
	return nil
}

// expire deletes the keys that have expired, as a node does before a unit.
func (m *Memory) expire() {
	for {
		due, more := m.Keys.Expired(m.Now(), 100, 1<<20)
		for _, key := range due {
			if err := m.Keys.Stage(resp.AppendCommand(nil, "DEL", string(key))); err != nil {
				panic(err) // DEL always fits
			}
			m.Keys.Publish()
		}
		if !more {
			return
		}
	}
}

// Read executes a read command on the keyspace, see sink.Reader.
func (m *Memory) Read(_ context.Context, command ...[]byte) (resp.Reply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return sink.ReadKeyspace(m.Keys, &m.reply, command)
}

// Execute executes a command that no pipeline has sent.
func (m *Memory) Execute(command []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire()
	if err := m.Keys.Stage(command); err != nil {
		return err
	}
	m.Keys.Publish()
	return nil
}

// Progress returns the stored position of a pipeline. Its Phase is Empty if no position is stored.
func (m *Memory) Progress(pipeline string) (sink.Progress, error) {
	fields, ok := m.Keys.HashFields(sink.PositionKey(pipeline))
	if !ok {
		return sink.Progress{}, nil
	}
	return sink.ParseProgress(fields)
}

// Units returns the units that were applied, beginning with the n-th.
func (m *Memory) Units(n int) []Applied {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.units[n:])
}

// Held returns zero values: Apply never waits.
func (m *Memory) Held() (string, time.Time) { return "", time.Time{} }
