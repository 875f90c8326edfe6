package columns

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// The mask sha256 is HMAC-SHA256 as the standard library computes it, for salts of any length.
func TestHMAC(t *testing.T) {
	for _, salt := range []string{"x", strings.Repeat("s", 64), strings.Repeat("s", 65)} {
		for _, text := range []string{"", "a@b", strings.Repeat("long ", 100)} {
			want := hmac.New(sha256.New, []byte(salt))
			want.Write([]byte(text))
			got := newHMACKey(Salt(salt)).replace([]byte("before"+text), len("before"))
			if string(got) != "before"+hex.EncodeToString(want.Sum(nil)) {
				t.Errorf("salt of %d bytes, %q: %s", len(salt), text, got)
			}
		}
	}
}

// A mask does not allocate, if the buffer has room.
func TestMaskAllocates(t *testing.T) {
	buffer, key := make([]byte, 0, 256), newHMACKey("salt")
	for _, m := range []Mask{{kind: redact}, {kind: hash}, {truncate, 2}} {
		n := testing.AllocsPerRun(10, func() {
			m.apply(append(buffer, "value"...), 0, key, false)
		})
		if n > 0 {
			t.Errorf("mask %+v: %v allocations", m, n)
		}
	}
}

// Neither a salt nor its digest shows the salt.
func TestSaltIsHidden(t *testing.T) {
	s := Salt("pepper")
	shown := fmt.Sprintf("%v %s %q %+v %#v %v %s", s, s, s, struct{ S Salt }{s}, s,
		fmt.Errorf("with %v", s), s.Digest())
	if strings.Contains(shown, "pepper") {
		t.Error(shown)
	}
	if s.Digest() == Salt("salt").Digest() || s.Digest() != Salt("pepper").Digest() {
		t.Error("the digest does not stand for the salt")
	}
}

// A stronger mask hides more than a weaker one.
func TestIsStronger(t *testing.T) {
	order := []string{"truncate:5", "truncate:0", "sha256", "redact"}
	for i, a := range order {
		for j, b := range order {
			x, err := ParseMask(a)
			y, err2 := ParseMask(b)
			if err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			if x.IsStronger(y) != (i > j) {
				t.Errorf("%s is stronger than %s: %v", a, b, i <= j)
			}
		}
	}
	for _, text := range []string{"", "sha", "truncate", "truncate:", "truncate:-1", "truncate:x"} {
		if _, err := ParseMask(text); err == nil {
			t.Errorf("%q is a mask", text)
		}
	}
}
