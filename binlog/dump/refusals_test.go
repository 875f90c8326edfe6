package dump_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/dump"
	"rowfall/binlog/mysql"
	"rowfall/internal/servers"
)

// Events that are not supported end the stream with an error that names the remedy.
func testRefusals(t *testing.T, f *harness) {
	cases := []struct {
		name string
		sql  []string
		want []string
		only mysql.Flavor
	}{
		{
			"columns",
			[]string{
				"ALTER TABLE shop.b ADD COLUMN extra INT",
				"INSERT INTO shop.b VALUES (102, 2001, 'v', 'x', 1)",
			},
			[]string{"shop.b"},
			0,
		},
	}
	for _, c := range cases {
		if c.only != 0 && c.only != f.conn.Server().Flavor {
			continue // the other kind of server has its run
		}
		t.Run(c.name, func(t *testing.T) {
			from := f.end()
			for _, sql := range c.sql {
				f.exec(sql)
			}
			err := firstError(t, f.open(from))
			var refused *binlog.RefusedError
			if !errors.As(err, &refused) {
				t.Errorf("%v is not a RefusedError", err)
			}
			for _, w := range append(c.want, from.File+":") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q lacks %q", err, w)
				}
			}
		})
	}
}

func firstError(t *testing.T, s *dump.Stream) error {
	t.Helper()
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		ev, err := s.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				t.Fatalf("no error came, but %v at %s:%d", err, s.Position().File,
					s.Position().Offset)
			}
			return err
		}
		if ev.Kind == binlog.Changes {
			for ev.Rows.Next() {
			}
			if err := ev.Rows.Err(); err != nil {
				return err
			}
		}
	}
}

// A position that the server does not have, or at which no event begins, is an error.
func testBadPositions(t *testing.T, f *harness) {
	from := f.end()
	f.exec("BEGIN")
	f.exec("INSERT INTO shop.a VALUES (1, 2001, 'v', 'x'), (2, 2002, 'v', 'x')")
	f.exec("INSERT INTO shop.b VALUES (1, 2001, 'v', 'x')")
	f.exec("COMMIT")
	s := f.open(from)
	got := take(t, s, 1)
	_ = s.Close()
	// Offsets within the transaction are rejected. Without GTIDs the offset of its BEGIN is
	// accepted: all of its rows follow.
	const anonymous = 79
	for o := from.Offset + 1; o < got[0].position.Offset; o += 13 {
		if o == from.Offset+anonymous && f.setup.kind == servers.MySQL && !f.setup.gtid {
			continue
		}
		err := f.openError(binlog.Position{File: from.File, Offset: o})
		if !strings.Contains(err.Error(), from.File) {
			t.Errorf("offset %d: %v", o, err)
		}
	}
	beyond := f.end()
	beyond.Offset += 10_000
	beyond.GTID = binlog.GTIDSet{}
	var refused *binlog.RefusedError
	// Unless the file is read from its beginning, the server itself rejects the offset.
	if err := f.openError(beyond); !errors.As(err, &refused) &&
		!mysql.IsCode(err, mysql.CodeBinlogMissing) {
		t.Errorf("beyond the file's end: %v", err)
	}
	f.exec("FLUSH BINARY LOGS")
	purge := f.end()
	f.exec("INSERT INTO shop.a VALUES (3, 2001, 'v', 'x')")
	f.exec("FLUSH BINARY LOGS")
	f.purge()
	for _, p := range []binlog.Position{from, purge} {
		err := f.openError(p)
		var se *mysql.ServerError
		if !errors.As(err, &se) || se.Code != mysql.CodeBinlogMissing ||
			!strings.Contains(err.Error(), "--from snapshot") {
			t.Errorf("purged: %v", err)
		}
	}
}

// openError returns the error that a stream from a position ends with.
func (f *harness) openError(p binlog.Position) error {
	s, err := dump.Open(
		f.t.Context(),
		dump.Config{
			MySQL: f.config(), ServerID: 4711, Heartbeat: 100 * time.Millisecond,
			Tables: f.tables,
		},
		p,
	)
	if err != nil {
		return err
	}
	return firstError(f.t, s)
}

// purge removes all binlog files but the last. A server keeps files that it believes are being
// read, so purge retries.
func (f *harness) purge() {
	f.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		f.exec(fmt.Sprintf("PURGE BINARY LOGS TO '%s'", f.end().File))
		r, err := f.conn.Query(f.t.Context(), "SHOW BINARY LOGS")
		if err != nil {
			f.t.Fatal(err)
		}
		if len(r.Rows) == 1 {
			return
		}
	}
	f.t.Fatal("the server keeps its binlog files")
}
