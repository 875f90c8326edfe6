package pipelines

import (
	"testing"

	"rowfall/binlog"
	"rowfall/sink"
)

func storedPosition(gtid, file, offset string) sink.Position {
	return sink.Position{
		{Name: "file", Value: []byte(file)},
		{Name: "gtid", Value: []byte(gtid)},
		{Name: "offset", Value: []byte(offset)},
	}
}

func TestParsePositionRejects(t *testing.T) {
	const set = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"
	if _, err := ParsePosition(storedPosition(set, "b.1", "4")); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []sink.Position{
		storedPosition("x", "b.1", "4"), storedPosition(set, "b.1", "-1"),
		storedPosition(set, "b.1", ""), nil,
	} {
		if p, err := ParsePosition(bad); err == nil {
			t.Errorf("%s was parsed as %s", bad, p)
		}
	}
}

// A position that was parsed is stored with the same values.
func FuzzParsePosition(f *testing.F) {
	f.Add("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5", "binlog.000001", "250")
	f.Add("0-1-5", "", "0")
	f.Fuzz(func(t *testing.T, gtid, file, offset string) {
		p, err := ParsePosition(storedPosition(gtid, file, offset))
		if err != nil {
			return
		}
		again, err := ParsePosition(formatPosition(nil, &p, nil))
		if err != nil || !again.GTID.Equal(p.GTID) || again.CompareFile(p) != 0 {
			t.Errorf("%s reads back as %s, %v", p, again, err)
		}
	})
}

// One iteration is what a unit costs besides its rows: the position as text, and the unit as RESP.
func BenchmarkEncodePosition(b *testing.B) {
	set, err := binlog.ParseGTIDSet("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-1000")
	if err != nil {
		b.Fatal(err)
	}
	p := progress{
		Position: binlog.Position{GTID: set, File: "binlog.000001"},
		Phase:    sink.Streaming, Time: 1_700_000_000_000_000,
	}
	e := sink.NewEncoder("shop")
	var (
		u      sink.Unit
		buffer []byte
	)
	b.ReportAllocs()
	for b.Loop() {
		p.Position.Offset++
		p.Time++
		p.store(&u.Progress, nil)
		buffer = e.Encode(buffer[:0], &u)
	}
}
