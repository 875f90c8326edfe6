package decimal_test

import (
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"rowfall/transform/decimal"
)

func parse(t *testing.T, s string) decimal.Number {
	t.Helper()
	d, err := decimal.Parse([]byte(s))
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return d
}

func TestText(t *testing.T) {
	for _, c := range [][2]string{
		{"0", "0"},
		{"-0.50", "-0.50"},
		{".5", "0.5"},
		{"5.", "5"},
		{"+1", "1"},
		{"00012.30", "12.30"},
		{"-0", "0"},
		{"0.000001", "0.000001"},
		{"-9223372036854775808", "-9223372036854775808"},
		{"99999999999999999999999999.99", "99999999999999999999999999.99"},
	} {
		if got := parse(t, c[0]).String(); got != c[1] {
			t.Errorf("%s: got %s", c[0], got)
		}
	}
	for _, s := range []string{
		"", "-", ".", "1e5", "1.2.3", "x", "--1", strings.Repeat("9", 129), " 1",
	} {
		if d, err := decimal.Parse([]byte(s)); err == nil {
			t.Errorf("%q: got %s", s, d)
		}
	}
}

// TestArithmetic compares results with those of math/big, for operands of up to and beyond 64
// bits.
func TestArithmetic(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() string {
		s := ""
		if rng.IntN(2) == 0 {
			s = "-"
		}
		for range 1 + rng.IntN(21) {
			s += string(rune('0' + rng.IntN(10)))
		}
		if n := rng.IntN(4); n > 0 {
			s += "." + "123"[:n]
		}
		return s
	}
	rat := func(s string) *big.Rat { r, _ := new(big.Rat).SetString(s); return r }
	for range 20000 {
		a, b := random(), random()
		x, y := parse(t, a), parse(t, b)
		for _, c := range []struct {
			name string
			got  decimal.Number
			want *big.Rat
		}{
			{"+", x.Add(y), new(big.Rat).Add(rat(a), rat(b))},
			{"-", x.Sub(y), new(big.Rat).Sub(rat(a), rat(b))},
			{"*", x.Mul(y), new(big.Rat).Mul(rat(a), rat(b))},
		} {
			if rat(c.got.String()).Cmp(c.want) != 0 {
				t.Fatalf("%s %s %s: got %s, want %s", a, c.name, b, c.got, c.want.FloatString(6))
			}
		}
		if got, want := x.Compare(y), rat(a).Cmp(rat(b)); got != want {
			t.Fatalf("%s and %s compare as %d", a, b, got)
		}
	}
}

// TestRound compares the rounding of small numbers with that of math/big, which rounds numbers that
// do not fit 64 bits.
func TestRound(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	numbers := []int64{0, 4, 5, -4, -5, 50, 49, -50, 1<<63 - 1, -1 << 63, -1<<63 + 1}
	for range 20000 {
		numbers = append(numbers, int64(rng.Uint64())>>rng.IntN(60))
	}
	for _, digits := range numbers {
		scale := rng.IntN(19)
		x := decimal.New(digits, scale)
		// The same number with more digits is rounded by math/big.
		large := x.Add(parse(t, "0."+strings.Repeat("0", 40)))
		for _, r := range []decimal.Rounding{
			decimal.Truncate, decimal.Floor, decimal.Ceil, decimal.HalfAway,
		} {
			got, want := x.Round(r), large.Round(r)
			if got.String() != want.String() {
				t.Fatalf("%s in mode %d: got %s, want %s", x, r, got, want)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("-12.50"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decimal.Parse(b)
		if err != nil {
			return
		}
		if again := parse(t, d.String()); again.Compare(d) != 0 || again.String() != d.String() {
			t.Errorf("%q is parsed as %s, whose text is parsed as %s", b, d, again)
		}
	})
}
