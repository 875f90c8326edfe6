// Package dateformat formats dates with the specifiers of MySQL's DATE_FORMAT, such as %Y-%m-%d.
//
// Names of months and of weekdays are English. A date may have a zero month or day, as MySQL's
// dates may. Digits are printed of every date; see Layout.MayFail for the specifiers that need
// more.
//
// The package does no I/O. Package transform/expression imports it.
package dateformat

import (
	"fmt"
	"slices"
	"strings"
)

// Date is a date with its time. Month and Day may be 0, and Year too.
type Date struct {
	Year, Month, Day     int
	Hour, Minute, Second int
	Microsecond          int
}

// Days returns the number of days from 1970-01-01 to the date, in the proleptic Gregorian calendar,
// which is that of MySQL. Here years begin in March, so that the leap day is the last day of a
// year.
func (d *Date) Days() int {
	y, m := d.Year, d.Month
	if m <= 2 {
		y--
		m += 12
	}
	return 365*y + y/4 - y/100 + y/400 + (153*(m-3)+2)/5 + d.Day - 1 - 719468
}

// weekday returns 0 for Sunday to 6 for Saturday.
func (d *Date) weekday() int { return floorMod(d.Days()+4, 7) }

// yearStart returns the day number of the first of January.
func yearStart(year int) int {
	d := Date{Year: year, Month: 1, Day: 1}
	return d.Days()
}

// floorMod returns a modulo b, which is not negative for a positive b.
func floorMod(a, b int) int { return (a%b + b) % b }

// Layout is a parsed layout. It is immutable and safe for concurrent use.
type Layout struct {
	parts []part
	needs need
}

// part is literal text, or a specifier if format is set.
type part struct {
	literal string
	format  func(dst []byte, d *Date) []byte
	needs   need
}

// need is what a date must have for a specifier to have a value.
type need uint8

const (
	needsNothing need = iota
	needsMonth        // a month other than 0
	needsDate         // a year, month and day other than 0
)

// Parse parses a layout. An error is a phrase about the fault and its remedy.
func Parse(layout string) (*Layout, error) {
	l := new(Layout)
	literal := ""
	flush := func() {
		if literal != "" {
			l.parts = append(l.parts, part{literal: literal})
			literal = ""
		}
	}
	for rest := layout; rest != ""; {
		before, after, found := strings.Cut(rest, "%")
		literal += before
		if !found {
			break
		}
		if after == "" {
			return nil, fmt.Errorf("the layout %q ends in %%; write %%%% for a percent sign",
				layout)
		}
		rest = after[1:]
		if after[0] == '%' {
			literal += "%"
			continue
		}
		p, ok := specifiers[after[0]]
		if !ok {
			return nil, fmt.Errorf("the layout %q has no specifier %%%.1s; the specifiers are "+
				"those of MySQL's DATE_FORMAT: %s", layout, after, Specifiers())
		}
		flush()
		l.parts = append(l.parts, p)
		l.needs = max(l.needs, p.needs)
	}
	flush()
	if !slices.ContainsFunc(l.parts, func(p part) bool { return p.format != nil }) {
		return nil, fmt.Errorf("the layout %q has no specifier; write it as for MySQL's "+
			"DATE_FORMAT, as in %%Y-%%m-%%d", layout)
	}
	return l, nil
}

// Specifiers returns all specifiers as text, for messages.
func Specifiers() string {
	var out []string
	for c := range specifiers {
		out = append(out, "%"+string(rune(c)))
	}
	slices.Sort(out)
	return strings.Join(append(out, "%%"), " ")
}

// MayFail reports whether some date has no text in the layout. A name of a month needs a month
// other than 0. Names of weekdays, and the numbers of weeks and of the day in the year, need a
// year, month and day other than 0.
func (l *Layout) MayFail() bool { return l.needs != needsNothing }

// Append appends the text of a date. ok is false if the date has none; see MayFail.
func (l *Layout) Append(dst []byte, d *Date) (out []byte, ok bool) {
	switch {
	case l.needs >= needsMonth && d.Month == 0,
		l.needs == needsDate && (d.Year == 0 || d.Day == 0):
		return dst, false
	}
	for i := range l.parts {
		if p := &l.parts[i]; p.format != nil {
			dst = p.format(dst, d)
		} else {
			dst = append(dst, p.literal...)
		}
	}
	return dst, true
}
