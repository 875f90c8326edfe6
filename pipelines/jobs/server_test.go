package jobs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/query"
)

// eventKind is what a transaction of a server did.
type eventKind int

const (
	rowChanged  eventKind = iota
	altered               // a statement that changes nothing but interrupts the table's job
	mustRebuild           // a statement after which the table is read again
	truncated
	unlogged // a row changed, and the stream tells the row's key only
)

// event is a transaction of a server.
type event struct {
	kind          eventKind
	table         *binlog.Table
	before, after [][]byte
}

// server is a server: its binlog, from which its rows at every position follow.
type server struct{ log []event }

// rows returns a table's rows after n events, by their keys.
func (s *server) rows(table *binlog.Table, n int) map[string][][]byte {
	rows := make(map[string][][]byte)
	for _, e := range s.log[:n] {
		switch {
		case e.table != table:
		case e.kind == truncated:
			clear(rows)
		case e.kind == rowChanged || e.kind == unlogged:
			if e.before != nil {
				delete(rows, keyOf(table, e.before))
			}
			if e.after != nil {
				rows[keyOf(table, e.after)] = e.after
			}
		}
	}
	return rows
}

// maximum returns the largest value of the first key column; empty without rows.
func (s *server) maximum(table *binlog.Table) []byte {
	largest, k := []byte{}, orderOf(table)[0]
	for _, cells := range s.rows(table, len(s.log)) {
		n, _ := strconv.Atoi(string(cells[k]))
		if m, err := strconv.Atoi(string(largest)); err != nil || n > m {
			largest = cells[k]
		}
	}
	return largest
}

// set inserts, updates or deletes a row; after is nil for the latter.
func (s *server) set(table *binlog.Table, before, after [][]byte) {
	s.log = append(s.log, event{rowChanged, table, before, after})
}

// setUnlogged changes a row as a cascade does that is not logged.
func (s *server) setUnlogged(table *binlog.Table, before, after [][]byte) {
	s.log = append(s.log, event{unlogged, table, before, after})
}

// orderOf returns the columns that identify a row: the first two in a table without a key.
func orderOf(table *binlog.Table) []int {
	if key := table.Key(); len(key) > 0 {
		return key
	}
	return []int{0, 1}
}

func keyOf(table *binlog.Table, cells [][]byte) string {
	var key []string
	for _, k := range orderOf(table) {
		key = append(key, string(cells[k]))
	}
	return strings.Join(key, "\x00")
}

// compareKeys orders the keys of two rows of a table, or a key and the first columns of a key.
func compareKeys(table *binlog.Table, a, b [][]byte) int {
	for i, k := range orderOf(table)[:len(b)] {
		x, y := string(a[i]), string(b[i])
		if table.Columns[k].Type == binlog.TypeInt {
			n, _ := strconv.Atoi(x)
			m, _ := strconv.Atoi(y)
			if n != m {
				return n - m
			}
		} else if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return 0
}

func keyCells(table *binlog.Table, cells [][]byte) [][]byte {
	var key [][]byte
	for _, k := range orderOf(table) {
		key = append(key, cells[k])
	}
	return key
}

func at(n int) binlog.Position { return binlog.Position{File: "log.1", Offset: uint64(n)} }

// gtids returns the GTIDs of the first n events.
func gtids(n int) binlog.GTIDSet {
	if n == 0 {
		return binlog.GTIDSet{}
	}
	const source = "8a94f357-aab4-11df-86ab-c80aa9429562"
	set, err := binlog.ParseGTIDSet(fmt.Sprintf("%s:1-%d", source, n))
	if err != nil {
		panic(err)
	}
	return set
}

// fence returns the fence of a SELECT that has seen n events.
func (w *world) fence(n int) binlog.Position {
	if !w.hasReplicas {
		return at(len(w.server.log))
	}
	// Each SELECT may read from another replica, which may have executed more than is visible.
	return binlog.Position{GTID: gtids(n + w.rng.IntN(len(w.server.log)-n+1))}
}

// reader implements RowReader.
type reader struct{ w *world }

func (r *reader) Close() {}

// query waits for allowQuery, and calls read with the number of events that the SELECT sees. It
// returns the fence.
func (r *reader) query(
	ctx context.Context, from binlog.Position, read func(n int) error,
) (binlog.Position, error) {
	select {
	case <-r.w.queries:
	case <-ctx.Done():
		return binlog.Position{}, ctx.Err()
	}
	if r.w.queryError != nil {
		if err := r.w.queryError(); err != nil {
			return binlog.Position{}, err
		}
	}
	// A transaction is in the binlog before it is visible.
	n := int(from.Offset) + r.w.rng.IntN(len(r.w.server.log)-int(from.Offset)+1)
	if err := read(n); err != nil {
		return binlog.Position{}, err
	}
	if r.w.afterQuery != nil {
		r.w.afterQuery()
	}
	return r.w.fence(n), nil
}

func (r *reader) ReadRows(
	ctx context.Context, request query.ChunkRequest, from binlog.Position, to Collector,
) (result query.ChunkResult, err error) {
	table := request.Table
	result.Last = request.After
	result.Fence, err = r.query(ctx, from, func(n int) error {
		to.Reset()
		all := slices.SortedFunc(maps.Values(r.w.server.rows(table, n)),
			func(a, b [][]byte) int {
				return compareKeys(table, keyCells(table, a), keyCells(table, b))
			})
		for _, cells := range all {
			key := keyCells(table, cells)
			switch {
			case request.After != nil && compareKeys(table, key, request.After) <= 0:
				continue
			case request.Until != nil && compareKeys(table, key, request.Until) > 0:
				continue
			case result.Rows == request.Limit:
				return nil
			}
			if err := to.Add(row(table, cells)); err != nil {
				return err
			}
			result.Rows++
			result.Last = key
		}
		return nil
	})
	if err != nil {
		return query.ChunkResult{}, err
	}
	if request.FindMaximum {
		result.Maximum = r.w.server.maximum(table)
	}
	if result.Rows < request.Limit {
		if result.Done = request.Until == nil; !result.Done {
			result.Last = request.Until
		}
	}
	return result, nil
}

// ScanRows hands over one row or more at a time.
func (r *reader) ScanRows(
	ctx context.Context, request query.ScanRequest, from binlog.Position, to Scanner,
) error {
	// The rows are handed over after query has returned: then the test's goroutine runs, too.
	var rows map[string][][]byte
	fence, err := r.query(ctx, from, func(n int) error {
		if r.w.cannotScan != nil && r.w.cannotScan() {
			return query.ErrNoSnapshot
		}
		rows = r.w.server.rows(request.Table, n)
		return nil
	})
	if err != nil {
		return err
	}
	to.Reset()
	if err := to.Begin(fence); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		if to.IsFull() {
			if err := to.HandOver(ctx); err != nil {
				return err
			}
		}
		if err := to.Add(row(request.Table, rows[key])); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) ReadMatching(
	ctx context.Context, request query.MatchRequest, from binlog.Position, to Collector,
) (binlog.Position, error) {
	return r.query(ctx, from, func(n int) error {
		to.Reset()
		for _, cells := range r.w.server.rows(request.Table, n) {
			matches := func(texts [][]byte) bool {
				for i, k := range request.Columns {
					if cells[k] == nil || string(cells[k]) != string(texts[i]) {
						return false
					}
				}
				return true
			}
			if slices.ContainsFunc(request.Values, matches) {
				if err := to.Add(row(request.Table, cells)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (r *reader) ReadSchema(
	ctx context.Context, _, table string,
) (schema *ddl.Schema, fence binlog.Position, err error) {
	// The definition never changes, so any position will do.
	fence, err = r.query(ctx, at(0), func(int) error {
		schema = ddl.FromTable(r.w.schema(&Table{Name: table}))
		return nil
	})
	return schema, fence, err
}
