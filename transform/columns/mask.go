package columns

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// redacted replaces every value of a column with the mask redact.
const redacted = "***"

// maxTruncate is the largest N of truncate:N.
const maxTruncate = 1 << 30

// Mask is what replaces the values of a column (columns.mask). The zero value leaves them as they
// are. NULL stays NULL under every mask.
type Mask struct {
	kind   maskKind
	length int // of truncate, in characters
}

type maskKind uint8

// The kinds of masks, a stronger one after a weaker one.
const (
	noMask maskKind = iota
	truncate
	hash
	redact
)

// ParseMask parses sha256, redact or truncate:N.
func ParseMask(text string) (Mask, error) {
	if digits, ok := strings.CutPrefix(text, "truncate:"); ok {
		n, err := strconv.Atoi(digits)
		if err != nil || n < 0 || n > maxTruncate {
			return Mask{}, fmt.Errorf("%q: want truncate:N with a number of characters "+
				"from 0 to %d", text, maxTruncate)
		}
		return Mask{truncate, n}, nil
	}
	switch text {
	case "sha256":
		return Mask{kind: hash}, nil
	case "redact":
		return Mask{kind: redact}, nil
	}
	return Mask{}, fmt.Errorf("%q: want sha256, redact or truncate:N, as in truncate:3", text)
}

// NeedsSalt reports whether the mask is sha256, which needs a salt.
func (m Mask) NeedsSalt() bool { return m.kind == hash }

// IsStronger reports whether m hides more than o: redact hides more than sha256, sha256 more than
// truncate, and of two truncates the shorter one hides more.
func (m Mask) IsStronger(o Mask) bool {
	return m.kind > o.kind || m.kind == truncate && o.kind == truncate && m.length < o.length
}

// apply replaces dst[from:], a value, by the masked value. If isBytes is set, truncate counts
// bytes.
func (m Mask) apply(dst []byte, from int, s *hmacKey, isBytes bool) []byte {
	switch m.kind {
	case redact:
		return append(dst[:from], redacted...)
	case hash:
		return s.replace(dst, from)
	case truncate:
		return dst[:from+prefixLength(dst[from:], m.length, isBytes)]
	}
	return dst
}

// check returns the reason why no masked value can equal a text; empty if a masked value can.
func (m Mask) check(text string, isBytes bool) string {
	isHex := len(text) == 2*sha256.Size && strings.Trim(text, "0123456789abcdef") == ""
	switch {
	case m.kind == redact && text != redacted:
		return fmt.Sprintf("its mask redact makes every value %q", redacted)
	case m.kind == hash && !isHex:
		return fmt.Sprintf("its mask sha256 makes every value %d hexadecimal digits "+
			"in lower case", 2*sha256.Size)
	case m.kind == truncate && prefixLength([]byte(text), m.length, isBytes) < len(text):
		return fmt.Sprintf("its mask truncate:%d makes no value longer", m.length)
	}
	return ""
}

// prefixLength returns the number of bytes of the first n characters of text, or of all of it. A
// byte that is no UTF-8 counts as a character.
func prefixLength(text []byte, n int, isBytes bool) int {
	if isBytes || len(text) <= n {
		return min(len(text), n)
	}
	end := 0
	for ; n > 0 && end < len(text); n-- {
		_, size := utf8.DecodeRune(text[end:])
		end += size
	}
	return end
}

// Salt is the secret key of the masks sha256. It must not be logged, nor stored with the data.
type Salt string

// String hides the salt in messages.
func (s Salt) String() string { return "(hidden)" }

// GoString hides the salt in messages.
func (s Salt) GoString() string { return "(hidden)" }

// Digest returns a text that differs for different salts, and from which the salt cannot be
// computed. It is no mask of any text that MySQL prints, because it begins with a zero byte.
func (s Salt) Digest() string {
	return string(newHMACKey(s).replace([]byte("\x00rowfall: digest of the salt"), 0))
}

// hmacKey is the key of HMAC-SHA256 (RFC 2104), prepared for its two hashes. The package has its
// own HMAC because that of crypto/hmac allocates memory for each value.
type hmacKey struct{ inner, outer [sha256.BlockSize]byte }

func newHMACKey(s Salt) *hmacKey {
	key := []byte(s)
	if len(key) > sha256.BlockSize {
		sum := sha256.Sum256(key)
		key = sum[:]
	}
	k := new(hmacKey)
	copy(k.inner[:], key)
	copy(k.outer[:], key)
	for i := range k.inner {
		k.inner[i] ^= 0x36
		k.outer[i] ^= 0x5c
	}
	return k
}

// replace replaces dst[from:] by its HMAC in 64 hexadecimal digits.
func (k *hmacKey) replace(dst []byte, from int) []byte {
	end := len(dst)
	dst = append(dst, k.inner[:]...)
	dst = append(dst, dst[from:end]...)
	sum := sha256.Sum256(dst[end:])
	var message [sha256.BlockSize + sha256.Size]byte
	copy(message[copy(message[:], k.outer[:]):], sum[:])
	sum = sha256.Sum256(message[:])
	return hex.AppendEncode(dst[:from], sum[:])
}
