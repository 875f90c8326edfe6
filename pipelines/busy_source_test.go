package pipelines

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"rowfall/binlog"
	"rowfall/pipelines/pacing"
	"rowfall/sink/sinktest"
)

// arrivingSource is a source whose events arrive in groups: each Fill, and each Next that waits,
// receives one group. A group may be empty, as if a part of an event had arrived.
type arrivingSource struct {
	*scriptedSource
	groups  []int // numbers of events
	present int   // events that have arrived
	to      *sinktest.Memory
	// units holds, for each Next that waits, the number of units that were applied before.
	units []int
}

func (s *arrivingSource) Fill() bool {
	if len(s.groups) == 0 {
		return false
	}
	s.present, s.groups = s.groups[0], s.groups[1:]
	return true
}

func (s *arrivingSource) Present(ctx context.Context) (*binlog.Event, error) {
	if s.present == 0 {
		return nil, nil
	}
	s.present--
	return s.scriptedSource.Next(ctx)
}

func (s *arrivingSource) Next(ctx context.Context) (*binlog.Event, error) {
	s.units = append(s.units, len(s.to.Units(0)))
	s.Fill()
	s.present--
	return s.scriptedSource.Next(ctx)
}

// While a source is busy, the loop does not wait for it. It waits once nothing has arrived in a
// pause, and has applied all committed transactions then.
func TestBusySourceIsNotWaitedFor(t *testing.T) {
	table := intTable()
	source := &scriptedSource{tables: []*binlog.Table{table}}
	for id := range uint32(5) {
		source.script = append(source.script,
			rowsEvent(t, table, binlog.Insert, [2]uint32{id, id}),
			&binlog.Event{Kind: binlog.Commit, Time: 1000})
	}
	to := sinktest.NewMemory("test")
	_, l := scriptedPipeline(t, to, source)
	s := &arrivingSource{scriptedSource: source, to: to, groups: []int{2, 2, 0, 2, 1, 3}}
	l.stream = s
	for {
		ev, err := l.next(t.Context())
		if errors.Is(err, errEndOfScript) {
			break
		}
		if err == nil {
			// The next unit seems to follow at once: the one before was applied in the future.
			l.pacer = pacing.New()
			l.pacer.Applied(time.Now().Add(time.Hour))
			err = l.handle(t.Context(), ev)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// It waits for the first group, after the empty one, and at the end. The group of one event is
	// half a transaction: it waits for the rest, which joins the unit of the last one.
	if want := []int{0, 2, 3, 4}; !slices.Equal(s.units, want) {
		t.Errorf("the loop waits after %d units, want %d", s.units, want)
	}
	if n := len(to.Units(0)); n != 4 {
		t.Errorf("%d units", n)
	}
}
