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
	for column := range table.Columns {
		const isAbsent = true
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

// A text that a column never prints, such as the rest of a key that somebody else has written, is
// either rejected by CheckValues or finds no row. It is never an error of the server.
func testNoSuchValue(t *testing.T, s server) {
	c := s.dial(t)
	exec(t, c, "CREATE TABLE shop.odd (id INT PRIMARY KEY, u BIGINT UNSIGNED, d DECIMAL(10,2), "+
		"y YEAR, da DATE, dt DATETIME(3), ts TIMESTAMP NULL, ti TIME, b BIT(9), "+
		"e ENUM('a'), s SET('a','b'), txt VARCHAR(9), bin VARBINARY(9), f FLOAT, g DOUBLE)",
		"INSERT INTO shop.odd VALUES (1, 1, 1, 2001, '2001-01-01', '2001-01-01', '2001-01-01', "+
			"'1:0:0', 1, 'a', 'a', 'a', 'a', 1, 1)")
	table, err := readTable(t, c, "shop", "odd")
	if err != nil {
		t.Fatal(err)
	}
	for column := range table.Columns {
		for _, text := range []string{
			"", "-", ".", "1-", "--7", "7-8", "1.2.3", ".5", "5.", "00", "-0",
			"99999999999999999999999999999999999", "-99999999999999999999999999999999999",
			"1-1", "2024-13-01", "2024-01-32", "2024-02-30", "0000-00-00", "2024-00-10",
			"9999-12-31", "2024-01-01 25:00:00", "2024-01-01 10:60:00", "2024-01-01 10:00:61",
			"2024-01-01 10:00:00.000", "1960-01-01 00:00:00", "2200-01-01 00:00:00",
			"2024-01-01  10:00:00", "0000-00-00 00:00:00", "838:59:59", "999:00:00", "-838:59:60",
			"10:00", "1155", "2155", "2200", "a", "zz", "\xff\xfe", "'", "\\",
			"aaaaaaaaaaaaaaaaaaa", "1e500", "1.5e10", "0.1e1", "NaN", "Inf", "0x1p3", "1_0",
		} {
			columns, texts := []int{column}, [][]byte{[]byte(text)}
			if query.CheckValues(table, columns, texts) != nil {
				continue
			}
			_, err := query.ReadMatching(t.Context(), c, query.MatchRequest{
				Table: table, Columns: columns, Values: [][][]byte{texts, texts},
			}, binlog.Position{}, func(*binlog.Row) error { return nil })
			if err != nil {
				t.Errorf("column %s by %q: %v", table.Columns[column].Name, text, err)
				c = s.dial(t)
			}
		}
	}
}
