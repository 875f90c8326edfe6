package dateformat_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"rowfall/transform/dateformat"
)

func parse(t *testing.T, layout string) *dateformat.Layout {
	t.Helper()
	l, err := dateformat.Parse(layout)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func date(t *testing.T, text string) *dateformat.Date {
	t.Helper()
	if len(text) == len(time.DateOnly) {
		text += " 00:00:00"
	}
	at, err := time.Parse("2006-01-02 15:04:05.999999", text)
	if err != nil {
		t.Fatal(err)
	}
	return &dateformat.Date{
		Year: at.Year(), Month: int(at.Month()), Day: at.Day(),
		Hour: at.Hour(), Minute: at.Minute(), Second: at.Second(),
		Microsecond: at.Nanosecond() / 1000,
	}
}

// TestMySQL compares every specifier with what a MySQL server printed.
func TestMySQL(t *testing.T) {
	golden, err := os.ReadFile("testdata/mysql.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(golden)), "\n")
	layout := parse(t, lines[1])
	for _, s := range strings.Fields(dateformat.Specifiers()) {
		if !strings.Contains(lines[1], s) {
			t.Errorf("the golden file lacks %s", s)
		}
	}
	for _, line := range lines[2:] {
		text, want, _ := strings.Cut(line, "\t")
		got, ok := layout.Append(nil, date(t, text))
		if string(got) != want || !ok {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestDays(t *testing.T) {
	for at := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 10000; {
		d := dateformat.Date{Year: at.Year(), Month: int(at.Month()), Day: at.Day()}
		if want := int(at.Unix() / 86400); at.Unix() >= 0 && d.Days() != want {
			t.Fatalf("%v: %d days, want %d", at, d.Days(), want)
		}
		at = at.AddDate(0, 0, 17)
	}
}

// A date with a zero month or day has digits, but no names and no number of the week.
func TestPartialDates(t *testing.T) {
	zero, year, month := dateformat.Date{}, dateformat.Date{Year: 2024},
		dateformat.Date{Year: 2024, Month: 5}
	for _, c := range []struct {
		layout string
		date   dateformat.Date
		want   string
	}{
		{"%Y-%m-%d %T", zero, "0000-00-00 00:00:00"},
		{"%y %c %e %D %f %h %k %l %p %r", zero, "00 0 0 0th 000000 12 0 12 AM 12:00:00 AM"},
		{"%Y %M", year, "nil"},
		{"%b", year, "nil"},
		{"%M %b", month, "May May"},
		{"%a", month, "nil"},
		{"%W", month, "nil"},
		{"%w", month, "nil"},
		{"%j", month, "nil"},
		{"%U", month, "nil"},
		{"%v", year, "nil"},
		{"%x", zero, "nil"},
	} {
		l := parse(t, c.layout)
		got, ok := l.Append([]byte("x"), &c.date)
		if !ok {
			got = append(got, "nil"...)
		}
		if string(got) != "x"+c.want {
			t.Errorf("%s of %v: got %s", c.layout, c.date, got)
		}
		if !ok && !l.MayFail() {
			t.Errorf("%s: no text, and MayFail is false", c.layout)
		}
	}
	if parse(t, "%Y-%m-%d %H:%i:%s").MayFail() {
		t.Error("digits may fail")
	}
}

func TestParse(t *testing.T) {
	for layout, want := range map[string]string{
		"%Y%": "ends in %", "%q": "no specifier %q", "YYYY-MM-DD": "as in %Y-%m-%d",
		"":   "no specifier",
		"%%": "has no specifier", "%Y %é": "no specifier %é",
	} {
		_, err := dateformat.Parse(layout)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", layout, err, want)
		}
	}
}
