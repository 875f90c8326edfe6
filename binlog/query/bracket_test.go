package query_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/internal/servers"
)

// mustReadFew fails where 100 rows or more were read in the order of an index since FLUSH
// STATUS.
func mustReadFew(t *testing.T, c *mysql.Conn) {
	t.Helper()
	for _, row := range rows(t, c, "SHOW SESSION STATUS LIKE 'Handler_read%'") {
		if string(row[0]) == "Handler_read_next" || string(row[0]) == "Handler_read_rnd_next" {
			t.Logf("%s %s", row[0], row[1])
			if len(row[1]) > 2 && string(row[0]) == "Handler_read_next" {
				t.Errorf("a chunk of 10 rows reads %s", row[1])
			}
		}
	}
}

// logged returns how many rows the binlog file holds up to an offset, and the
// GTIDs of their transactions if the server reports them.
func logged(t *testing.T, c *mysql.Conn, at binlog.Position) (inserted int, gtids string) {
	t.Helper()
	sql := "SHOW BINLOG EVENTS IN '" + at.File + "'"
	events, err := c.Query(t.Context(), sql)
	// MySQL reads up to the present end of the file, where the writers may have written a part of
	// an event.
	for n := 0; n < 100 && mysql.IsCode(err, mysql.CodeWhileExecuting); n++ {
		events, err = c.Query(t.Context(), sql)
	}
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var list []string
	for _, row := range events.Rows {
		kind, info := string(row[2]), string(row[5])
		end, err := strconv.ParseUint(string(row[4]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if end > at.Offset {
			break
		}
		if strings.HasPrefix(kind, "Write_rows") {
			inserted++
		}
		if g, found := strings.CutPrefix(info, "SET @@SESSION.GTID_NEXT= '"); found &&
			!strings.Contains(g, "ANONYMOUS") {
			list = append(list, strings.TrimSuffix(g, "'"))
		}
	}
	return inserted, strings.Join(list, ",")
}

// testBracket reads while others write. What the stream could have applied
// (it is in the binlog) must be in the rows; what the rows hold must lie
// before the fence. The plain SELECT beside it shows that without the bracket
// rows would be missed.
func testBracket(t *testing.T, s server) {
	c := s.dial(t)
	exec(t, c, "CREATE TABLE shop.bracket (id int AUTO_INCREMENT PRIMARY KEY, v int)")
	table, err := readTable(t, c, "shop", "bracket")
	if err != nil {
		t.Fatal(err)
	}
	exec(t, c, "FLUSH BINARY LOGS")
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	started := make(chan struct{}, 100000)
	for range 4 {
		w := s.dial(t)
		writers.Go(func() {
			for ctx.Err() == nil {
				if err := w.Exec(t.Context(),
					"INSERT INTO shop.bracket (v) VALUES (1)"); err != nil {
					t.Error(err)
					return
				}
				started <- struct{}{}
			}
		})
	}
	defer writers.Wait()
	defer cancel()
	for range 8 {
		<-started
	}
	look := s.dial(t)
	missed := 0
	for range 12 {
		end, err := query.End(t.Context(), look)
		if err != nil {
			t.Fatal(err)
		}
		plain := count(t, c)
		at := binlog.Position{File: end.File, Offset: end.Offset}
		in, gtids := logged(t, look, at)
		if s.kind.IsMariaDB() {
			gtids = string(rows(t, look,
				fmt.Sprintf("SELECT BINLOG_GTID_POS('%s', %d)", at.File, at.Offset))[0][0])
		}
		if at.GTID, err = binlog.ParseGTIDSet(gtids); err != nil {
			t.Fatal(err)
		}
		if s.gtid && at.GTID.IsZero() {
			t.Fatal("no GTIDs in the binlog")
		}
		if plain < in {
			missed++
		}
		res, err := query.Read(t.Context(), c,
			query.ChunkRequest{Table: table, Limit: 1 << 20, Server: c.Server().UUID}, at,
			func(*binlog.Row) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		before, _ := logged(t, look, res.Fence)
		if res.Rows < in || res.Rows > before {
			t.Errorf("read %d rows with %d applied and %d before the fence", res.Rows, in, before)
		}
		if s.kind.IsMariaDB() && res.Rows != before {
			t.Errorf("the snapshot has %d rows, the binlog up to its place %d", res.Rows, before)
		}
		scanned, fence := 0, binlog.Position{}
		err = query.Scan(t.Context(), c,
			query.ScanRequest{Table: table, Server: c.Server().UUID}, at,
			func(at binlog.Position) error { fence = at; return nil },
			func(*binlog.Row) error { scanned++; return nil })
		if s.kind == servers.MySQL && !s.gtid {
			if !errors.Is(err, query.ErrNoSnapshot) {
				t.Errorf("a scan without GTIDs: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if before, _ := logged(t, look, fence); scanned < in || scanned > before {
			t.Errorf("scanned %d rows with %d applied and %d before the fence", scanned, in, before)
		}
	}
	t.Logf("a plain SELECT would have missed rows in %d of 12 reads", missed)
	if missed == 0 && s.kind == servers.MySQL {
		t.Error("the writers do not show the gap that the bracket is about")
	}
}

func count(t *testing.T, c *mysql.Conn) int {
	t.Helper()
	n, err := strconv.Atoi(string(rows(t, c, "SELECT COUNT(*) FROM shop.bracket")[0][0]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
