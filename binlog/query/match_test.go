package query_test

import (
	"errors"
	"slices"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
)

// readMatching reads every row of a table again by the texts of its key's columns, one by one and
// all at once.
func readMatching(t *testing.T, c *mysql.Conn, table *binlog.Table) {
	t.Helper()
	key := table.Key()
	if len(key) == 0 {
		key = []int{0, 1, 2}
	}
	id := len(table.Columns) - 1
	var ids []string
	var values [][][]byte
	read := func(m query.MatchRequest) (got []string) {
		m.Table, m.Columns, m.Server = table, key, c.Server().UUID
		fence, err := query.ReadMatching(t.Context(), c, m, binlog.Position{},
			func(r *binlog.Row) error {
				b, err := r.AppendText(nil, id)
				got = append(got, string(b))
				return err
			})
		if err != nil || fence.File == "" {
			t.Fatalf("by %q: %v, fence %v", m.Values, err, fence)
		}
		slices.Sort(got)
		return got
	}
	_, err := query.Read(t.Context(), c,
		query.ChunkRequest{Table: table, Key: key, Limit: 1000}, binlog.Position{},
		func(r *binlog.Row) error {
			b, err := r.AppendText(nil, id)
			ids = append(ids, string(b))
			texts := make([][]byte, len(key))
			for i, k := range key {
				if texts[i], err = r.AppendText(nil, k); err != nil {
					return err
				}
			}
			values = append(values, texts)
			return err
		})
	if err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		if got := read(query.MatchRequest{Values: values[i : i+1]}); !slices.Contains(got, id) {
			t.Errorf("by %q: rows %v, and not %s", values[i], got, id)
		}
	}
	slices.Sort(ids)
	if got := read(query.MatchRequest{Values: values}); !slices.Equal(got, ids) {
		t.Errorf("by all values: rows %v, want %v", got, ids)
	}
}

// A text that no value prints is told apart from a fault.
func TestNoSuchValue(t *testing.T) {
	table := &binlog.Table{Database: "shop", Name: "t", Columns: []binlog.Column{
		{Name: "id", Type: binlog.TypeInt, SQLType: "int"},
		{Name: "f", Type: binlog.TypeFloat, SQLType: "float"},
	}}
	for column, isAbsent := range map[int]bool{0: true, 1: false} {
		_, err := query.ReadMatching(t.Context(), nil, query.MatchRequest{
			Table: table, Columns: []int{column}, Values: [][][]byte{{[]byte("x' OR 1")}},
		}, binlog.Position{}, nil)
		if err == nil || errors.Is(err, query.ErrNoSuchValue) != isAbsent {
			t.Errorf("column %d: %v", column, err)
		}
		if err := query.CheckMatch(table, []int{column}); (err == nil) != isAbsent {
			t.Errorf("column %d can be matched: %v", column, err)
		}
	}
}
