package jobs

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// The log line about jobs has the rate, and an estimate of what is left if there is one.
func TestProgressLine(t *testing.T) {
	for _, test := range []struct {
		remaining int64
		ofAbout   any
		left      any
	}{{5000, 7000.0, "50s"}, {0, nil, nil}} {
		var out bytes.Buffer
		e := New(nil, nil, Config{}, zerolog.New(&out))
		e.report()
		if out.Len() > 0 {
			t.Errorf("a line comes at once: %s", &out)
		}
		e.rows, e.remaining = 2000, test.remaining
		e.logged, e.loggedRows = time.Now().Add(-10*time.Second), 1000
		e.report()
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatalf("%q: %v", &out, err)
		}
		if line["rows"] != 2000.0 || line["rows_per_second"] != 100.0 ||
			line["of_about"] != test.ofAbout || line["about_left"] != test.left {
			t.Errorf("the line is %s", &out)
		}
	}
}
