//go:build bench

package bench_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/go-mysql-org/go-mysql/replication"

	"rowfall/binlog"
	"rowfall/binlog/files"
	"rowfall/binlog/query"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// decodeSet is a binlog file with a typical load.
type decodeSet struct {
	name, path         string
	rows, transactions int
}

// decodeStatements create the procedures that write the sets of single-row statements.
var decodeStatements = []string{
	`CREATE PROCEDURE bench.decode_c(n INT) BEGIN
		DECLARE i, j INT DEFAULT 0;
		SET @s_first = 1000001, @s_last = 1000000;
		WHILE i < n DO
			START TRANSACTION;
			SET j = 0;
			WHILE j < 4 DO
				CALL bench.change_sbtest(FLOOR(RAND() * 10));
				SET j = j + 1;
			END WHILE;
			COMMIT;
			SET i = i + 1;
		END WHILE;
	END`,
	`CREATE PROCEDURE bench.decode_d(n INT) BEGIN
		DECLARE i INT DEFAULT 0;
		SET @o_first = 1000001, @o_last = 1000000;
		WHILE i < n DO
			CALL bench.change_orders(FLOOR(RAND() * 10));
			SET i = i + 1;
		END WHILE;
	END`,
}

// insertOrders inserts %d orders with one statement.
const insertOrders = `INSERT INTO bench.orders
	WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
	SELECT i, FLOOR(RAND() * 4000000000), FLOOR(RAND() * 200), FLOOR(RAND() * 9),
		RAND() * 10000, RAND() * 1000, NOW(6), NOW(3), 'new',
		CONCAT('customer', i, '@example.com'),
		ELT(1 + i %% 4, 'Zürich', 'Oslo', 'São Paulo', 'Kyoto'),
		IF(i %% 2, NULL, 'leave it with the neighbours'),
		JSON_OBJECT('channel', 'web', 'items', FLOOR(RAND() * 9), 'gift', RAND() < 0.1,
			'codes', JSON_ARRAY('A1', 'B2'), 'weight', RAND()) FROM n`

// insertSbtest inserts %d rows with one statement.
const insertSbtest = `INSERT INTO bench.sbtest
	WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
	SELECT i, FLOOR(RAND() * 1000000), LEFT(SHA2(RAND(), 512), 119), LEFT(SHA2(RAND(), 256), 59)
		FROM n`

// writeDecodeSets writes the sets, each into a file of its own, of about n rows each.
func writeDecodeSets(s *source, n int) []decodeSet {
	for _, sql := range decodeStatements {
		s.exec(s.conn, sql)
	}
	var sets []decodeSet
	for _, set := range []struct {
		name               string
		rows, transactions int
		sql                []string
	}{
		{
			"A: bulk INSERT of 4 columns", n, 1, []string{fmt.Sprintf(insertSbtest, n)},
		},
		{"B: bulk changes of 13 columns", n, 3, []string{
			fmt.Sprintf(insertOrders, n*8/11),
			fmt.Sprintf(`UPDATE bench.orders SET total = total + 1, updated_at = NOW(3),
				status = 'paid' LIMIT %d`, n*2/11),
			fmt.Sprintf(`DELETE FROM bench.orders LIMIT %d`, n-n*8/11-n*2/11),
		}},
		{
			"C: 4 statements of a row, 4 columns", n / 4 * 4, n / 4,
			[]string{fmt.Sprintf(`CALL bench.decode_c(%d)`, n/4)},
		},
		{
			"D: single rows of 13 columns", n, n,
			[]string{fmt.Sprintf(`CALL bench.decode_d(%d)`, n)},
		},
	} {
		s.exec(s.conn, `TRUNCATE bench.sbtest`)
		s.exec(s.conn, `TRUNCATE bench.orders`)
		s.exec(s.conn, `FLUSH BINARY LOGS`)
		file := s.end().File
		for _, sql := range set.sql {
			s.exec(s.conn, sql)
		}
		s.exec(s.conn, `FLUSH BINARY LOGS`)
		r, err := s.conn.Query(s.tb.Context(), `SELECT @@log_bin_basename AS name`)
		if err != nil {
			s.tb.Fatal(err)
		}
		path := filepath.Join(filepath.Dir(r.Text(0, "name")), file)
		sets = append(sets, decodeSet{set.name, path, set.rows, set.transactions})
	}
	return sets
}

// knownTables are the schemas of the sets' tables.
type knownTables []*binlog.Table

func (knownTables) Mismatch(_ *binlog.Table, reason error) error { return reason }

func (knownTables) RowsSkipped(string, string, binlog.Op, bool) {}

func (k knownTables) Table(database, name string) (*binlog.Table, error) {
	for _, t := range k {
		if t.Database == database && t.Name == name {
			return t, nil
		}
	}
	return nil, nil
}

// decodeRun is one pass over a file.
type decodeRun struct {
	cpu         float64 // seconds
	rows        int
	allocations float64 // per transaction
}

// measureDecode runs decode, which returns the number of rows.
func (d *decodeSet) measureDecode(decode func() (rows int, err error)) (r decodeRun, err error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	first := currentUsage(0)
	r.rows, err = decode()
	r.cpu = cpu(first, currentUsage(0))
	runtime.ReadMemStats(&after)
	r.allocations = float64(after.Mallocs-before.Mallocs) / float64(d.transactions)
	if err == nil && r.rows != d.rows {
		err = fmt.Errorf("%s: %d rows were decoded, want %d", d.name, r.rows, d.rows)
	}
	return r, err
}

// decodeOurs reads a file from disk and renders each value of each row image as text.
func decodeOurs(tb testing.TB, path string, tables knownTables) (rows int, err error) {
	l, err := files.Open([]string{path})
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	file := filepath.Base(path)
	stretch := files.Stretch{
		Start:    binlog.Position{File: file, Offset: 4},
		End:      binlog.Position{File: file, Offset: uint64(info.Size())},
		HasGTIDs: true,
	}
	stream, err := l.Stream(&stretch, files.Config{Tables: tables})
	if err != nil {
		return 0, err
	}
	defer stream.Close()
	var text []byte
	for {
		ev, err := stream.Next(tb.Context())
		if err != nil {
			// The file ends with a ROTATE to the next one, which is not given.
			if stream.InTransaction() {
				return rows, err
			}
			return rows, nil
		}
		if ev.Kind != binlog.Changes {
			continue
		}
		for ev.Rows.Next() {
			rows++
			c := ev.Rows.Change()
			for _, r := range [...]*binlog.Row{c.Before, c.After} {
				if text, err = appendRow(text[:0], r); err != nil {
					return rows, err
				}
			}
		}
		if err := ev.Rows.Err(); err != nil {
			return rows, err
		}
	}
}

// appendRow appends the text of each column; r may be nil.
func appendRow(text []byte, r *binlog.Row) (_ []byte, err error) {
	if r == nil {
		return text, nil
	}
	for i := range r.Table().Columns {
		if text, err = r.AppendText(text, i); err != nil {
			return text, err
		}
	}
	return text, nil
}

// decodeReference decodes a file with go-mysql's parser and its default settings.
func decodeReference(path string) (rows int, err error) {
	err = replication.NewBinlogParser().ParseFile(path, 0,
		func(e *replication.BinlogEvent) error {
			switch r := e.Event.(type) {
			case *replication.RowsEvent:
				n := len(r.Rows)
				if e.Header.EventType == replication.UPDATE_ROWS_EVENTv2 {
					n /= 2
				}
				rows += n
			}
			return nil
		})
	return rows, err
}

// TestBenchDecode compares how fast a binlog file is decoded with go-mysql's parser. Both read the
// file from disk in one thread and decode every value of every row image: this package into text,
// go-mysql into Go values.
func TestBenchDecode(t *testing.T) {
	in := servertest.Need(t, servers.MySQL)
	n, rounds := envNumber(t, "DECODE_ROWS", 100_000), envNumber(t, "DECODE_ROUNDS", 7)
	s := newSource(t, "--binlog-row-metadata=FULL")
	sets := writeDecodeSets(s, n)
	tables, err := query.Tables(t.Context(), s.conn, func(database, _ string) bool {
		return database == "bench"
	})
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	var out report
	out.addHeader("Decoding a binlog file, in rows per second of CPU, %s; medians of %d rounds",
		in.Version(servers.MySQL), rounds)
	out.addHeader("compared to go-mysql's ParseFile with its default settings")
	for _, set := range sets {
		var ours, theirs, ratios []float64
		least := decodeRun{}
		for range rounds {
			own, err := set.measureDecode(func() (int, error) {
				return decodeOurs(t, set.path, tables)
			})
			if err != nil {
				t.Fatal(err)
			}
			other, err := set.measureDecode(func() (int, error) {
				return decodeReference(set.path)
			})
			if err != nil {
				t.Fatal(err)
			}
			least = own
			ours = append(ours, float64(own.rows)/own.cpu)
			theirs = append(theirs, float64(other.rows)/other.cpu)
			ratios = append(ratios, ours[len(ours)-1]/theirs[len(theirs)-1])
		}
		out.addRow(set.name, rows(median(ours)), rows(median(theirs)), times(median(ratios)),
			goalText("at least 5x", median(ratios) >= 5))
		if set.transactions > 100 { // a fixed cost per file would be counted
			out.addRow("  allocations per transaction", fmt.Sprintf("%.3f", least.allocations), "",
				"", goalText("at most 1", least.allocations <= 1))
		}
		slices.Sort(ratios)
		t.Logf("%s: ratios %.1f", set.name, ratios)
	}
	fmt.Println(&out)
}
