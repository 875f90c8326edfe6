package mysql

import (
	"bytes"
	"testing"
)

func FuzzGreeting(f *testing.F) {
	f.Add(
		[]byte("\n9.7.0\x00\x01\x00\x00\x00saltsalt\x00" +
			"\xff\xf7\xff\x02\x00\xff\xdf\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
			"saltsaltsalt\x00caching_sha2_password\x00"),
	)
	f.Add([]byte("\xff\x10\x04#08004Too many connections"))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = parseGreeting(b) })
}

func FuzzRow(f *testing.F) {
	f.Add([]byte("\xfb\x01a\x00\xfc\x01\x00b"), uint8(4))
	f.Add([]byte("\xfe\xff\xff\xff\xff\xff\xff\xff\xff"), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, n uint8) {
		cells := make([][]byte, n)
		if splitRow(b, cells) != nil {
			return
		}
		size := 0
		for _, c := range cells {
			size += len(c)
		}
		if size+len(cells) > len(b) {
			t.Errorf("%d bytes in %d cells out of %d bytes", size, n, len(b))
		}
		_, _ = columnName(b)
		_ = ParseError(b)
	})
}

// Whatever a server sends, no packet is longer than what has come.
func FuzzPackets(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00a\x00\x00\x00\x01"), uint8(0))
	f.Add([]byte("\xff\xff\xff\x07a"), uint8(7))
	f.Fuzz(func(t *testing.T, b []byte, sequence uint8) {
		p, q := newPacketConn(bytes.NewBuffer(bytes.Clone(b))), newPacketConn(bytes.NewBuffer(b))
		p.sequence, q.sequence = sequence, sequence
		for size := 0; ; {
			payload, err := p.read(nil)
			same, sameErr := q.next()
			if (err == nil) != (sameErr == nil) || err == nil && !bytes.Equal(payload, same) {
				t.Fatalf("read returns %q, %v; next returns %q, %v", payload, err, same, sameErr)
			}
			if err != nil {
				return
			}
			if size += 4 + len(payload); size > len(b) {
				t.Fatalf("%d bytes of packets out of %d", size, len(b))
			}
		}
	})
}

func TestPacketsInParts(t *testing.T) {
	for _, n := range []int{0, 1, maxPart - 2, maxPart - 1, maxPart, 2*maxPart - 1, 2*maxPart + 5} {
		var wire bytes.Buffer
		p := newPacketConn(&wire)
		payload := bytes.Repeat([]byte{'z'}, n)
		if err := p.command(7, payload); err != nil {
			t.Fatal(err)
		}
		p.sequence = 0
		got, err := p.read(nil)
		if err != nil || len(got) != n+1 || got[0] != 7 || !bytes.Equal(got[1:], payload) {
			t.Errorf("%d bytes come back as %d, %v", n, len(got), err)
		}
		if wire.Len() != 0 || p.r.Buffered() != 0 {
			t.Errorf("%d: %d bytes are left", n, wire.Len()+p.r.Buffered())
		}
	}
}

// next returns packets of every size, also of those that do not fit into the connection's buffer,
// after a packet that leaves an odd offset in the buffer. A large buffer is not kept.
func TestNextPacket(t *testing.T) {
	for _, n := range []int{
		0, 1, bufferSize - 6, bufferSize - 5, bufferSize - 4, bufferSize, maxKeptPacket,
		2 * maxKeptPacket, maxPart - 1, maxPart + 7,
	} {
		var wire bytes.Buffer
		p := newPacketConn(&wire)
		first, payload := bytes.Repeat([]byte{'a'}, 30_001), bytes.Repeat([]byte{'z'}, n)
		for _, b := range [][]byte{first, payload, first} {
			if err := p.command(7, b); err != nil {
				t.Fatal(err)
			}
		}
		q := newPacketConn(&wire)
		for i, want := range [][]byte{first, payload, first} {
			q.sequence = 0
			got, err := q.next()
			if err != nil || len(got) != len(want)+1 || !bytes.Equal(got[1:], want) {
				t.Errorf("packet %d of %d bytes comes back as %d, %v", i, len(want), len(got), err)
			}
		}
		if cap(q.large) > maxKeptPacket {
			t.Errorf("a buffer of %d bytes is kept", cap(q.large))
		}
	}
}

func TestParseVersion(t *testing.T) {
	for s, want := range map[string][3]int{
		"9.7.0": {9, 7, 0}, "8.0.36-28": {8, 0, 36}, "5.7.44-log": {5, 7, 44},
		"10.11.14-MariaDB-0+deb12u2-log": {10, 11, 14}, "5.5.5-10.6.1-MariaDB": {10, 6, 1},
		"8.0.mysql_aurora.3.05.2": {8, 0, 0}, "8": {}, "x.y": {}, "": {},
	} {
		a, b, c, err := parseVersion(s)
		if (err != nil) != (want == [3]int{}) || [3]int{a, b, c} != want {
			t.Errorf("%q is %d.%d.%d, %v", s, a, b, c, err)
		}
	}
}

// The variables of a server become fields. A variable that the server does not have is absent.
func TestParseServer(t *testing.T) {
	variables := map[string]string{
		"version": "12.3.1-MariaDB-log", "server_id": "7", "lower_case_table_names": "0",
		"log_bin": "ON", "binlog_storage_engine": "InnoDB",
	}
	parse := func() Server {
		t.Helper()
		r := &Result{}
		for name, value := range variables {
			r.Rows = append(r.Rows, []Cell{Cell(name), Cell(value)})
		}
		s, err := parseServer(r)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := parse(); s.Flavor != MariaDB || !s.AtLeast(12, 3, 1) || s.ServerID != 7 || !s.LogBin ||
		s.BinlogEngine != "innodb" {
		t.Errorf("server is %+v", s)
	}
	for _, value := range []string{"", "absent"} {
		variables["binlog_storage_engine"] = value
		if value == "absent" {
			delete(variables, "binlog_storage_engine")
		}
		if s := parse(); s.BinlogEngine != "" {
			t.Errorf("with the value %q, the engine is %q", value, s.BinlogEngine)
		}
	}
}
