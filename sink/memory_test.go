package sink

import (
	"bytes"
	"testing"
)

// EncodeInPlace returns the same bytes as Encode.
func TestEncodeInPlace(t *testing.T) {
	for _, room := range []int{0, 10, 1000} {
		one, other := NewEncoder("shop"), NewEncoder("shop")
		for i := range 4 {
			commands := bytes.Repeat([]byte("*1\r\n$4\r\nPING\r\n"), 10*i)
			u := Unit{
				Progress: Progress{
					Position: Position{{Name: "offset", Value: []byte{byte('0' + i)}}},
					Phase:    Streaming,
					Partial:  i % 2,
				},
			}
			u.SetState("shop", "mapping", []byte("m"))
			u.Commands.Bytes = append(make([]byte, 0, len(commands)+room), commands...)
			want := one.Encode(nil, &u)
			if got := other.EncodeInPlace(&u); !bytes.Equal(got, want) {
				t.Errorf("room %d, unit %d: in place it is\n%q, want\n%q", room, i, got, want)
			}
			if u.Commands.Bytes != nil {
				t.Error("the unit still has the commands, which are others now")
			}
		}
	}
}

// After a Reset, a unit that was huge keeps no more memory than other units.
func TestUnitForgetsHugeBuffers(t *testing.T) {
	var u Unit
	u.SetState("shop", "table:a", make([]byte, 2*maxKeptState))
	u.Commands.Bytes = make([]byte, 20<<20)
	u.Reset()
	if n := cap(u.state) + cap(u.Commands.Bytes); n > maxKeptState+8<<20 {
		t.Errorf("an empty unit keeps %d bytes", n)
	}
}
