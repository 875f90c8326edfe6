package query

import (
	"context"
	"fmt"
	"strconv"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
)

// hasInvalidDate reports whether a bound of the chunk holds a date that is in no calendar. Sessions
// with ALLOW_INVALID_DATES can store such dates.
func (ch *ChunkRequest) hasInvalidDate() bool {
	for i, k := range ch.key() {
		switch ch.Table.Columns[k].Type {
		case binlog.TypeDate, binlog.TypeDatetime:
			for _, bound := range [][][]byte{ch.After, ch.Until} {
				if i < len(bound) && isInvalidDate(bound[i]) {
					return true
				}
			}
		}
	}
	return false
}

// isInvalidDate reports whether the day of "2021-02-30 ..." is past the end of its month. Every
// session accepts a month or a day of zero, so these are valid here.
func isInvalidDate(text []byte) bool {
	const form = "2021-02-30"
	if len(text) < len(form) {
		return false
	}
	year, errYear := strconv.Atoi(string(text[:4]))
	month, errMonth := strconv.Atoi(string(text[5:7]))
	day, errDay := strconv.Atoi(string(text[8:10]))
	if errYear != nil || errMonth != nil || errDay != nil || month < 1 || month > 12 {
		return false
	}
	days := [...]int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
	last := days[month-1]
	// In MySQL the year 0 is not a leap year.
	if month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0 && year != 0) {
		last = 29
	}
	return day > last
}

// withInvalidDates calls read in a session that accepts invalid dates in a condition. MySQL stores
// such dates, but rejects them in conditions of other sessions (error 1525). MariaDB accepts them.
func withInvalidDates(ctx context.Context, c *mysql.Conn, read func() error) error {
	if err := c.Exec(ctx, "SET SESSION sql_mode='ALLOW_INVALID_DATES'"); err != nil {
		return fmt.Errorf("allow invalid dates: %w", err)
	}
	err := read()
	// The session gets its own mode back. If read's error ended the connection, this error is
	// ignored.
	if end := c.Exec(ctx, "SET SESSION sql_mode=''"); err == nil && end != nil {
		err = fmt.Errorf("disallow invalid dates: %w", end)
	}
	return err
}
