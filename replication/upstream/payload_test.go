package upstream

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

var mark = []byte(strings.Repeat("0123456789", 4))

func TestMarkedPayload(t *testing.T) {
	for _, size := range []int{0, 1, 39, 40, 41, 1000, 64 << 10, 64<<10 + 1, 200_001} {
		body := bytes.Repeat([]byte("0123456789abc"), size/13+1)[:size]
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole":  func(r io.Reader) io.Reader { return r },
			"halves": iotest.HalfReader, "bytes": iotest.OneByteReader,
		} {
			p := newMarked(wrap(io.MultiReader(bytes.NewReader(body), bytes.NewReader(mark))), mark)
			got, err := io.ReadAll(p)
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("%s, %d bytes: got %d, %v", name, size, len(got), err)
			}
			if p.WireErr() != nil {
				t.Errorf("%s, %d bytes: the error is the connection's: %v", name, size, p.WireErr())
			}
		}
	}
}

// A broken connection is distinguished from a corrupt snapshot.
func TestCutPayload(t *testing.T) {
	p := newMarked(strings.NewReader("some bytes"+string(mark[:39])), mark)
	if _, err := io.ReadAll(p); !errors.Is(err, io.ErrUnexpectedEOF) || p.WireErr() == nil {
		t.Errorf("got %v, connection's %v", err, p.WireErr())
	}
	s := newSized(strings.NewReader("some bytes"), 11)
	if n, _ := io.Copy(io.Discard, s); n != 10 || s.WireErr() == nil {
		t.Errorf("got %d bytes, connection's %v", n, s.WireErr())
	}
	s = newSized(strings.NewReader("some bytes and the stream"), 10)
	if n, err := io.Copy(io.Discard, s); n != 10 || err != nil || s.WireErr() != nil {
		t.Errorf("got %d bytes, %v, connection's %v", n, err, s.WireErr())
	}
}

func TestPayloadEnd(t *testing.T) {
	s := newSized(strings.NewReader("some bytes"), 10)
	if _, err := io.ReadFull(s, make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if err := s.End(); err == nil || !strings.Contains(err.Error(), "2 bytes") {
		t.Errorf("bytes after the snapshot: %v", err)
	}
	s = newSized(strings.NewReader("some bytes"), 10)
	if _, err := io.ReadFull(s, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := s.End(); err != nil {
		t.Error(err)
	}
}
