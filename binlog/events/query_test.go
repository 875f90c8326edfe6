package events

import (
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
)

// A statement's text is in the character set of its client, and MariaDB puts SET STATEMENT in
// front. Read without both, a TRUNCATE of a mapped table once named an unknown table.
func TestStatementText(t *testing.T) {
	for _, c := range []struct {
		collation uint16
		sql, want string
	}{
		{8, "TRUNCATE `m\xfc`", "TRUNCATE `mü`"},
		{1024 + 47, "TRUNCATE `m\x80`", "TRUNCATE `m€`"},
		{45, "TRUNCATE `mü`", "TRUNCATE `mü`"},
		{400, "TRUNCATE `mü`", "TRUNCATE `mü`"},
		{2304, "TRUNCATE `mü`", "TRUNCATE `mü`"},
		{579, "TRUNCATE `mü`", "TRUNCATE `mü`"},
		{611, "TRUNCATE `mü`", "TRUNCATE `mü`"},
		{63, "TRUNCATE `mü`", "TRUNCATE `mü`"},
		{14, "TRUNCATE t", "TRUNCATE t"},
		{14, "TRUNCATE `\xec`", "TRUNCATE `м`"},
		{28, "TRUNCATE `\x81\x60`", "TRUNCATE `乣`"}, // gbk: the second byte is a backquote
		{1, "TRUNCATE `\xa5\x5c`", "TRUNCATE `功`"},  // big5: the second byte is a backslash
		{13, "TRUNCATE `\x83\x5c`", "TRUNCATE `ソ`"}, // sjis: the same
		{6, "TRUNCATE `m\xff`", "TRUNCATE `m\ufffd`"},
		{6, "TRUNCATE `m\xcf`", "TRUNCATE `mü`"},
		{10, "TRUNCATE m~", "TRUNCATE mü"},
		{92, "TRUNCATE `\xc0`", "TRUNCATE `ა`"},
		{248, "TRUNCATE `\xba\xba\x95\x32\x82\x36`", "TRUNCATE `汉𠀀`"},
		{28, "TRUNCATE `\xff\xff`", "TRUNCATE `\ufffd\ufffd`"},
		{1000, "TRUNCATE `m\xff`", "TRUNCATE `m\ufffd`"},
		{8, "CREATE TABLE `mü` (`a` int)", "CREATE TABLE `mü` (`a` int)"}, // by the server
		{8, "CREATE TABLE `m\xfc` (a int)", "CREATE TABLE `mü` (a int)"},
		{45, "SET STATEMENT sql_mode='a''FOR\\' FOR', x=`FOR` FOR TRUNCATE t", "TRUNCATE t"},
		{45, "/*M!100101 SET STATEMENT a=1 FOR */SET STATEMENT b=2 FOR\nTRUNCATE t", "TRUNCATE t"},
		{45, "SET STATEMENT a=SUBSTRING('x' FROM 1 FOR 1), b=2 FOR TRUNCATE t", "TRUNCATE t"},
		{45, "SET STATEMENT a=1", "SET STATEMENT a=1"},
		{45, "SET STATEMENT a='FOR TRUNCATE t", "SET STATEMENT a='FOR TRUNCATE t"},
		{45, "ANALYZE TABLE t", "ANALYZE TABLE t"},
	} {
		m := &eventBuilder{checksum: true}
		m.head(4)
		m.add(queryEvent, 0, clientBody(c.collation, c.sql))
		var got []string
		if err := feed(newParser(newOneTable()), m.events, func(ev *binlog.Event) {
			if ev.Kind != binlog.Statement {
				return
			}
			got = append(got, ev.SQL)
			want := binlog.Session{
				SQLMode: 0x0807060504030201, ServerCollation: 8, ServerCharset: "latin1",
				IsTextInexact: strings.Contains(c.want, "\ufffd"),
			}
			if ev.Session != want {
				t.Errorf("%q: session %+v, want %+v", c.sql, ev.Session, want)
			}
		}); err != nil || len(got) != 1 || got[0] != c.want {
			t.Errorf("%q of a client with collation %d becomes %q, %v", c.sql, c.collation, got,
				err)
		}
	}
}

// Only the parser can tell a statement that is a transaction of its own from one that stands
// inside a transaction, before the transaction's rows.
func TestInTransaction(t *testing.T) {
	m := &eventBuilder{checksum: true}
	m.head(4)
	m.add(gtidLogEvent, 0, gtidBody(1))
	m.add(queryEvent, 0, queryBody("CREATE TABLE x (id INT)"))
	m.add(gtidLogEvent, 0, gtidBody(2))
	m.add(queryEvent, 0, queryBody("BEGIN"))
	m.add(queryEvent, 0, queryBody("CREATE TABLE t (id INT) START TRANSACTION"))
	m.add(tableMapEvent, 0, mapBody(1, "t"))
	m.add(writeRowsEvent, 0, rowsBody(1, 1))
	m.add(xidEvent, 0, make([]byte, 8))
	m.add(queryEvent, 0, queryBody("DROP TABLE x"))
	type step struct {
		kind          binlog.Kind
		inTransaction bool
	}
	want := []step{
		{binlog.Statement, false},
		{binlog.Statement, true},
		{binlog.Changes, true},
		{binlog.Commit, false},
		{binlog.Statement, false},
	}
	var got []step
	if err := feed(newParser(newOneTable()), m.events, func(ev *binlog.Event) {
		if ev.Kind != binlog.Progress {
			got = append(got, step{ev.Kind, ev.InTransaction})
		} else if ev.InTransaction {
			t.Error("a Progress between transactions has InTransaction set")
		}
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("events are %v, want %v", got, want)
	}
}

// Rows of a table that is not mapped are reported, with whether foreign keys could act on others.
func TestForeignKeysOff(t *testing.T) {
	m := &eventBuilder{checksum: true}
	m.head(4)
	m.add(gtidLogEvent, 0, gtidBody(1))
	m.add(queryEvent, 0, queryBody("BEGIN"))
	for _, flags := range []byte{rowsStatementEnd, rowsStatementEnd | rowsForeignKeysOff} {
		for id, name := range []string{"t", "other"} {
			m.add(tableMapEvent, 0, mapBody(byte(id), name))
			body := rowsBody(byte(id), 1)
			body[6] = flags
			m.add(deleteRowsEvent, 0, body)
		}
	}
	m.add(xidEvent, 0, make([]byte, 8))
	var off []bool
	tables := newOneTable()
	if err := feed(newParser(tables), m.events, func(ev *binlog.Event) {
		if ev.Kind == binlog.Changes {
			off = append(off, ev.ForeignKeysOff)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(off, []bool{false, true}) {
		t.Errorf("ForeignKeysOff of the mapped table is %v", off)
	}
	want := []string{"other delete false", "other delete true"}
	if !slices.Equal(tables.skipped, want) {
		t.Errorf("skipped rows are %q, want %q", tables.skipped, want)
	}
}
