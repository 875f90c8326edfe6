package binlog

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// timePrefix begins a position that is given by a time.
const timePrefix = "time:"

// ParsePositionTime reads "time:2026-11-28T10:00:00Z": the last position before a commit time. ok
// is false for another form.
func ParsePositionTime(s string) (at time.Time, ok bool, err error) {
	text, ok := strings.CutPrefix(s, timePrefix)
	if !ok {
		return at, false, nil
	}
	if at, err = time.Parse(time.RFC3339Nano, text); err != nil {
		return at, true, fmt.Errorf("parse position %q: expected time:2026-11-28T10:00:00Z",
			Clip(s, maxQuoted))
	}
	if at.Unix() <= 0 {
		return at, true, errors.New("parse position: the time is before 1970")
	}
	return at, true, nil
}

// CheckPosition returns an error if s is neither of a form that ParsePosition reads nor of that of
// ParsePositionTime.
func CheckPosition(s string) error {
	_, isTime, err := ParsePositionTime(s)
	if !isTime {
		_, err = ParsePosition(s)
	}
	return err
}
