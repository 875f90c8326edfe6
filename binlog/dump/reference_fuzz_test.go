package dump_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"rowfall/binlog"
)

// capturedTable is a table whose rows a real server has written to its binlog.
type capturedTable struct {
	Name        string
	Columns     []binlog.Column
	Types, Meta string
	Rows        []struct{ Image string }

	types, meta []byte
	layout      *binlog.Layout
}

// capturedTables reads the captures of package binlog.
func capturedTables(f *testing.F) (all []*capturedTable) {
	f.Helper()
	for _, file := range []string{"mysql-9.7.json", "mariadb-10.11.json"} {
		b, err := os.ReadFile("../testdata/" + file)
		if err != nil {
			f.Fatal(err)
		}
		var c struct{ Tables []*capturedTable }
		if err := json.Unmarshal(b, &c); err != nil {
			f.Fatal(err)
		}
		all = append(all, c.Tables...)
	}
	for _, t := range all {
		t.types, t.meta = fromHex(f, t.Types), fromHex(f, t.Meta)
		schema := &binlog.Table{
			Database: "shop", Name: t.Name, Columns: t.Columns, Primary: []int{0},
		}
		var err error
		if t.layout, err = binlog.NewImageLayout(schema, t.types, t.meta, false); err != nil {
			f.Fatal(err)
		}
	}
	return all
}

func fromHex(f *testing.F, s string) []byte {
	f.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// rawEvent returns an event without a checksum.
func rawEvent(k replication.EventType, body []byte) []byte {
	b := make([]byte, replication.EventHeaderSize, replication.EventHeaderSize+len(body))
	b[4] = byte(k)
	b = append(b, body...)
	binary.LittleEndian.PutUint32(b[9:], uint32(len(b)))
	return b
}

// reference decodes row images with go-mysql. ok is false if go-mysql rejects them.
func (t *capturedTable) reference(images []byte) (rows [][]any, ok bool) {
	p := replication.NewBinlogParser()
	p.SetTimestampStringLocation(time.UTC)
	p.SetIgnoreJSONDecodeError(true)
	description := make([]byte, 2+50+4)
	description[0] = 4
	copy(description[2:], "8.0.30")
	lengths := bytes.Repeat([]byte{8}, 42)
	lengths[replication.WRITE_ROWS_EVENTv2-1] = 10
	description = append(append(description, replication.EventHeaderSize), lengths...)
	description = append(description, 0, 0, 0, 0, 0) // no checksums
	n := len(t.Columns)
	table := append([]byte{1, 0, 0, 0, 0, 0, 1, 0, 4}, "shop\x00\x01t\x00"...)
	table = append(append(table, byte(n)), t.types...)
	table = append(append(table, 252, byte(len(t.meta)), byte(len(t.meta)>>8)), t.meta...)
	table = append(table, allPresent(n)...)
	body := append([]byte{1, 0, 0, 0, 0, 0, 1, 0, 2, 0, byte(n)}, allPresent(n)...)
	for _, raw := range [][]byte{
		rawEvent(replication.FORMAT_DESCRIPTION_EVENT, description),
		rawEvent(replication.TABLE_MAP_EVENT, table),
		rawEvent(replication.WRITE_ROWS_EVENTv2, append(body, images...)),
	} {
		ev, err := p.Parse(raw)
		if err != nil {
			return nil, false
		}
		if r, isRows := ev.Event.(*replication.RowsEvent); isRows {
			rows = r.Rows
		}
	}
	return rows, true
}

// allPresent is a bitmap with a bit for each of n columns.
func allPresent(n int) []byte { return bytes.Repeat([]byte{0xff}, (n+7)/8) }

// FuzzReference decodes arbitrary bytes as row images of the captured tables, with our decoder and
// with go-mysql's. Values that both accept must be equal.
func FuzzReference(f *testing.F) {
	tables := capturedTables(f)
	for i, t := range tables {
		for _, r := range t.Rows {
			f.Add(uint8(i), fromHex(f, r.Image))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, images []byte) {
		table := tables[int(which)%len(tables)]
		var rows binlog.Rows
		rows.Reset(table.layout, binlog.Insert, nil, allPresent(len(table.Columns)),
			slices.Clone(images))
		theirs, ok := table.reference(images)
		if !ok {
			return
		}
		for n := 0; rows.Next(); n++ {
			if n >= len(theirs) {
				t.Fatalf("go-mysql has %d rows, and we have more", len(theirs))
			}
			row := rows.Change().After
			for i := range table.Columns {
				ours := "NULL"
				if !row.IsNull(i) {
					text, err := row.AppendText([]byte("="), i)
					if err != nil {
						continue
					}
					ours = string(text)
				}
				c := &table.Columns[i]
				if !sameAsReference(c, ours, theirs[n][i]) {
					t.Errorf("row %d, %s %s: we have %.200q, go-mysql %T %[5]v", n, c.Name,
						c.SQLType, ours, theirs[n][i])
				}
			}
		}
	})
}
