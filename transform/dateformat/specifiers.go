package dateformat

import "strconv"

var (
	monthNames = [...]string{
		"January", "February", "March", "April", "May", "June", "July", "August", "September",
		"October", "November", "December",
	}
	weekdayNames = [...]string{
		"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
	}
)

// specifiers are all specifiers by their letter, apart from %%.
var specifiers = map[byte]part{
	'a': {needs: needsDate, format: func(dst []byte, d *Date) []byte {
		return append(dst, weekdayNames[d.weekday()][:3]...)
	}},
	'b': {needs: needsMonth, format: func(dst []byte, d *Date) []byte {
		return append(dst, monthNames[d.Month-1][:3]...)
	}},
	'c': digits(1, func(d *Date) int { return d.Month }),
	'D': {format: func(dst []byte, d *Date) []byte {
		return append(strconv.AppendInt(dst, int64(d.Day), 10), ordinalSuffix(d.Day)...)
	}},
	'd': digits(2, func(d *Date) int { return d.Day }),
	'e': digits(1, func(d *Date) int { return d.Day }),
	'f': digits(6, func(d *Date) int { return d.Microsecond }),
	'H': digits(2, func(d *Date) int { return d.Hour }),
	'h': digits(2, hour12),
	'I': digits(2, hour12),
	'i': digits(2, func(d *Date) int { return d.Minute }),
	'j': {needs: needsDate, format: func(dst []byte, d *Date) []byte {
		return appendPadded(dst, d.Days()-yearStart(d.Year)+1, 3)
	}},
	'k': digits(1, func(d *Date) int { return d.Hour }),
	'l': digits(1, hour12),
	'M': {needs: needsMonth, format: func(dst []byte, d *Date) []byte {
		return append(dst, monthNames[d.Month-1]...)
	}},
	'm': digits(2, func(d *Date) int { return d.Month }),
	'p': {format: func(dst []byte, d *Date) []byte { return append(dst, halfOfDay(d)...) }},
	'r': {format: func(dst []byte, d *Date) []byte {
		dst = append(appendPadded(dst, hour12(d), 2), ':')
		dst = append(appendPadded(dst, d.Minute, 2), ':')
		return append(append(appendPadded(dst, d.Second, 2), ' '), halfOfDay(d)...)
	}},
	'S': digits(2, func(d *Date) int { return d.Second }),
	's': digits(2, func(d *Date) int { return d.Second }),
	'T': {format: func(dst []byte, d *Date) []byte {
		dst = append(appendPadded(dst, d.Hour, 2), ':')
		return appendPadded(append(appendPadded(dst, d.Minute, 2), ':'), d.Second, 2)
	}},
	'U': week(2, func(d *Date) int { return weekOfYear(d, sundayWeeks) }),
	'u': week(2, func(d *Date) int { return weekOfYear(d, mondayWeeks) }),
	'V': week(2, func(d *Date) int { return second(weekWithYear(d, sundayWeeks)) }),
	'v': week(2, func(d *Date) int { return second(weekWithYear(d, mondayWeeks)) }),
	'W': {needs: needsDate, format: func(dst []byte, d *Date) []byte {
		return append(dst, weekdayNames[d.weekday()]...)
	}},
	'w': week(1, (*Date).weekday),
	'X': week(4, func(d *Date) int { return first(weekWithYear(d, sundayWeeks)) }),
	'x': week(4, func(d *Date) int { return first(weekWithYear(d, mondayWeeks)) }),
	'Y': digits(4, func(d *Date) int { return d.Year }),
	'y': digits(2, func(d *Date) int { return d.Year % 100 }),
}

// digits makes a specifier that prints a number with leading zeros up to width digits. Every date
// has the number.
func digits(width int, number func(*Date) int) part {
	return part{format: func(dst []byte, d *Date) []byte {
		return appendPadded(dst, number(d), width)
	}}
}

// week makes a specifier like digits, whose number only a complete date has.
func week(width int, number func(*Date) int) part {
	p := digits(width, number)
	p.needs = needsDate
	return p
}

// appendPadded appends n, which is not negative, with leading zeros up to width digits, at most 6.
func appendPadded(dst []byte, n, width int) []byte {
	limits := [...]int{1: 1, 10, 100, 1e3, 1e4, 1e5} // the smallest numbers with as many digits
	for limit := limits[width]; limit > 1 && n < limit; limit /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, int64(n), 10)
}

// ordinalSuffix returns th, st, nd or rd.
func ordinalSuffix(day int) string {
	if day < 10 || day > 19 {
		switch day % 10 {
		case 1:
			return "st"
		case 2:
			return "nd"
		case 3:
			return "rd"
		}
	}
	return "th"
}

// hour12 returns the hour of a clock with twelve hours, 1 to 12.
func hour12(d *Date) int { return (d.Hour+11)%12 + 1 }

func halfOfDay(d *Date) string {
	if d.Hour < 12 {
		return "AM"
	}
	return "PM"
}

// weeks is a way to count the weeks of a year: it returns the day number at which week 1 begins.
type weeks func(year int) int

// sundayWeeks counts weeks from the first Sunday of the year.
func sundayWeeks(year int) int {
	start := yearStart(year)
	weekday := floorMod(start+4, 7) // 0 is Sunday
	return start + (7-weekday)%7
}

// mondayWeeks counts weeks from the Monday of the week that holds the fourth of January, as
// ISO 8601 does.
func mondayWeeks(year int) int {
	fourth := yearStart(year) + 3
	return fourth - floorMod(fourth+3, 7) // 0 is Monday
}

// weekOfYear returns the number of the week in the date's own year. Days before week 1 are in
// week 0.
func weekOfYear(d *Date, w weeks) int {
	days, start := d.Days(), w(d.Year)
	if days < start {
		return 0
	}
	return (days-start)/7 + 1
}

// weekWithYear returns the number of the week, from 1, and the year that the week belongs to.
func weekWithYear(d *Date, w weeks) (year, number int) {
	days, year := d.Days(), d.Year
	switch {
	case days < w(year):
		year--
	case days >= w(year+1):
		year++
	}
	return year, (days-w(year))/7 + 1
}

func first(a, _ int) int  { return a }
func second(_, b int) int { return b }
