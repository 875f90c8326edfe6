package dump

import (
	"bytes"
	"testing"
	"time"
)

// SetSilence makes a stream give its server up earlier.
func (s *Stream) SetSilence(d time.Duration) { s.silence, s.due = d, time.Time{} }

// Packets are found however they arrive.
func TestPackets(t *testing.T) {
	sizes := []int{0, 1, 5, 1 << 20, 3, fullPart - 1, fullPart, fullPart + 1, 2*fullPart + 7, 9, 20}
	var wire []byte
	for i, n := range sizes {
		rest := bytes.Repeat([]byte{byte(i)}, n)
		for {
			part := rest[:min(len(rest), fullPart)]
			wire = append(wire, byte(len(part)), byte(len(part)>>8), byte(len(part)>>16), 0)
			wire = append(wire, part...)
			if rest = rest[len(part):]; len(part) < fullPart {
				break
			}
		}
	}
	for _, step := range []int{100_003, 1 << 30} {
		var p packets
		r := &stepReader{bytes.NewReader(wire), step}
		for i, n := range sizes {
			var got []byte
			for ok := false; !ok; {
				complete := p.complete()
				if got, ok = p.next(); ok != complete {
					t.Fatal("complete is wrong")
				}
				if !ok {
					if err := p.fill(r); err != nil {
						t.Fatal(err)
					}
				}
			}
			if len(got) != n || bytes.Count(got, []byte{byte(i)}) != n {
				t.Fatalf("packet %d has %d bytes, want %d", i, len(got), n)
			}
		}
	}
}

type stepReader struct {
	*bytes.Reader
	step int
}

func (r *stepReader) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), r.step)]) }
