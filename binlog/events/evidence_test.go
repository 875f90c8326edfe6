package events

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
)

// gtidFull is the body of a GTID event in the form of MySQL 8.0: with the flag for an original
// time, the transaction's length and the server's version.
func gtidFull(sequence, immediate uint64, original *uint64, length uint16) []byte {
	b := gtidBody(sequence)
	b = b[:len(b)-7]
	if original != nil {
		immediate |= 1 << 55
	}
	b = append(b, binary.LittleEndian.AppendUint64(nil, immediate)[:7]...)
	if original != nil {
		b = append(b, binary.LittleEndian.AppendUint64(nil, *original)[:7]...)
	}
	b = append(b, 0xfc, byte(length), byte(length>>8)) // a length-encoded integer
	return append(b, 1, 2, 3, 4)                       // server version
}

// Every field of the evidence comes from the events, in each form in which servers write them.
func TestEvidence(t *testing.T) {
	const time = 1_700_000_000_123_456
	zero, earlier := uint64(0), uint64(time-1)
	uuid := [16]byte(bytes.Repeat([]byte{0xab}, 16))
	mysql := binlog.GTID{UUID: uuid, Sequence: 7}
	for _, c := range []struct {
		name string
		make func(m *eventBuilder)
		want binlog.Evidence
	}{
		{"first server", func(m *eventBuilder) {
			m.add(gtidLogEvent, 0, gtidFull(7, time, nil, 300))
		}, binlog.Evidence{GTID: mysql, Time: time, Length: 300}},
		{"replica", func(m *eventBuilder) {
			m.add(gtidLogEvent, 0, gtidFull(7, time, &earlier, 300))
		}, binlog.Evidence{GTID: mysql, Time: time - 1, Length: 300}},
		{
			"replica of an old server",
			func(m *eventBuilder) { m.add(gtidLogEvent, 0, gtidFull(7, time, &zero, 300)) },
			binlog.Evidence{GTID: mysql, Length: 300},
		},
		{
			"without length", func(m *eventBuilder) { m.add(gtidLogEvent, 0, gtidBody(7)) },
			binlog.Evidence{GTID: mysql, Time: time},
		},
		{
			"without times", func(m *eventBuilder) { m.add(gtidLogEvent, 0, gtidBody(7)[:25]) },
			binlog.Evidence{GTID: mysql},
		},
		{"anonymous", func(m *eventBuilder) {
			m.add(anonymousGTIDLogEvent, 0, gtidFull(0, time, nil, 300))
		}, binlog.Evidence{Time: time, Length: 300}},
		{"without GTID event", func(*eventBuilder) {}, binlog.Evidence{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &eventBuilder{checksum: true}
			m.head(4)
			m.transaction(1, 1)
			start := m.offset
			c.make(m)
			m.add(queryEvent, 0, queryBody("BEGIN"))
			m.add(tableMapEvent, 0, mapBody(1, "t"))
			m.add(writeRowsEvent, 0, rowsBody(1, 1))
			m.add(xidEvent, 0, make([]byte, 8))
			want := c.want
			want.File, want.Start, want.FileTime = "binlog.000007", start, 1_700_000_000
			p := newParser(newOneTable())
			if err := feed(p, m.events, func(ev *binlog.Event) {
				// Its rows are yielded before its end is known.
				if got := p.Transaction(); ev.Kind == binlog.Changes && got.Start == start &&
					got != want {
					t.Errorf("within it, the evidence is %+v, want %+v", got, want)
				}
			}); err != nil {
				t.Fatal(err)
			}
			want.End = m.offset
			if got := *p.Last(); got != want {
				t.Errorf("evidence is %+v, want %+v", got, want)
			}
		})
	}
}

// A statement that stands alone is a transaction, too. Its FileTime is the time of the last
// FORMAT_DESCRIPTION_EVENT.
func TestEvidenceOfStatement(t *testing.T) {
	m := &eventBuilder{checksum: true}
	m.head(4)
	m.transaction(1, 1)
	start := m.offset
	m.add(queryEvent, 0, queryBody("CREATE TABLE x (id INT)"))
	p := newParser(newOneTable())
	if err := feed(p, m.events, func(*binlog.Event) {}); err != nil {
		t.Fatal(err)
	}
	if got := p.Last(); !got.GTID.IsZero() || got.Start != start || got.End != m.offset ||
		got.FileTime == 0 {
		t.Errorf("evidence is %+v", got)
	}
}

// A MariaDB transaction is identified by the time of its last statement: a replica gives its GTID
// and XID events other times.
func TestEvidenceOfMariaDB(t *testing.T) {
	m := &eventBuilder{checksum: true}
	m.head(4)
	at := func(seconds uint32) { // gives the last event another time
		raw := m.events[len(m.events)-1]
		binary.LittleEndian.PutUint32(raw, seconds)
	}
	var starts []uint64
	for i := range 2 {
		starts = append(starts, m.offset)
		m.add(mariaGTIDEvent, 0, binary.LittleEndian.AppendUint64(nil, uint64(11+i)),
			make([]byte, 5))
		at(900)
		m.add(tableMapEvent, 0, mapBody(1, "t"))
		at(500 + uint32(i))
		m.add(writeRowsEvent, 0, rowsBody(1, 1))
		m.add(xidEvent, 0, make([]byte, 8))
		at(901)
	}
	starts = append(starts, m.offset)
	m.add(mariaGTIDEvent, 0, binary.LittleEndian.AppendUint64(nil, 13), []byte{0, 0, 0, 0, 1})
	m.add(queryEvent, 0, queryBody("CREATE TABLE x (id INT)"))
	at(700)
	p := NewParser(Options{GTIDs: true, MariaDB: true, Tables: newOneTable(), SkipChecksum: true})
	set, err := binlog.ParseGTIDSet("0-9-10")
	if err != nil {
		t.Fatal(err)
	}
	p.Start(binlog.Position{GTID: set})
	previous, n := "0-9-10", 0
	if err := feed(p, m.events, func(ev *binlog.Event) {
		if ev.Kind != binlog.Commit && ev.Kind != binlog.Statement {
			return
		}
		got := p.Last()
		if got.Previous.String() != previous || got.Time != []int64{500e6, 501e6, 700e6}[n] ||
			got.Start != starts[n] || !got.GTID.MariaDB {
			t.Errorf("evidence is %+v", got)
		}
		previous = got.GTID.String()
		n++
	}); err != nil || n != 3 {
		t.Fatal(n, err)
	}
}

// The evidence of a part of a MariaDB transaction is the same at each of its statements, although
// they have different times.
func TestEvidenceOfMariaDBPart(t *testing.T) {
	m := &eventBuilder{checksum: true}
	m.head(4)
	m.add(mariaGTIDEvent, 0, binary.LittleEndian.AppendUint64(nil, 11), make([]byte, 5))
	for i := range uint32(3) {
		m.add(tableMapEvent, 0, mapBody(1, "t"))
		binary.LittleEndian.PutUint32(m.events[len(m.events)-1], 500+i)
		m.add(writeRowsEvent, 0, rowsBody(1, 1))
	}
	m.add(xidEvent, 0, make([]byte, 8))
	p := NewParser(Options{GTIDs: true, MariaDB: true, Tables: newOneTable(), SkipChecksum: true})
	p.Start(binlog.Position{})
	var times []int64
	if err := feed(p, m.events, func(ev *binlog.Event) {
		if ev.Kind == binlog.Changes {
			times = append(times, p.Transaction().Time)
		}
	}); err != nil || !slices.Equal(times, []int64{500e6, 500e6, 500e6}) {
		t.Errorf("the times of the parts are %v (%v)", times, err)
	}
	if last := p.Last(); last.Time != 502e6 {
		t.Errorf("the time of the whole transaction is %d", last.Time)
	}
}

// While verifying, the parser yields nothing of a transaction, whatever it holds; after
// StopVerifying it yields the following transactions.
func TestVerify(t *testing.T) {
	m := &eventBuilder{checksum: true}
	m.head(4)
	m.transaction(1, 1)
	m.add(gtidLogEvent, 0, gtidBody(2))
	m.add(queryEvent, 0, queryBody("BEGIN"))
	m.add(queryEvent, 0, queryBody("update t set a = 1")) // refused otherwise
	m.add(queryEvent, 0, queryBody("COMMIT"))
	m.add(gtidLogEvent, 0, gtidBody(3))
	m.add(transactionPayloadEvent, 0, []byte{2, 1, 0, 0}, []byte("no payload"))
	behind := len(m.events)
	end := m.offset
	m.transaction(4, 2)
	m.transaction(5, 2)
	tables := newOneTable()
	p := newParser(tables)
	p.StartVerifying()
	n := 0
	if err := feed(p, m.events[:behind], func(ev *binlog.Event) {
		switch ev.Kind {
		case binlog.Changes:
			t.Error("rows were yielded")
		case binlog.Commit:
			n++
			if got := p.Last(); got.GTID.Sequence != uint64(n) {
				t.Errorf("the %dth is %+v", n, got)
			}
		}
	}); err != nil || n != 3 || tables.lookups > 0 {
		t.Fatal(n, tables.lookups, err)
	}
	// The data hold the fourth as well.
	at := binlog.Position{File: "binlog.000007", Offset: end + 1}
	p.StopVerifying(at)
	var kinds []binlog.Kind
	if err := feed(p, m.events[behind:], func(ev *binlog.Event) {
		if ev.Kind != binlog.Progress {
			kinds = append(kinds, ev.Kind)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if len(kinds) != 2 || kinds[0] != binlog.Changes || kinds[1] != binlog.Commit ||
		p.Last().GTID.Sequence != 5 {
		t.Errorf("yielded are %v, last is %+v", kinds, p.Last())
	}
	if got := p.Position().GTID.String(); got != "abababab-abab-abab-abab-abababababab:1-5" {
		t.Errorf("the position is %s", got)
	}
}

// A server that is reset while the stream is open assigns GTIDs and file numbers from the start
// again.
func TestHistoryGoesBack(t *testing.T) {
	rotate := func(m *eventBuilder, file string, flags uint16) {
		m.add(rotateEvent, flags, binary.LittleEndian.AppendUint64(nil, 4), []byte(file))
	}
	for _, c := range []struct {
		name, want string
		make       func(m *eventBuilder)
	}{
		{
			"GTID", "sent GTID abababab-abab-abab-abab-abababababab:1 again",
			func(m *eventBuilder) { m.transaction(1, 1) },
		},
		{
			"file", "goes back from binlog.000007:",
			func(m *eventBuilder) { rotate(m, "binlog.000001", 0) },
		},
		{
			"same file", "to binlog.000007:4",
			func(m *eventBuilder) { rotate(m, "binlog.000007", flagArtificial) },
		},
		{"next file", "", func(m *eventBuilder) {
			rotate(m, "binlog.000008", 0)
			rotate(m, "binlog.000008", flagArtificial)
		}},
		{"another name", "", func(m *eventBuilder) { rotate(m, "mysql-bin.000001", 0) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &eventBuilder{checksum: true}
			m.head(4)
			m.transaction(1, 1)
			m.transaction(2, 1)
			c.make(m)
			err := feed(newParser(newOneTable()), m.events, func(*binlog.Event) {})
			var different *binlog.HistoryError
			if errors.As(err, &different) != (c.want != "") ||
				err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
		})
	}
}
