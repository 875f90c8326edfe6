package events

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// The buffers for a huge compressed transaction are released after it.
func TestPayloadForgetsHugeBuffers(t *testing.T) {
	event := make([]byte, 3*keptBuffer)
	binary.LittleEndian.PutUint32(event[9:], uint32(len(event)))
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	compressed := encoder.EncodeAll(event, nil)
	body := append([]byte{2, 1, payloadZstd, 0}, compressed...)
	var p payload
	for range 2 {
		if err := p.open(body); err != nil {
			t.Fatal(err)
		}
		got, err := p.next()
		if err != nil || !bytes.Equal(got, event) {
			t.Fatalf("%d bytes come out of the transaction, want %d; %v", len(got), len(event), err)
		}
		if most := len(event) + len(event)/4; cap(p.buf) > most {
			t.Errorf("an event of %d bytes takes a buffer of %d", len(event), cap(p.buf))
		}
		if got, err := p.next(); got != nil || err != nil {
			t.Fatalf("%d bytes follow, %v", len(got), err)
		}
		if p.buf != nil || p.zstd != nil {
			t.Errorf("a buffer of %d bytes is kept, and the decoder: %v", cap(p.buf), p.zstd != nil)
		}
	}
}

// The rows of a MariaDB's compressed event are released with the next event.
func TestInflaterForgetsHugeBuffers(t *testing.T) {
	text := make([]byte, 2*keptBuffer)
	var out bytes.Buffer
	out.Write(append([]byte{4}, binary.BigEndian.AppendUint32(nil, uint32(len(text)))...))
	w := zlib.NewWriter(&out)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	p := NewParser(Options{})
	if got, err := p.inflater.inflate(out.Bytes()); err != nil || len(got) != len(text) {
		t.Fatalf("%d bytes, want %d; %v", len(got), len(text), err)
	}
	_, _ = p.Next(make([]byte, HeaderSize)) // any event
	if n := cap(p.inflater.out); n > keptBuffer {
		t.Errorf("%d bytes are kept", n)
	}
}
