package dump_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/dump"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/internal/typetest"
)

// printed holds a row's columns as texts and as JSON. The text of NULL is "NULL".
type printed struct{ texts, jsons []string }

func printRow(t *testing.T, r *binlog.Row) (id int, p printed) {
	t.Helper()
	columns := r.Table().Columns
	for i := range columns {
		text, err := r.AppendText([]byte("="), i)
		if err != nil {
			t.Fatalf("%s %s: %v", columns[i].Name, columns[i].SQLType, err)
		}
		if r.IsNull(i) {
			text = []byte("NULL")
		}
		j, err := r.AppendJSON(nil, i)
		if err != nil {
			t.Fatalf("%s %s: %v", columns[i].Name, columns[i].SQLType, err)
		}
		if !json.Valid(j) {
			t.Errorf("%s %s: %q is not JSON", columns[i].Name, columns[i].SQLType, j)
		}
		p.texts, p.jsons = append(p.texts, string(text)), append(p.jsons, string(j))
	}
	id, err := strconv.Atoi(p.texts[0][1:])
	if err != nil {
		t.Fatal(err)
	}
	return id, p
}

// TestTypes writes random rows of every type to real servers. The stream, a SELECT and the server's
// own output must give the same bytes, and go-mysql must decode the same values from the binlog
// file.
func TestTypes(t *testing.T) {
	for _, su := range []setup{
		{
			"mysql", servers.MySQL, true,
			[]string{"--binlog-row-metadata=FULL", "--performance-schema=OFF"},
		},
		{
			"mariadb", servers.MariaDB, false,
			[]string{"--binlog-format=ROW", "--binlog-row-metadata=FULL"},
		},
		{
			"mariadb-11.8", servers.MariaDB118, false,
			[]string{"--binlog-format=ROW", "--binlog-row-metadata=FULL"},
		},
	} {
		t.Run(su.name, func(t *testing.T) {
			db := servertest.Database(t, su.kind,
				servers.DatabaseOptions{GTID: su.gtid, Args: su.args})
			f := newHarness(t, su, db)
			f.exec("SET sql_mode = '', time_zone = '+00:00'")
			rows := 300
			table := f.createTypes(typesOf(f.conn.Server()))
			if su.kind == servers.MariaDB118 {
				markGeneratedUnread(table)
			}
			from := f.end()
			s := f.open(from)
			f.fillTypes(rows, typesOf(f.conn.Server()))
			inserted, _ := f.followTypes(s, rows)
			f.compareReference(table, from, inserted)
			f.exec("UPDATE shop.types SET version = 1")
			before, after := f.followTypes(s, rows)
			read := f.readTypes(table)
			if len(inserted) != rows || len(before) != rows || len(after) != rows ||
				len(read) != rows {
				t.Fatalf("%d inserted, %d and %d updated, %d read of %d", len(inserted),
					len(before), len(after), len(read), rows)
			}
			plain := f.printTypes(table)
			faults := 0
			for id := range rows {
				for i := range table.Columns {
					c := &table.Columns[i]
					if c.Unread {
						continue
					}
					faulty := before[id].texts[i] != inserted[id].texts[i] ||
						before[id].jsons[i] != inserted[id].jsons[i]
					if c.Name != "version" && c.Name != "next" {
						faulty = faulty || after[id].texts[i] != before[id].texts[i] ||
							after[id].jsons[i] != before[id].jsons[i]
					}
					if faulty {
						t.Errorf("row %d, %s %s: inserted %.200q, updated from %.200q to %.200q",
							id, c.Name, c.SQLType, inserted[id].texts[i], before[id].texts[i],
							after[id].texts[i])
					}
					if after[id].texts[i] != read[id].texts[i] ||
						after[id].jsons[i] != read[id].jsons[i] {
						faulty = true
						t.Errorf(
							"row %d, %s %s: the stream has %.200q, JSON %.200q; reading %.200q, "+
								"JSON %.200q",
							id, c.Name, c.SQLType, after[id].texts[i], after[id].jsons[i],
							read[id].texts[i], read[id].jsons[i],
						)
					}
					if !samePrint(c, after[id].texts[i], plain[id][i], su.kind.IsMariaDB()) {
						faulty = true
						t.Errorf("row %d, %s %s: the stream has %.200q, the server prints %.200q",
							id, c.Name, c.SQLType, after[id].texts[i], plain[id][i])
					}
					if faulty {
						faults++
					}
				}
				if faults > 20 {
					t.Fatal("and so on")
				}
			}
		})
	}
}

// markGeneratedUnread marks the generated columns as columns whose values are not read, because
// MariaDB 11.8.9 does not log them in UPDATEs.
func markGeneratedUnread(table *binlog.Table) {
	for i := range table.Columns {
		table.Columns[i].Unread = table.Columns[i].Generated
	}
}

// typesOf returns the columns that a server can have and that go-mysql decodes.
func typesOf(s mysql.Server) []typetest.Column {
	version := s.Major*10000 + s.Minor*100 + s.Patch
	return slices.DeleteFunc(typetest.Columns(s.Flavor == mysql.MariaDB, version),
		func(c typetest.Column) bool {
			isBit := strings.HasPrefix(c.SQL, "BIT(") && c.SQL != "BIT(9)" && c.SQL != "BIT(64)"
			// The type matrix of package pipelines has those that print otherwise by design.
			printsOtherwise := strings.HasPrefix(c.SQL, "FLOAT(") ||
				strings.HasPrefix(c.SQL, "DOUBLE(") || strings.HasSuffix(c.SQL, "ZEROFILL")
			return isBit || printsOtherwise || strings.Contains(c.SQL, "COMPRESSED") ||
				c.SQL == "YEAR(2)" ||
				c.Random == nil && strings.Contains(c.SQL, "CHARACTER SET")
		})
}

// createTypes makes the table shop.types and returns its schema.
func (f *harness) createTypes(columns []typetest.Column) *binlog.Table {
	f.t.Helper()
	b := []byte(
		"CREATE TABLE shop.types (id INT UNSIGNED NOT NULL PRIMARY KEY, " +
			"version INT NOT NULL DEFAULT 0," +
			" next BIGINT GENERATED ALWAYS AS (version + 1) STORED, " +
			"twice BIGINT GENERATED ALWAYS AS (id * 2) VIRTUAL",
	)
	for i, c := range columns {
		b = fmt.Appendf(b, ", c%d %s", i, c.SQL)
	}
	f.exec(string(b) + ") ROW_FORMAT=DYNAMIC")
	return f.describe("types")
}

// fillTypes inserts rows; the first is all NULL.
func (f *harness) fillTypes(rows int, columns []typetest.Column) {
	f.t.Helper()
	seed := uint64(time.Now().UnixNano())
	f.t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	names := []byte("id")
	for i := range columns {
		names = fmt.Appendf(names, ", c%d", i)
	}
	for first := 0; first < rows; first += 50 {
		b := fmt.Appendf(nil, "INSERT INTO shop.types (%s) VALUES ", names)
		for id := first; id < min(first+50, rows); id++ {
			if id > first {
				b = append(b, ',')
			}
			b = fmt.Appendf(b, "(%d", id)
			for _, c := range columns {
				v := "NULL"
				if id > 0 && rnd.IntN(8) > 0 {
					v = c.Value(rnd)
				}
				b = append(append(b, ','), v...)
			}
			b = append(b, ')')
		}
		f.exec(string(b))
	}
}

// followTypes prints the images of the next rows, by id.
func (f *harness) followTypes(s *dump.Stream, rows int) (first, last map[int]printed) {
	f.t.Helper()
	first, last = make(map[int]printed), make(map[int]printed)
	for len(first) < rows {
		ev, err := s.Next(f.t.Context())
		if err != nil {
			f.t.Fatal(err)
		}
		if ev.Kind != binlog.Changes {
			continue
		}
		for ev.Rows.Next() {
			c := ev.Rows.Change()
			if c.Before != nil {
				id, p := printRow(f.t, c.Before)
				first[id] = p
				id, p = printRow(f.t, c.After)
				last[id] = p
			} else {
				id, p := printRow(f.t, c.After)
				first[id] = p
			}
		}
		if err := ev.Rows.Err(); err != nil {
			f.t.Fatal(err)
		}
	}
	return first, last
}

// readTypes prints the rows that SELECTs read in chunks.
func (f *harness) readTypes(table *binlog.Table) map[int]printed {
	f.t.Helper()
	conn := f.dial()
	out := make(map[int]printed)
	request := query.ChunkRequest{Table: table, Limit: 70}
	for {
		result, err := query.Read(
			f.t.Context(), conn, request, binlog.Position{},
			func(r *binlog.Row) error {
				id, p := printRow(f.t, r)
				out[id] = p
				return nil
			},
		)
		if err != nil {
			f.t.Fatal(err)
		}
		if result.Done {
			return out
		}
		request.After = result.Last
	}
}

// printTypes returns the server's text of the rows, in order. Types whose text differs by design
// are cast to one whose text does not.
func (f *harness) printTypes(table *binlog.Table) [][]mysql.Cell {
	f.t.Helper()
	var list []string
	for i := range table.Columns {
		c := &table.Columns[i]
		switch {
		case c.Type == binlog.TypeBit:
			list = append(list, "CAST("+c.Name+" AS UNSIGNED)")
		case c.Type == binlog.TypeFloat:
			list = append(list, c.Name+" + 0e0")
		case c.Type == binlog.TypeVector && f.setup.kind.IsMariaDB():
			list = append(list, "VEC_ToText("+c.Name+")")
		default:
			list = append(list, c.Name)
		}
	}
	r, err := f.conn.Query(f.t.Context(),
		"SELECT "+strings.Join(list, ", ")+" FROM shop.types ORDER BY id")
	if err != nil {
		f.t.Fatal(err)
	}
	for _, row := range r.Rows {
		if slices.ContainsFunc(row[:4], func(c mysql.Cell) bool { return c == nil }) {
			f.t.Fatal("a row has no id, or nothing generated")
		}
	}
	return r.Rows
}

// samePrint compares a text of ours with a server's.
func samePrint(c *binlog.Column, text string, cell mysql.Cell, isMariaDB bool) bool {
	switch {
	case cell == nil || text == "NULL":
		return cell == nil && text == "NULL"
	case c.Type == binlog.TypeVector && !isMariaDB:
		return true // the server prints its bytes; the tests of package binlog compare them
	case c.Type == binlog.TypeFloat:
		ours, err := strconv.ParseFloat(text[1:], 32)
		theirs, err2 := strconv.ParseFloat(string(cell), 64)
		return err == nil && err2 == nil && ours == theirs
	}
	return text[1:] == string(cell)
}
