package binlog_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"rowfall/binlog"
)

func gtid(t *testing.T, s string) binlog.GTID {
	t.Helper()
	g, err := binlog.ParseGTID(s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func evidence(t *testing.T) binlog.Evidence {
	return binlog.Evidence{
		GTID: gtid(t, uuidA+":5"), Time: 1_700_000_000_123_456, Length: 300, Server: uuidA,
		File: "binlog.000003", Start: 1000, End: 1300, FileTime: 1_700_000_000,
	}
}

// Which field differs, and whether anything was proved, by server and by what the servers send.
func TestEvidenceCompare(t *testing.T) {
	type change func(held, found *binlog.Evidence)
	other := func(_, found *binlog.Evidence) {
		found.Server, found.File, found.FileTime = uuidB, "mysql-bin.000001", 1_600_000_000
		found.Start, found.End, found.Length = 4, 8, 4
	}
	for _, c := range []struct {
		name    string
		changes []change
		differs string
		proved  bool
	}{
		{"same", nil, "", true},
		{"GTID", []change{func(_, f *binlog.Evidence) { f.GTID.Sequence++ }}, "GTID", false},
		{
			"no GTID",
			[]change{func(_, f *binlog.Evidence) { f.GTID = binlog.GTID{} }},
			"GTID",
			false,
		},
		{"neither has one", []change{func(h, f *binlog.Evidence) {
			h.GTID, f.GTID = binlog.GTID{},
				binlog.GTID{}
		}}, "", true},
		{"time", []change{func(_, f *binlog.Evidence) { f.Time++ }}, "commit time", false},
		{"length", []change{func(_, f *binlog.Evidence) { f.Length++ }}, "length", false},
		{"file", []change{func(_, f *binlog.Evidence) { f.File = "binlog.000004" }}, "file", false},
		{"start", []change{func(_, f *binlog.Evidence) { f.Start++ }}, "start offset", false},
		{"end", []change{func(_, f *binlog.Evidence) { f.End++ }}, "end offset", false},
		{
			"file time",
			[]change{func(_, f *binlog.Evidence) { f.FileTime++ }},
			"time at which the file was begun", false,
		},
		{"unknown time", []change{func(h, _ *binlog.Evidence) { h.Time = 0 }}, "", true},
		{
			"unknown times",
			[]change{func(h, f *binlog.Evidence) { h.Time, f.FileTime = 0, 0 }},
			"",
			false,
		},
		{
			"unknown length and end",
			[]change{func(h, f *binlog.Evidence) { h.Length, f.End = 0, 0 }},
			"", true,
		},
		{"another server", []change{other}, "", true},
		{
			"another server, time",
			[]change{other, func(_, f *binlog.Evidence) { f.Time-- }},
			"commit time", false,
		},
		{
			"another server, unknown time",
			[]change{other, func(_, f *binlog.Evidence) { f.Time = 0 }},
			"", false,
		},
		{
			"another server, GTID",
			[]change{other, func(_, f *binlog.Evidence) { f.GTID.Tag = "x" }},
			"GTID", false,
		},
		{"unknown servers", []change{func(h, f *binlog.Evidence) {
			h.Server, f.Server, f.File = "",
				"", "x"
		}}, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			held, found := evidence(t), evidence(t)
			for _, change := range c.changes {
				change(&held, &found)
			}
			if differs, proved := held.Compare(&found); differs != c.differs || proved != c.proved {
				t.Errorf("differs %q, proved %v; want %q, %v", differs, proved, c.differs, c.proved)
			}
		})
	}
}

// The text form reads back, with the position that it was stored with, and costs no allocation.
func TestEvidenceText(t *testing.T) {
	maria := binlog.Evidence{
		GTID: gtid(t, "0-1-7"), Previous: gtid(t, "0-2-6"), Time: 5_000_000, Server: "mariadb-1-ab",
		File: "a % b\u00a0\n.000001", Start: 4, End: 1 << 40, FileTime: 1<<32 - 1,
	}
	tagged := evidence(t)
	tagged.GTID = gtid(t, uuidA+":tag:9")
	own := evidence(t)
	elsewhere := binlog.Position{File: "binlog.000009", Offset: 4}
	for _, at := range []binlog.Position{{File: own.File, Offset: own.End}, elsewhere, {}} {
		for _, e := range []binlog.Evidence{{}, own, maria, tagged} {
			text := e.AppendText([]byte("x"), own.Server, &at)
			again, err := binlog.ParseEvidence(text[1:], own.Server, &at)
			if err != nil || again != e {
				t.Errorf("%s reads back as %+v, %v; want %+v", text, again, err, e)
			}
		}
	}
	at := binlog.Position{File: own.File, Offset: own.End}
	buffer := own.AppendText(nil, own.Server, &at)
	if !bytes.Contains(buffer, []byte(" here ")) || bytes.Contains(buffer, []byte(own.File)) {
		t.Errorf("%s repeats the position", buffer)
	}
	allocs := testing.AllocsPerRun(100, func() {
		buffer = own.AppendText(buffer[:0], own.Server, &at)
	})
	if allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// A changed byte is found, and the JSON form of older versions is read.
func TestParseEvidence(t *testing.T) {
	none := &binlog.Position{}
	if e, err := binlog.ParseEvidence(nil, "", none); err != nil || !e.IsZero() {
		t.Errorf("nothing reads as %v, %v", e, err)
	}
	e := evidence(t)
	text := e.AppendText(nil, "", none)
	for i := range text {
		changed := bytes.Clone(text)
		changed[i] ^= 1
		if found, err := binlog.ParseEvidence(changed, "", none); err == nil {
			t.Errorf("%s reads as %v", changed, found)
		}
	}
	old := `{"gtid":"0-1-7","previous":"0-2-6","time":5000000,"length":3,"server":"mariadb-1-ab",` +
		`"file":"a\"b\\c\u00e9.000001","start":4,"end":1099511627776,"file_time":4294967295}`
	want := binlog.Evidence{
		GTID: gtid(t, "0-1-7"), Previous: gtid(t, "0-2-6"), Time: 5_000_000, Length: 3,
		Server: "mariadb-1-ab", File: "a\"b\\c\u00e9.000001",
		Start: 4, End: 1 << 40, FileTime: 1<<32 - 1,
	}
	if found, err := binlog.ParseEvidence([]byte(old), "", none); err != nil || found != want {
		t.Errorf("%s reads as %+v, %v", old, found, err)
	}
	for _, bad := range []string{
		"{", `{"gtid":"x"}`, `{"previous":"0-1"}`, `{"start":-1}`,
		`{"gtid":"` + uuidA + `:1-2"}`, `{"gtid":"0-1-1,1-1-1"}`, `{"gtid":"0-1-0"}`,
	} {
		if e, err := binlog.ParseEvidence([]byte(bad), "", none); err == nil {
			t.Errorf("%s reads as %v", bad, e)
		}
	}
	for _, bad := range []string{
		"gtid=x ", "time=x ", "length=-1 ", "file_time=4294967296 ", "file=%4 ", "file=%zz ",
		"new=1 ",
	} {
		sum := crc32.Checksum([]byte(bad), crc32.MakeTable(crc32.Castagnoli))
		text := fmt.Sprintf("%ssum=%x", bad, sum)
		if e, err := binlog.ParseEvidence([]byte(text), "", none); err == nil {
			t.Errorf("%s reads as %v", text, e)
		}
	}
}

func FuzzParseEvidence(f *testing.F) {
	f.Add(
		[]byte(`{"gtid":"` + uuidA + `:5","time":1700000000123456,"server":"s","file":"b.1",` +
			`"start":4,"end":9,"file_time":7}`),
	)
	f.Add([]byte("time=5 file=b.1 start=4 end=9 file_time=7 sum=0"))
	f.Fuzz(func(t *testing.T, text []byte) {
		at := &binlog.Position{File: "b.1", Offset: 9}
		if text = bytes.TrimSuffix(text, []byte("sum=0")); len(text) > 0 && text[0] != '{' {
			sum := crc32.Checksum(text, crc32.MakeTable(crc32.Castagnoli))
			text = fmt.Appendf(text, "sum=%x", sum)
		}
		e, err := binlog.ParseEvidence(text, "s", at)
		if err != nil {
			return
		}
		again, err := binlog.ParseEvidence(e.AppendText(nil, "s", at), "s", at)
		if err != nil || again != e {
			t.Errorf("%+v reads back as %+v, %v", e, again, err)
		}
	})
}

// The text of a difference describes both sides.
func TestHistoryError(t *testing.T) {
	held, found := evidence(t), evidence(t)
	found.Time++
	err := &binlog.HistoryError{Held: held, Found: found, Reason: "the commit time differs"}
	for _, want := range []string{
		"compare histories: the commit time differs",
		"the data hold transaction " + uuidA + ":5 at binlog.000003:1000-1300",
		"committed 2023-11-14T22:13:20.123456Z", "the server sent", "22:13:20.123457Z",
		"--from snapshot",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

// The set before a transaction is what the transaction is requested again with.
func TestGTIDSetBefore(t *testing.T) {
	for _, c := range []struct{ set, last, previous, want string }{
		{uuidA + ":1-5", uuidA + ":5", "", uuidA + ":1-4"},
		{uuidA + ":1-5", uuidA + ":3", "", uuidA + ":1-2:4-5"},
		{uuidA + ":5," + uuidB + ":1", uuidA + ":5", "", uuidB + ":1"},
		{uuidA + ":1", uuidA + ":1", "", ""},
		{uuidA + ":1-5:tag:1-2", uuidA + ":tag:2", "", uuidA + ":1-5:tag:1"},
		{uuidA + ":1-5", uuidA + ":6", "", "no"},
		{uuidA + ":1-5", uuidB + ":1", "", "no"},
		{uuidA + ":1-5", "", "", "no"},
		{"0-1-5,2-3-7", "0-1-5", "0-9-4", "0-9-4,2-3-7"},
		{"0-1-5,2-3-7", "2-3-7", "", "0-1-5"},
		{"0-1-5", "0-1-5", "", ""},
		{"0-1-5", "0-1-4", "0-1-3", "no"},
		{"0-1-5", "0-2-5", "0-1-4", "no"},
		{"0-1-5", "1-1-1", "", "no"},
	} {
		before := set(t, c.set)
		got, ok := before.Before(
			&binlog.Evidence{GTID: gtid(t, c.last), Previous: gtid(t, c.previous)},
		)
		if text := got.String(); ok != (c.want != "no") || ok && text != c.want {
			t.Errorf("%s before %s is %q, %v; want %q", c.set, c.last, text, ok, c.want)
		}
		if before.String() != c.set {
			t.Errorf("%s became %s", c.set, before)
		}
	}
}

func TestGTIDSetSubtract(t *testing.T) {
	for _, c := range []struct{ from, remove, want string }{
		{uuidA + ":1-10", uuidA + ":3-4:7", uuidA + ":1-2:5-6:8-10"},
		{uuidA + ":1-10", uuidA + ":1-10", ""},
		{uuidA + ":1-10", uuidA + ":5-20", uuidA + ":1-4"},
		{uuidA + ":5-6:8-9", uuidA + ":1-20", ""},
		{uuidA + ":5-6:8-9:12", uuidA + ":6-8", uuidA + ":5:9:12"},
		{
			uuidA + ":1-3:tag:1-3," + uuidB + ":1", uuidA + ":1-3:tag:2",
			uuidA + ":tag:1:3," + uuidB + ":1",
		},
		{uuidA + ":1-3", "", uuidA + ":1-3"},
		{"0-1-5,1-1-5,2-1-5", "0-1-5,1-1-4", "1-1-5,2-1-5"},
	} {
		from, remove := set(t, c.from), set(t, c.remove)
		got := from.Subtract(&remove)
		if got.String() != c.want {
			t.Errorf("%s without %s is %q, want %q", c.from, c.remove, got, c.want)
		}
	}
	all := set(t, uuidA+":1-3:tag:1,"+uuidB+":1")
	if own := all.Of(uuidA); own.String() != uuidA+":1-3:tag:1" {
		t.Errorf("of %s are %s", uuidA, own)
	}
	maria := set(t, "0-1-5,1-2-5,2-1-5")
	if own := maria.OfServerID(1); own.String() != "0-1-5,2-1-5" {
		t.Errorf("of server 1 are %s", own)
	}
	var u [16]byte
	copy(u[:], "\x3e\x11\xfa\x47\x71\xca\x11\xe1\x9e\x33\xc8\x0a\xa9\x42\x95\x62")
	holes := set(t, uuidA+":2-3:7-8")
	for sequence, want := range []bool{
		false, false, true, true, false, false, false, true, true,
		false,
	} {
		if holes.Has(u, "", uint64(sequence)) != want {
			t.Errorf("%s has %d: %v", holes, sequence, !want)
		}
	}
	if holes.Has(u, "tag", 2) || holes.Has([16]byte{}, "", 2) {
		t.Error("it has what it has not")
	}
}
