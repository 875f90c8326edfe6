package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"rowfall/binlog/mysql"
	"rowfall/sink"
)

const (
	// heartbeatInterval is the time between two commits of the heartbeat row.
	heartbeatInterval = 25 * time.Millisecond
	// pollInterval is the time between two reads of that row from a replica, which limits the
	// resolution of the latency.
	pollInterval = time.Millisecond
	// maxLatencies is the number of newest latencies that the percentiles are computed from.
	maxLatencies = 400
)

// heartbeats commits a counter to the heartbeat row and remembers when.
type heartbeats struct {
	mu          sync.Mutex
	committedAt map[int64]time.Time
	last        int64
}

// Run updates the shop's heartbeat row until ctx ends.
func (h *heartbeats) Run(ctx context.Context, source mysql.Config) error {
	conn, err := mysql.Dial(ctx, source)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	tick := time.NewTicker(heartbeatInterval)
	defer tick.Stop()
	for seq := int64(1); ; seq++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		sql := fmt.Sprintf("UPDATE shop.heartbeats SET seq = %d WHERE id = 1", seq)
		if err := conn.Exec(context.WithoutCancel(ctx), sql); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("write heartbeat: %w", err)
		}
		h.mu.Lock()
		h.committedAt[seq] = time.Now()
		h.last = seq
		delete(h.committedAt, seq-1000)
		h.mu.Unlock()
	}
}

// since returns how long ago a heartbeat was committed, and false if its time is not known. A
// replica may have the row before this process has the server's reply to the commit; that counts
// as zero.
func (h *heartbeats) since(seq int64, now time.Time) (time.Duration, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t, ok := h.committedAt[seq]
	if !ok {
		return 0, seq > h.last
	}
	return max(0, now.Sub(t)), true
}

// probe measures the latency from commit to one replica.
type probe struct {
	mu        sync.Mutex
	latencies []time.Duration
	next      int
}

func newProbe() *probe { return &probe{latencies: make([]time.Duration, 0, maxLatencies)} }

// Run reads the heartbeat row from the replica until ctx ends, and records the latency of each new
// value.
func (p *probe) Run(ctx context.Context, h *heartbeats, remote *sink.Remote) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	seen := int64(-1)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		text, ok, err := remote.Field(ctx, "heartbeats:1", "seq")
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		seq, err := strconv.ParseInt(text, 10, 64)
		if !ok || err != nil || seq == seen {
			continue
		}
		if latency, ok := h.since(seq, time.Now()); ok && seen >= 0 {
			p.add(latency)
		}
		seen = seq
	}
}

func (p *probe) add(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.latencies) < maxLatencies {
		p.latencies = append(p.latencies, d)
		return
	}
	p.latencies[p.next] = d
	p.next = (p.next + 1) % maxLatencies
}

// Percentiles returns the median and the 99th percentile of the newest latencies. ok is false
// before the first latency.
func (p *probe) Percentiles() (p50, p99 time.Duration, ok bool) {
	p.mu.Lock()
	sorted := slices.Clone(p.latencies)
	p.mu.Unlock()
	if len(sorted) == 0 {
		return 0, 0, false
	}
	slices.Sort(sorted)
	return sorted[len(sorted)/2], sorted[len(sorted)*99/100], true
}
