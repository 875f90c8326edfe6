package pipelines

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"rowfall/binlog"
)

// errEndOfScript is returned by a scriptedSource after its last event.
var errEndOfScript = errors.New("end of the script")

// scriptedSource is a source without a server: it sends the events of a script, and its tables
// never change. Its position is the number of events sent.
type scriptedSource struct {
	tables   []*binlog.Table
	script   []*binlog.Event
	position binlog.Position
}

var (
	_ eventStream  = (*scriptedSource)(nil)
	_ schemaReader = (*scriptedSource)(nil)
)

func (s *scriptedSource) Next(context.Context) (*binlog.Event, error) {
	if int(s.position.Offset) == len(s.script) {
		return nil, errEndOfScript
	}
	s.position.Offset++
	return s.script[s.position.Offset-1], nil
}

func (s *scriptedSource) Position() *binlog.Position   { return &s.position }
func (s *scriptedSource) Buffered() bool               { return false }
func (s *scriptedSource) Wake()                        {}
func (s *scriptedSource) Forget()                      {}
func (s *scriptedSource) Last() binlog.Evidence        { return binlog.Evidence{} }
func (s *scriptedSource) Transaction() binlog.Evidence { return binlog.Evidence{} }
func (s *scriptedSource) PositionEvidence(binlog.Position) binlog.Evidence {
	return binlog.Evidence{}
}
func (s *scriptedSource) Unproved() string { return "" }

func (s *scriptedSource) Schemas(context.Context) (map[string]*binlog.Table, error) {
	byName := make(map[string]*binlog.Table)
	for _, t := range s.tables {
		byName[t.FullName()] = t
	}
	return byName, nil
}

func (s *scriptedSource) AllTables(context.Context) ([]*binlog.Table, error) {
	return s.tables, nil
}
func (s *scriptedSource) AwaitDDL(context.Context, tableName) error { return nil }
func (s *scriptedSource) CheckGrants(context.Context) error         { return nil }

func (s *scriptedSource) EndOfLog(context.Context) (binlog.Position, error) {
	return s.position, nil
}
func (s *scriptedSource) StoredName(t tableName) tableName { return t }

func (s *scriptedSource) UnloggedCascades(
	context.Context, []*binlog.Table,
) ([]unloggedCascade, error) {
	return nil, nil
}

// intTable returns a table shop.t with the columns id, its key, and v.
func intTable() *binlog.Table {
	return &binlog.Table{Database: "shop", Name: "t", Primary: []int{0}, Columns: []binlog.Column{
		{Name: "id", SQLType: "int", Type: binlog.TypeInt},
		{Name: "v", SQLType: "int", Type: binlog.TypeInt},
	}}
}

// rowsEvent returns the event of row changes of intTable. Images are pairs of id and v; an update
// has two images for each row.
func rowsEvent(t *testing.T, table *binlog.Table, op binlog.Op, images ...[2]uint32) *binlog.Event {
	t.Helper()
	const typeLong = 3 // MYSQL_TYPE_LONG
	layout, err := binlog.NewImageLayout(table, []byte{typeLong, typeLong}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for _, image := range images {
		b = append(b, 0) // no column is NULL
		b = binary.LittleEndian.AppendUint32(b, image[0])
		b = binary.LittleEndian.AppendUint32(b, image[1])
	}
	ev := &binlog.Event{Kind: binlog.Changes}
	both := []byte{0b11}
	ev.Rows.Reset(layout, op, both, both, b)
	return ev
}
