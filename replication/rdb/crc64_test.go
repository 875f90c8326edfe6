package rdb

import "testing"

func TestCRC(t *testing.T) {
	if got := updateCRC(0, []byte("123456789")); got != 0xe9c6d914c4b8d9ca {
		t.Errorf("got %x", got)
	}
	text := []byte("This is a test of the emergency broadcast system.")
	for cut := range text {
		if updateCRC(updateCRC(0, text[:cut]), text[cut:]) != updateCRC(0, text) {
			t.Errorf("cut at %d", cut)
		}
	}
}

func BenchmarkCRC(b *testing.B) {
	p := make([]byte, 64<<10)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		updateCRC(0, p)
	}
}
