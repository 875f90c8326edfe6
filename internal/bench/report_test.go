//go:build bench

package bench_test

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// reportRow is one figure of the report, or the title of a section.
type reportRow struct {
	figure, rowfall, rival, ratio, goal string
}

// report collects the results of a run and prints them as a table.
type report struct {
	header []string
	rows   []reportRow
	notes  []string
}

func (r *report) addHeader(format string, args ...any) {
	r.header = append(r.header, fmt.Sprintf(format, args...))
}

func (r *report) addNote(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

func (r *report) addSection(title string) { r.rows = append(r.rows, reportRow{figure: title}) }

func (r *report) addRow(figure, rowfall, rival, ratio, goal string) {
	r.rows = append(r.rows, reportRow{"  " + figure, rowfall, rival, ratio, goal})
}

// compare adds a row with the medians of values of each round, and with the median of their ratios.
// The ratio is that of one round, because the machine's speed differs from round to round.
func (r *report) compare(
	figure string, own, other []float64, unit func(float64) string, reach goal,
) {
	ratios := make([]float64, len(own))
	for n := range own {
		ratios[n] = own[n] / other[n]
	}
	ratio := median(ratios)
	r.addRow(figure, unit(median(own)), unit(median(other)), times(ratio), reach(ratio))
}

// series returns a value of each round.
func series[T any](rounds []T, value func(T) float64) []float64 {
	values := make([]float64, len(rounds))
	for n, r := range rounds {
		values[n] = value(r)
	}
	return values
}

func (r *report) String() string {
	rule := strings.Repeat("-", 140)
	text := append([]string{rule}, r.header...)
	text = append(text, rule)
	const columns = "%-54s %22s %22s %8s   %s"
	text = append(text, fmt.Sprintf(columns, "", "rowfall", "compared to", "ratio", "goal"))
	for _, l := range r.rows {
		one := fmt.Sprintf(columns, l.figure, l.rowfall, l.rival, l.ratio, l.goal)
		text = append(text, strings.TrimRight(one, " "))
	}
	text = append(append(text, rule), r.notes...)
	return strings.Join(text, "\n")
}

// goal returns the text of a figure's goal, and whether a value reaches it.
type goal func(value float64) string

func none(float64) string { return "" }

func atMost(ratio float64) goal {
	return func(value float64) string {
		return goalText(fmt.Sprintf("at most %gx", ratio), value <= ratio)
	}
}

func atLeast(ratio float64) goal {
	return func(value float64) string {
		return goalText(fmt.Sprintf("at least %gx", ratio), value >= ratio)
	}
}

// goalText returns the goal of a figure and whether it was reached.
func goalText(text string, reached bool) string {
	if reached {
		return text + ": reached"
	}
	return text + ": NOT reached"
}

// median returns the middle of the values, or the mean of the two in the middle.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// thousands formats a rate or a count with thousands separators.
func thousands(f float64) string {
	text := fmt.Sprintf("%.0f", f)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func microseconds(seconds float64) string { return fmt.Sprintf("%.0f µs", seconds*1e6) }
func rows(f float64) string               { return thousands(f) + " rows/s" }
func micros(seconds float64) string       { return fmt.Sprintf("%.2f µs", seconds*1e6) }
func times(f float64) string              { return fmt.Sprintf("%.2fx", f) }
func millis(d time.Duration) string       { return fmt.Sprintf("%.2f ms", d.Seconds()*1000) }
func bytesPerRow(f float64) string        { return fmt.Sprintf("%.0f B/row", f) }
func mib(bytes float64) string            { return fmt.Sprintf("%s MiB", thousands(bytes/(1<<20))) }
func (l latency) String() string          { return millis(l.p50) + " / " + millis(l.p99) }
