package transform

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time to live, with a resolution of one millisecond.
type Duration time.Duration

// durationUnits are the units of a Duration, the largest first.
var durationUnits = []struct {
	suffix string
	size   time.Duration
}{
	{"w", 7 * 24 * time.Hour},
	{"d", 24 * time.Hour},
	{"h", time.Hour},
	{"m", time.Minute},
	{"s", time.Second},
	{"ms", time.Millisecond},
}

var errDuration = errors.New(
	"want a time with its unit such as 30d, 12h, 90m, 10s or 500ms (units: w, d, h, m, s, ms)")

// ParseDuration parses whole numbers with units, such as 30d or 1d12h. The same unit may not occur
// twice.
func ParseDuration(text string) (Duration, error) {
	fail := func() (Duration, error) { return 0, fmt.Errorf("%q: %w", text, errDuration) }
	var total time.Duration
	rest, used := text, map[string]bool{}
	for rest != "" {
		digits := 0
		for digits < len(rest) && '0' <= rest[digits] && rest[digits] <= '9' {
			digits++
		}
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return fail()
		}
		rest = rest[digits:]
		letters := strings.IndexAny(rest, "0123456789")
		if letters < 0 {
			letters = len(rest)
		}
		var unit time.Duration
		for _, u := range durationUnits {
			if u.suffix == rest[:letters] && !used[u.suffix] {
				unit = u.size
				used[u.suffix] = true
			}
		}
		if unit == 0 || n > int64((math.MaxInt64-total)/unit) {
			return fail()
		}
		total += time.Duration(n) * unit
		rest = rest[letters:]
	}
	if text == "" {
		return fail()
	}
	return Duration(total), nil
}

// String returns the duration with the largest unit that divides it, "" for 0.
func (d Duration) String() string {
	for _, u := range durationUnits {
		if n := time.Duration(d); n > 0 && n%u.size == 0 {
			return strconv.FormatInt(int64(n/u.size), 10) + u.suffix
		}
	}
	return ""
}

// MarshalText returns String. So durations that are spelled differently are equal in the stored
// mapping.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Percent is a whole percentage from 0 to 100.
type Percent uint8

// ParsePercent parses a percentage such as 10%.
func ParsePercent(text string) (Percent, error) {
	digits, found := strings.CutSuffix(text, "%")
	n, err := strconv.ParseUint(digits, 10, 8)
	if !found || err != nil || n > 100 {
		return 0, fmt.Errorf("%q: want a whole percentage from 0%% to 100%%, such as 10%%", text)
	}
	return Percent(n), nil
}

// String returns the percentage as a pipeline file spells it, "" for 0.
func (p Percent) String() string {
	if p == 0 {
		return ""
	}
	return strconv.Itoa(int(p)) + "%"
}

// MarshalText returns String.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
