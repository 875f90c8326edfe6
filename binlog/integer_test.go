package binlog

import (
	"math"
	"strconv"
	"testing"
)

// appendInt and appendUint print what strconv prints.
func TestAppendIntegers(t *testing.T) {
	check := func(v uint64) {
		for _, room := range []int{0, 40} {
			dst := append(make([]byte, 0, 1+room), '<')
			got, want := string(appendUint(dst, v)), "<"+strconv.FormatUint(v, 10)
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
			got, want = string(appendInt(dst, int64(v))), "<"+strconv.FormatInt(int64(v), 10)
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
	for v := range uint64(1100) {
		check(v)
		check(math.MaxUint64 - v)
	}
	for power := uint64(1); ; power *= 10 {
		check(power - 1)
		check(power)
		check(power + 1)
		if power > math.MaxUint64/10 {
			break
		}
	}
	for bit := range 64 {
		check(1<<bit - 1)
		check(1 << bit)
	}
}
