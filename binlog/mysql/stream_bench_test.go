package mysql

import "testing"

// repeated is a connection from which the same bytes come again and again.
type repeated struct {
	content []byte
	at      int
}

func (r *repeated) Read(b []byte) (int, error) {
	n := copy(b, r.content[r.at:])
	r.at = (r.at + n) % len(r.content)
	return n, nil
}

func (r *repeated) Write(b []byte) (int, error) { return len(b), nil }

// rowsOfPeople returns a connection that sends the same row for ever: eight columns, and the key
// once more.
func rowsOfPeople() *packetConn {
	var row, wire []byte
	for _, cell := range []string{
		"123456", "Person 123456", "person123456@example.com", "São Paulo", "BR", "4711.08", "815",
		"2020-01-01 12:34:56", "123456",
	} {
		row = append(append(row, byte(len(cell))), cell...)
	}
	for i := range 256 { // as many as there are sequence numbers
		wire = append(append(wire, byte(len(row)), 0, 0, byte(i)), row...)
	}
	return newPacketConn(&repeated{content: wire})
}

// readRow reads a row and splits it.
func readRow(tb testing.TB, p *packetConn, cells [][]byte) {
	b, err := p.next()
	if err == nil {
		err = splitRow(b, cells)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func BenchmarkReadRow(b *testing.B) {
	p, cells := rowsOfPeople(), make([][]byte, 9)
	b.ReportAllocs()
	for b.Loop() {
		readRow(b, p, cells)
	}
}

func TestReadRowDoesNotAllocate(t *testing.T) {
	p, cells := rowsOfPeople(), make([][]byte, 9)
	if n := testing.AllocsPerRun(1000, func() { readRow(t, p, cells) }); n > 0 {
		t.Errorf("%v allocations for each row", n)
	}
}
