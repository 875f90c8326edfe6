package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/pipelines"
	"rowfall/sink"
)

const (
	writers = 2 // sessions that write traffic
	// writePause is the pause after each transaction. It leaves most of a laptop's CPU free.
	writePause    = 4 * time.Millisecond
	printInterval = 5 * time.Second // between two printings where the output is not a terminal
)

// run writes traffic and shows the dashboard for the demo's duration, and then compares all rows.
func (d *demo) run(ctx context.Context, s *shop) error {
	trafficCtx, endTraffic := context.WithCancel(ctx)
	defer endTraffic()
	errs := make(chan error, writers+1+len(d.instances))
	var wg sync.WaitGroup
	beats := &heartbeats{committedAt: make(map[int64]time.Time)}
	for i := range writers {
		wg.Go(func() { errs <- s.WriteTraffic(trafficCtx, uint64(i+1), d.flags.rows, writePause) })
	}
	wg.Go(func() { errs <- beats.Run(trafficCtx, d.source) })
	for _, r := range d.instances {
		wg.Go(func() { errs <- r.probe.Run(trafficCtx, beats, r.remote) })
	}
	err := d.runDashboard(ctx, s, errs)
	endTraffic()
	wg.Wait()
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	if err != nil {
		return err
	}
	return d.verify(ctx)
}

// runDashboard draws the dashboard until the demo's duration has passed (nil) or a part fails.
func (d *demo) runDashboard(ctx context.Context, s *shop, errs <-chan error) error {
	v := &dashboard{
		demo: d, shop: s, terminal: isTerminal(os.Stdout), started: time.Now(),
		lastTime: time.Now(),
	}
	every := printInterval
	if v.terminal {
		every = redrawInterval
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var timeUp <-chan time.Time
	if d.flags.duration > 0 {
		timer := time.NewTimer(d.flags.duration)
		defer timer.Stop()
		timeUp = timer.C
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timeUp:
			if v.terminal || time.Since(v.lastTime) > time.Second {
				v.draw(ctx)
			}
			return nil
		case err := <-d.failed:
			return err
		case err := <-errs:
			if err != nil {
				return err
			}
		case <-tick.C:
			if err := d.pipelineError(); err != nil {
				return err
			}
			v.draw(ctx)
		}
	}
}

// dashboard prints the state of the demo. On a terminal it is drawn in place.
type dashboard struct {
	demo     *demo
	shop     *shop
	terminal bool
	started  time.Time
	lines    int

	lastRows uint64
	lastTime time.Time
}

func (v *dashboard) draw(ctx context.Context) {
	var b strings.Builder
	stats := v.demo.member.Pipeline.Stats()
	now := time.Now()
	rate := float64(stats.Rows-v.lastRows) / now.Sub(v.lastTime).Seconds()
	v.lastRows, v.lastTime = stats.Rows, now
	fmt.Fprintf(&b, "%s  %.0f rows/s, %d rows in %d transactions, %d units\n",
		now.Sub(v.started).Round(time.Second), rate, stats.Rows, stats.Transactions, stats.Units)
	fmt.Fprintf(&b, "%-46s latency from commit\n", v.demo.database+" "+v.demo.source.Addresses[0])
	for _, r := range v.demo.instances {
		latency := "no heartbeat yet"
		if p50, p99, ok := r.probe.Percentiles(); ok {
			latency = fmt.Sprintf("p50 %6.1f ms  p99 %6.1f ms", ms(p50), ms(p99))
		}
		fmt.Fprintf(
			&b, "%s└─ %-*s %-15s %s\n", strings.Repeat("   ", r.depth), 27-3*r.depth, r.name,
			r.remote.Addr(), latency,
		)
	}
	v.samples(ctx, &b)
	text := b.String()
	if v.terminal {
		text = cutLines(text, terminalWidth(os.Stdout))
	}
	if v.terminal && v.lines > 0 {
		fmt.Printf("\x1b[%dA\x1b[J", v.lines)
	}
	v.lines = strings.Count(text, "\n")
	fmt.Print(text)
}

// samples prints two keys of the last replica beside their rows in MySQL.
func (v *dashboard) samples(ctx context.Context, b *strings.Builder) {
	conn, err := mysql.Dial(ctx, v.demo.source)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	last := v.demo.instances[len(v.demo.instances)-1]
	fmt.Fprintf(b, "%-40s on %s\n", "rows in MySQL", last.remote.Addr())
	for _, s := range []struct{ sql, key, field string }{
		{"SELECT id, stock, tags FROM shop.products WHERE id = 1", "products:1", "stock"},
		{"SELECT id, last_name, country FROM shop.customers WHERE id = 7", "customer:7", "name"},
	} {
		result, err := conn.Query(ctx, s.sql)
		if err != nil || len(result.Rows) == 0 {
			continue
		}
		row := make([]string, len(result.Columns))
		for i, c := range result.Rows[0] {
			row[i] = result.Columns[i] + "=" + string(c)
			if c == nil {
				row[i] += "NULL"
			}
		}
		value, ok, err := last.remote.Field(ctx, s.key, s.field)
		if err != nil {
			continue
		}
		if !ok {
			value = "(none)"
		}
		fmt.Fprintf(b, "%-40s HGET %s %s = %s\n", strings.Join(row, " "), s.key, s.field, value)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// verify waits until all instances have reached MySQL's position, and compares every row with each
// of them.
func (d *demo) verify(ctx context.Context) error {
	conn, err := mysql.Dial(ctx, d.source)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	end, err := query.End(ctx, conn)
	if err != nil {
		return err
	}
	data, err := pipelines.ReadDataset(ctx, conn, &d.config.Mapping)
	if err != nil {
		return err
	}
	var diffs []string
	for _, r := range d.instances {
		what := fmt.Sprintf("%s to reach %s", r.name, end)
		if err := d.waitUntil(ctx, what, func() (bool, int64, error) {
			p, err := r.remote.Progress(ctx, d.config.Name)
			if err != nil || p.Phase == sink.Empty {
				return false, 0, err
			}
			at, err := pipelines.ParsePosition(p.Position)
			return at.CompareFile(end) >= 0, int64(at.Offset), err
		}); err != nil {
			return err
		}
		more, err := data.Compare(ctx, r.remote, 5)
		if err != nil {
			return err
		}
		diffs = append(diffs, more...)
	}
	for _, diff := range diffs {
		fmt.Println("DIFFERENT", diff)
	}
	if len(diffs) > 0 {
		return errors.New("the replicas differ from MySQL")
	}
	// The first instance is the master. It was compared, too, but is not a replica.
	fmt.Printf("verified %d rows on %d replicas\n", data.Rows, len(d.instances)-1)
	return nil
}
