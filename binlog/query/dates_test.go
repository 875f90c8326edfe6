package query

import "testing"

func TestInvalidDate(t *testing.T) {
	for text, want := range map[string]bool{
		"2021-02-28": false, "2021-02-29": true, "2021-02-30 10:00:00.123": true,
		"2020-02-29": false, "2020-02-30": true,
		"1900-02-29": true, "2000-02-29": false, "0000-02-29": true, "0004-02-29": false,
		"2021-04-31": true, "2021-12-31": false,
		"0000-00-00": false, "2021-00-31": false, "2021-03-00": false, "": false, "12:00:00": false,
		"20x1-02-30": false,
	} {
		if got := isInvalidDate([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
