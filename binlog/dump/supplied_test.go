package dump_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/dump"
	"rowfall/binlog/mysql"
)

// supplier records what table maps describe.
type supplier struct {
	tables
	logged []*binlog.LoggedTable
}

// Supply implements events.Supplier.
func (s *supplier) Supply(
	t *binlog.Table, logged *binlog.LoggedTable,
) (*binlog.Table, error) {
	s.logged = append(s.logged, logged)
	return t, nil
}

// A table map with full metadata describes a table like information_schema does. Types that are
// logged like others are not guessed. A change of the metadata between two events changes nothing.
func testSupplied(t *testing.T, f *harness) {
	isMariaDB := f.conn.Server().Flavor == mysql.MariaDB
	isFull := slices.Contains(f.setup.args, "--binlog-row-metadata=FULL")
	columns := []string{
		"id BIGINT UNSIGNED NOT NULL", "i TINYINT", "m MEDIUMINT UNSIGNED", "s SMALLINT NOT NULL",
		"d DECIMAL(12,3) UNSIGNED", "f FLOAT", "g DOUBLE", "v VARCHAR(70)",
		"l VARCHAR(70) CHARACTER SET latin1", "c CHAR(9) CHARACTER SET ascii",
		"t TEXT", "mt MEDIUMTEXT CHARACTER SET latin1", "bl LONGBLOB", "tb TINYBLOB",
		"e ENUM('a','it''s','ä') CHARACTER SET latin1", "st SET('x','ü','')", "y YEAR",
		"da DATE", "ti TIME(3)", "dt DATETIME(6)", "ts TIMESTAMP(2) NULL", "b BIT(9)",
	}
	if !isMariaDB {
		columns = append(columns, "j JSON", "bi BINARY(16)", "vb VARBINARY(30)")
	} else {
		columns = append(columns, "vc VARCHAR(70) COMPRESSED", "bc VARBINARY(30) COMPRESSED",
			"mc MEDIUMTEXT COMPRESSED CHARACTER SET latin1", "lc LONGBLOB COMPRESSED",
			"last VARCHAR(9) CHARACTER SET ascii")
	}
	f.exec("SET NAMES utf8mb4")
	f.exec("CREATE TABLE shop.full (" + strings.Join(columns, ", ") + ", PRIMARY KEY (s, id))")
	want := f.describe("full")
	from := f.end()
	f.exec("INSERT INTO shop.full (id, s) VALUES (1, 2)")
	s := &supplier{tables: f.tables}
	stream, err := dump.Open(t.Context(), dump.Config{
		MySQL: f.config(), ServerID: 4711 + rand.Uint32N(1e6),
		Heartbeat: 100 * time.Millisecond, Tables: s,
	}, from)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	take(t, stream, 1)
	if len(s.logged) != 1 || (s.logged[0] != nil) != isFull {
		t.Fatalf("the table maps describe %v; full metadata: %v", s.logged, isFull)
	}
	if !isFull {
		return
	}
	unknown := &binlog.Table{Database: "shop", Name: "full"}
	got, err := s.logged[0].Supply(unknown)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Primary, want.Primary) {
		t.Errorf("the primary key is %v, want %v", got.Primary, want.Primary)
	}
	for i, w := range want.Columns {
		g := got.Columns[i]
		// A display width is not logged.
		if base, rest, _ := strings.Cut(w.SQLType, "("); strings.HasSuffix(base, "int") ||
			base == "year" {
			_, rest, _ = strings.Cut(rest, ")")
			w.SQLType = base + rest
		}
		if !(&binlog.Table{Columns: []binlog.Column{g}}).Equal(
			&binlog.Table{Columns: []binlog.Column{w}}) {
			t.Errorf("column %s is %+v, want %+v", w.Name, g, w)
		}
	}
	if got, err := s.logged[0].Supply(want); err != nil || got != want {
		t.Errorf("with the schema as a hint: %+v, %v; want the schema", got, err)
	}
	renamed := *want
	renamed.Columns = slices.Clone(want.Columns)
	renamed.Columns[1].Name = "other"
	if got, err := s.logged[0].Supply(&renamed); err != nil || got == &renamed ||
		got.Columns[1].Name != "i" {
		t.Errorf("a renamed column is %+v, %v", got, err)
	}
}
