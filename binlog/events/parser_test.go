package events

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"rowfall/binlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The parser's offset grows past 4 GiB, where the 32 bits in the events start again at 0.
func TestOffsetBeyond32Bits(t *testing.T) {
	m := &eventBuilder{checksum: true}
	m.head(1<<33 - 400)
	for i := range 10 {
		m.transaction(uint64(i+1), 3)
	}
	p := newParser(newOneTable())
	commits := 0
	if err := feed(p, m.events, func(ev *binlog.Event) {
		if ev.Kind != binlog.Commit {
			return
		}
		commits++
		if ev.Time != 1_700_000_000_123_456 {
			t.Errorf("time is %d", ev.Time)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if p.position.Offset != m.offset || commits != 10 || p.position.File != "binlog.000007" {
		t.Errorf("we are at %s:%d after %d transactions, not at %d", p.position.File,
			p.position.Offset, commits, m.offset)
	}
	if got := p.position.GTID.String(); got != "abababab-abab-abab-abab-abababababab:1-10" {
		t.Errorf("GTID set is %s", got)
	}
}

// An offset that 32 bits cannot hold is elsewhere in a heartbeat.
func TestHeartbeatBeyond32Bits(t *testing.T) {
	const offset = 5<<32 + 1000
	long := binary.LittleEndian.AppendUint64(nil, offset)
	encoded := binary.LittleEndian.AppendUint64([]byte{2, 9, 0xfe}, offset)
	for _, test := range []struct {
		isMariaDB bool
		typ       eventType
		body      []byte
	}{
		{true, heartbeatLogEvent, append(long, "binlog.000007"...)},
		{false, heartbeatLogEventV2, append(append([]byte{1, 13}, "binlog.000007"...), encoded...)},
	} {
		p := NewParser(Options{GTIDs: true, MariaDB: test.isMariaDB, Tables: newOneTable()})
		p.Start(binlog.Position{})
		m := &eventBuilder{checksum: true}
		m.head(4)
		// The end in the header of the heartbeat is 0.
		m.offset = 1<<32 - uint64(HeaderSize+len(test.body)+checksumSize)
		m.add(test.typ, 0, test.body)
		if err := feed(p, m.events, func(*binlog.Event) {}); err != nil {
			t.Fatal(err)
		}
		if p.position.File != "binlog.000007" || p.position.Offset != offset {
			t.Errorf("type %v: we are at %s:%d, not at %d", test.typ, p.position.File,
				p.position.Offset, uint64(offset))
		}
	}
}

// A server that is given a GTID set begins to read at the start of a file. That offset together
// with the whole set was once a position, from which MariaDB sent transactions of the set again.
func TestGTIDSetHasNoFileYet(t *testing.T) {
	set, err := binlog.ParseGTIDSet("0-1-10")
	if err != nil {
		t.Fatal(err)
	}
	for _, heartbeat := range []bool{false, true} {
		p := NewParser(Options{GTIDs: true, MariaDB: true, Tables: newOneTable()})
		p.Start(binlog.Position{GTID: set})
		m := &eventBuilder{checksum: true}
		m.head(4)
		m.add(gtidListEvent, 0, make([]byte, 4))
		if err := feed(p, m.events, func(*binlog.Event) {}); err != nil {
			t.Fatal(err)
		}
		if p.position.File != "" || p.position.Offset != 0 || !p.position.GTID.Equal(set) {
			t.Errorf("before anything came we are at %v %s:%d", &p.position, p.position.File,
				p.position.Offset)
		}
		m.events = nil
		if heartbeat {
			m.offset = 4000
			m.add(heartbeatLogEvent, 0, []byte("binlog.000007"))
		} else {
			m.add(mariaGTIDEvent, 0, binary.LittleEndian.AppendUint64(nil, 11), make([]byte, 5))
			m.add(xidEvent, 0, make([]byte, 8))
		}
		if err := feed(p, m.events, func(*binlog.Event) {}); err != nil {
			t.Fatal(err)
		}
		if p.position.File != "binlog.000007" || p.position.Offset != m.offset {
			t.Errorf("we are at %s:%d, not at %d", p.position.File, p.position.Offset, m.offset)
		}
	}
}

// The schema of a table is looked up once, however often the server opens the table, and again
// after Forget.
func TestTableMapsAreRemembered(t *testing.T) {
	m := &eventBuilder{checksum: true}
	m.head(4)
	for i := range 200 {
		m.transaction(uint64(i+1), 1)
	}
	o := newOneTable()
	p := newParser(o)
	half := len(m.events) / 2
	nothing := func(*binlog.Event) {}
	if err := feed(p, m.events[:half], nothing); err != nil || o.lookups != 1 {
		t.Fatal(o.lookups, err)
	}
	p.Forget()
	if err := feed(p, m.events[half:], nothing); err != nil || o.lookups != 2 {
		t.Fatal(o.lookups, err)
	}
}

// A GTID with a tag has a format of its own. The fields are MySQL's example.
func TestTaggedGTID(t *testing.T) {
	body := []byte{0x02, 0x76, 0x00, 0x00, 0x02, 0x02}
	for i := range 16 {
		if b := byte(0x10 * i); b < 0x80 {
			body = append(body, b<<1)
		} else {
			body = append(body, b<<2|1, b>>6)
		}
	}
	body = append(body, 0x04, 6<<1<<1, 0x06, 3<<1)
	body = append(body, "tag"...)
	body = append(body, 0x0c, 0x7f) // a commit time of eight bytes
	time := uint64(1_700_000_000_123_456)
	body = append(body[:len(body)-1], binary.LittleEndian.AppendUint64(nil, time<<8|0x7f)...)
	m := &eventBuilder{}
	m.head(4)
	m.add(gtidTaggedLogEvent, 0, body)
	m.add(queryEvent, 0, queryBody("BEGIN"))
	m.add(xidEvent, 0, make([]byte, 8))
	p := newParser(newOneTable())
	if err := feed(p, m.events, func(ev *binlog.Event) {
		if ev.Kind == binlog.Commit && ev.Time != int64(time) {
			t.Errorf("time is %d", ev.Time)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if got := p.position.GTID.String(); got != "00102030-4050-6070-8090-a0b0c0d0e0f0:tag:6" {
		t.Errorf("GTID set is %s", got)
	}
}

// Every error names the position. Damage may be the network's, so a retry is allowed; other events
// are rejected with a RefusedError, or a pipeline would retry for ever.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name, want string
		make       func(m *eventBuilder)
	}{
		{
			"checksum", "checksum is wrong",
			func(m *eventBuilder) { m.transaction(1, 1); m.events[len(m.events)-2][30] ^= 1 },
		},
		{"length", "damaged", func(m *eventBuilder) {
			m.transaction(1, 1)
			m.events[5] = m.events[5][:25]
		}},
		{
			"rows outside", "middle of a transaction",
			func(m *eventBuilder) { m.add(tableMapEvent, 0, mapBody(1, "t")) },
		},
		{"rows without map", "table map", func(m *eventBuilder) {
			m.add(queryEvent, 0, queryBody("BEGIN"))
			m.add(writeRowsEvent, 0, rowsBody(1, 1))
		}},
		{
			"commit outside", "middle of a transaction",
			func(m *eventBuilder) { m.add(xidEvent, 0, make([]byte, 8)) },
		},
		{"unknown", "type 77", func(m *eventBuilder) { m.add(77, 0) }},
		{"incident", "INCIDENT", func(m *eventBuilder) {
			m.add(incidentEvent, 0, []byte{1, 0, 0})
		}},
		{
			"broken off", "ends within",
			func(m *eventBuilder) {
				m.transaction(1, 1)
				m.events = m.events[:len(m.events)-1]
				m.head(m.offset)
			},
		},
		{"text without a transaction", "binlog_format=ROW", func(m *eventBuilder) {
			m.add(queryEvent, 0, queryBody("/* a */ update t set a = 1"))
		}},
		{"old LOAD DATA", "binlog_format=ROW", func(m *eventBuilder) {
			m.add(queryEvent, 0, queryBody("BEGIN"))
			m.add(createFileEvent, 0, make([]byte, 8))
		}},
		{"sign", "sign", func(m *eventBuilder) {
			m.transaction(1, 1)
			body := mapBody(1, "t")
			body[len(body)-1] = 0
			m.events[4] = m.raw(tableMapEvent, 0, true, body)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &eventBuilder{checksum: true}
			m.head(4)
			c.make(m)
			err := feed(newParser(newOneTable()), m.events, func(*binlog.Event) {})
			if err == nil || !strings.Contains(err.Error(), c.want) ||
				!strings.Contains(err.Error(), "binlog.000007:") {
				t.Errorf("error is %v", err)
			}
			var refused *binlog.RefusedError
			passing := slices.Contains([]string{"checksum", "length", "broken off"}, c.name)
			if errors.As(err, &refused) == passing ||
				!passing && refused.After.File != "binlog.000007" {
				t.Errorf("refused is %+v", refused)
			}
			if c.name == "sign" && refused.Table != "shop.t" {
				t.Errorf("refused is table %q", refused.Table)
			}
		})
	}
	// An event of an unknown type that may be ignored is ignored.
	m := &eventBuilder{}
	m.head(4)
	m.add(77, flagIgnorable)
	m.transaction(1, 1)
	if err := feed(newParser(newOneTable()), m.events, func(*binlog.Event) {}); err != nil {
		t.Error(err)
	}
	// A part of an event with rows must not be ignored.
	m.add(partialRowDataEvent, flagIgnorable, make([]byte, 17))
	err := feed(newParser(newOneTable()), m.events, func(*binlog.Event) {})
	if err == nil || !strings.Contains(err.Error(), "binlog_row_event_fragment_threshold") {
		t.Errorf("a part of an event with rows: %v", err)
	}
}

// A server counts table ids up through all values. The id that marks statements without rows is
// also a valid table's id; the rows of such a table were once ignored.
func TestTableIDOfAllOnes(t *testing.T) {
	m := &eventBuilder{checksum: true}
	m.head(4)
	table, rows := mapBody(1, "t"), rowsBody(1, 3)
	copy(table, "\xff\xff\xff")
	copy(rows, "\xff\xff\xff")
	m.add(queryEvent, 0, queryBody("BEGIN"))
	for _, id := range []string{
		"\xff\xff\xff\x00\x00\x00", "\xff\xff\xff\xff\x00\x00",
		"\xff\xff\xff\xff\xff\xff",
	} {
		m.add(writeRowsEvent, 0, []byte(id), []byte{1, 0, 2, 0, 1, 1})
		m.add(updateRowsEventV1, 0, []byte(id), []byte{1, 0, 1, 1, 1})
	}
	m.add(tableMapEvent, 0, table)
	m.add(writeRowsEvent, 0, rows)
	m.add(xidEvent, 0, make([]byte, 8))
	var got []binlog.Kind
	err := feed(newParser(newOneTable()), m.events,
		func(ev *binlog.Event) { got = append(got, ev.Kind) })
	if err != nil || !slices.Contains(got, binlog.Changes) {
		t.Errorf("events are %v, %v", got, err)
	}
	// With rows and without a table map, such an event is damage, or begins within a transaction.
	m.add(queryEvent, 0, queryBody("BEGIN"))
	rows[3] = 0xff
	m.add(writeRowsEvent, 0, rows)
	if err := feed(newParser(newOneTable()), m.events, func(*binlog.Event) {}); err == nil {
		t.Error("rows without a table map went by")
	}
}

// An offset beyond the end of the file that is being written is rejected. The parser once waited
// until other transactions had passed it.
func TestBeyondTheEnd(t *testing.T) {
	m := &eventBuilder{checksum: true}
	m.head(4)
	m.transaction(1, 1)
	p := NewParser(Options{GTIDs: true, Tables: newOneTable()})
	p.StartSkipping(binlog.Position{File: "binlog.000007", Offset: m.offset + 100}, false)
	if err := feed(p, m.events, func(*binlog.Event) {}); err != nil {
		t.Fatal(err)
	}
	m.events = nil
	m.add(heartbeatLogEvent, flagArtificial, []byte("binlog.000007"))
	var refused *binlog.RefusedError
	if err := feed(p, m.events, func(*binlog.Event) {}); !errors.As(err, &refused) ||
		!strings.Contains(err.Error(), "beyond the end") {
		t.Errorf("error is %v", err)
	}
}

// A compressed transaction is one event of the stream, however large it is.
func TestPayload(t *testing.T) {
	encoder, _ := zstd.NewWriter(nil)
	for _, events := range []int{1, 100, 5000} {
		inner := &eventBuilder{}
		inner.add(queryEvent, 0, queryBody("BEGIN"))
		inner.add(tableMapEvent, 0, mapBody(1, "t"))
		for range events {
			inner.add(writeRowsEvent, 0, rowsBody(1, 100))
		}
		inner.add(xidEvent, 0, make([]byte, 8))
		m := &eventBuilder{checksum: true}
		m.head(4)
		for i := range 3 {
			m.add(gtidLogEvent, 0, gtidBody(uint64(i+1)))
			m.add(transactionPayloadEvent, 0, []byte{2, 1, 0, 0},
				encoder.EncodeAll(bytes.Join(inner.events, nil), nil))
		}
		p := newParser(newOneTable())
		var changes, commits int
		if err := feed(p, m.events, func(ev *binlog.Event) {
			switch ev.Kind {
			case binlog.Changes:
				changes++
			case binlog.Commit:
				commits++
			}
		}); err != nil {
			t.Fatal(err)
		}
		if changes != 3*events || commits != 3 || p.position.Offset != m.offset {
			t.Errorf("%d changes, %d commits, at %d of %d", changes, commits, p.position.Offset,
				m.offset)
		}
	}
}

// The signs in a table map have a bit for a YEAR, whose sign is not compared.
func TestSignOfYear(t *testing.T) {
	table := &binlog.Table{Columns: []binlog.Column{
		{Name: "y", SQLType: "year", Type: binlog.TypeYear},
		{Name: "n", SQLType: "int", Type: binlog.TypeInt},
	}}
	wires, err := binlog.ParseWireTypes([]byte{13, 3}, nil) // YEAR, INT
	if err != nil {
		t.Fatal(err)
	}
	if err := verifySigns(table, wires, cursor{b: []byte{0x80}}); err != nil {
		t.Error(err)
	}
	if err := verifySigns(table, wires, cursor{b: []byte{0xc0}}); err == nil ||
		!strings.Contains(err.Error(), "column n") {
		t.Errorf("error is %v", err)
	}
}
