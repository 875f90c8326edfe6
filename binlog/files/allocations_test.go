package files

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"testing"

	"rowfall/binlog"
)

// repeated returns the captured file of a kind with n copies of its last transaction at the end.
func repeated(t *testing.T, kind string, n int) logFile {
	t.Helper()
	_, contents := testdata(t, kind)
	content := contents[1]
	// The last transaction is followed by a STOP_EVENT.
	var starts []int
	for at := firstEvent; at < len(content); at += eventSize(content[at:]) {
		if k := content[at+4]; k == typeGTID || k == typeMariaGTID || k == typeStop {
			starts = append(starts, at)
		}
	}
	starts = starts[len(starts)-2:]
	begin, one := content[:starts[0]], content[starts[0]:starts[1]]
	b := slices.Clone(begin)
	for i := range n {
		for at := 0; at < len(one); {
			size := eventSize(one[at:])
			ev := slices.Clone(one[at : at+size])
			sequence := 0
			switch ev[4] {
			case typeGTID:
				sequence = headerSize + 1 + 16
			case typeMariaGTID:
				sequence = headerSize
			}
			if sequence > 0 {
				v := binary.LittleEndian.Uint64(ev[sequence:])
				binary.LittleEndian.PutUint64(ev[sequence:], v+uint64(i))
			}
			binary.LittleEndian.PutUint32(ev[13:], uint32(len(b)+size))
			sum := len(ev) - checksumSize
			binary.LittleEndian.PutUint32(ev[sum:], crc32.ChecksumIEEE(ev[:sum]))
			b = append(b, ev...)
			at += size
		}
	}
	return memoryFile("binlog.000003", b)
}

// The types of the events with a GTID.
const (
	typeGTID      = 33
	typeMariaGTID = 162
)

func eventSize(b []byte) int { return int(binary.LittleEndian.Uint32(b[9:])) }

// Reading a file up to the text of each value costs at most one allocation per transaction.
func TestAllocations(t *testing.T) {
	for _, kind := range kinds {
		allocations := func(n int) float64 {
			l, err := newLog([]logFile{repeated(t, kind, n)})
			if err != nil {
				t.Fatal(err)
			}
			s, err := l.Find(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			tables := newOneTable()
			return testing.AllocsPerRun(2, func() {
				if rows := readText(t, l, &s, tables); rows < n {
					t.Fatalf("%d rows in %d transactions", rows, n)
				}
			})
		}
		const n = 1000
		each := (allocations(2*n) - allocations(n)) / n
		if each > 1 {
			t.Errorf("%s: %v allocations per transaction", kind, each)
		}
		t.Logf("%s: %v allocations per transaction", kind, each)
	}
}

// readText reads a stretch and renders each value as text. It returns the number of rows.
func readText(t *testing.T, l *Log, s *Stretch, tables oneTable) (rows int) {
	t.Helper()
	stream, err := l.Stream(s, Config{Tables: tables})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	var text []byte
	for {
		ev, err := stream.Next(t.Context())
		if errors.Is(err, ErrEnd) {
			return rows
		}
		if err != nil {
			t.Fatal(err)
		}
		if ev.Kind != binlog.Changes {
			continue
		}
		for ev.Rows.Next() {
			rows++
			c := ev.Rows.Change()
			for _, row := range [...]*binlog.Row{c.Before, c.After} {
				if row == nil {
					continue
				}
				text, _ = row.AppendText(text[:0], 0)
				text, _ = row.AppendText(text, 1)
			}
		}
		if err := ev.Rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
}
