package main

import (
	"fmt"
	"strings"
	"time"
)

// meter describes the progress of a long task: how much is done, the rate, and the time left.
type meter struct {
	// first is when text was called first, and before what had been done by then. It does not count
	// for the rate: an earlier process may have done it.
	first  time.Time
	before int64
}

// text returns "[####------] 2000 of about 5000 rows (40%), 100 rows/s, about 30s left". total is
// an estimate. If total is missing or exceeded, the text has neither bar nor time left. unit is
// what is counted. write formats a number of units; nil writes the number and the unit.
func (m *meter) text(
	done, total int64, unit string, now time.Time, write func(n int64) string,
) string {
	if write == nil {
		write = func(n int64) string { return fmt.Sprintf("%d %s", n, unit) }
	}
	if m.first.IsZero() {
		m.first, m.before = now, done
	}
	text, left := write(done), total-done
	if left > 0 {
		text = fmt.Sprintf("%s %s of about %s (%d%%)", bar(done, total),
			strings.TrimSuffix(text, " "+unit), write(total), percent(done, total))
	}
	seconds := now.Sub(m.first).Seconds()
	if seconds < 1 || done <= m.before {
		return text
	}
	rate := float64(done-m.before) / seconds
	text += fmt.Sprintf(", %s/s", write(int64(rate+0.5)))
	if left > 0 {
		wait := time.Duration(float64(left) / rate * float64(time.Second))
		text += fmt.Sprintf(", about %v left", wait.Round(time.Second))
	}
	return text
}

// bar draws a part of a whole.
func bar(done, total int64) string {
	const width = 20
	n := int(float64(done) / float64(total) * width)
	return "[" + strings.Repeat("#", n) + strings.Repeat("-", width-n) + "]"
}

func percent(done, total int64) int { return int(100 * float64(done) / float64(total)) }

// mebibytes formats a number of bytes.
func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
