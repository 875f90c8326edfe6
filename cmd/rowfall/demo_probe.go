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
	// probeEvery is how often a heart-beat row is committed.
	probeEvery = 25 * time.Millisecond
	// probePoll is how often a replica is asked for it: the latency's resolution.
	probePoll = time.Millisecond
	// probeKept is how many of the newest latencies the percentiles are of.
	probeKept = 400
)

// heartbeats commits a counter again and again and remembers when.
type heartbeats struct {
	mu        sync.Mutex
	committed map[int64]time.Time
	last      int64
}

// Run updates the shop's heart-beat row until ctx ends.
func (h *heartbeats) Run(ctx context.Context, source mysql.Config) error {
	conn, err := mysql.Dial(ctx, source)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for seq := int64(1); ; seq++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := conn.Exec(context.WithoutCancel(ctx), fmt.Sprintf("UPDATE shop.heartbeats SET seq = %d WHERE id = 1", seq)); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("write heart-beat: %w", err)
		}
		h.mu.Lock()
		h.committed[seq] = time.Now()
		h.last = seq
		delete(h.committed, seq-1000)
		h.mu.Unlock()
	}
}

// since returns how long ago a heart-beat was committed. A replica may be faster
// than the server's answer to us; that counts as no time.
func (h *heartbeats) since(seq int64, now time.Time) (time.Duration, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t, ok := h.committed[seq]
	if !ok {
		return 0, seq > h.last
	}
	return max(0, now.Sub(t)), true
}

// probe gathers the commit-to-replica latency of one replica.
type probe struct {
	mu        sync.Mutex
	latencies []time.Duration
	next      int
}

func newProbe() *probe { return &probe{latencies: make([]time.Duration, 0, probeKept)} }

// Run asks the replica for the heart-beat row until ctx ends.
func (p *probe) Run(ctx context.Context, h *heartbeats, remote *sink.Remote) error {
	tick := time.NewTicker(probePoll)
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
	if len(p.latencies) < probeKept {
		p.latencies = append(p.latencies, d)
		return
	}
	p.latencies[p.next] = d
	p.next = (p.next + 1) % probeKept
}

// Percentiles returns the median and the 99th percentile of the newest
// latencies; ok is false before there are any.
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
