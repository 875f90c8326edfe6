package pipelines_test

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// script is what a differential test does to MySQL and to the pipeline, a step a line.
type script []step

// step is a statement, or an action on the pipeline:
//
//	/* 2 gbk pin=t:9001,t:9002 */ INSERT INTO t VALUES (9001), (9002)
//	-- kill
//
// A statement names the session that executes it, and optionally the session's character set (the
// default is utf8mb4). repeat=N executes it N times. An error of a statement is ignored. These
// words say what it does to the data:
//
//   - pin=KEYS: the rows of these keys stay until a statement unpins their table
//   - unpin=TABLES: rows of these tables may be removed
//   - unordered=TABLES: the keys of these tables may get rows with lower counters
//
// The actions are:
//
//   - kill: end the run; start: begin a run, if none runs
//   - crash before N, crash after N: the N-th Apply from now fails, before or after its effect
//   - restart, restart killed: shut the MySQL server down, or kill it, and start it again
//   - backfill TABLE: read a table again, if the pipeline is running
//   - compare: wait until no job is left, and compare with a rebuild
//   - map TABLE SETTING: a setting of the mapping, see script.mapping
//   - ready: wait until the pipeline has a position
//   - entries CONDITION: record the changes of x9, see recordEntries
type step struct {
	session                 int
	charset                 string
	pin, unpin, isUnordered []string
	repeat                  int
	sql                     string
	action                  []string
}

func (s *step) String() string {
	if s.sql == "" {
		return "-- " + strings.Join(s.action, " ")
	}
	words := []string{strconv.Itoa(s.session)}
	if s.charset != "" {
		words = append(words, s.charset)
	}
	if s.repeat > 0 {
		words = append(words, fmt.Sprintf("repeat=%d", s.repeat))
	}
	for _, list := range []struct {
		name  string
		words []string
	}{{"pin=", s.pin}, {"unpin=", s.unpin}, {"unordered=", s.isUnordered}} {
		if len(list.words) > 0 {
			words = append(words, list.name+strings.Join(list.words, ","))
		}
	}
	return "/* " + strings.Join(words, " ") + " */ " + s.sql
}

func (s script) String() string {
	var text strings.Builder
	for i := range s {
		text.WriteString(s[i].String())
		text.WriteByte('\n')
	}
	return text.String()
}

// parseScript parses what String returns. Empty lines, and lines that begin with "#", are ignored.
func parseScript(text string) (script, error) {
	var s script
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if action, ok := strings.CutPrefix(line, "-- "); ok {
			s = append(s, step{action: strings.Fields(action)})
			continue
		}
		head, sql, ok := strings.Cut(strings.TrimPrefix(line, "/*"), "*/")
		words := strings.Fields(head)
		if !ok || len(words) == 0 || line[0] != '/' {
			return nil, fmt.Errorf("line %d: want `-- action` or `/* session */ statement`", n+1)
		}
		st := step{sql: strings.TrimSpace(sql)}
		var err error
		if st.session, err = strconv.Atoi(words[0]); err != nil {
			return nil, fmt.Errorf("line %d: number of the session: %w", n+1, err)
		}
		for _, w := range words[1:] {
			name, list, isList := strings.Cut(w, "=")
			switch {
			case !isList:
				st.charset = w
			case name == "repeat":
				if st.repeat, err = strconv.Atoi(list); err != nil {
					return nil, fmt.Errorf("line %d: repeat: %w", n+1, err)
				}
			case name == "pin":
				st.pin = strings.Split(list, ",")
			case name == "unpin":
				st.unpin = strings.Split(list, ",")
			case name == "unordered":
				st.isUnordered = strings.Split(list, ",")
			default:
				return nil, fmt.Errorf("line %d: unknown word %q", n+1, w)
			}
		}
		s = append(s, st)
	}
	return s, nil
}

// clientEncodings are the character sets in which a session may send statements.
var clientEncodings = map[string]encoding.Encoding{
	"latin1": charmap.Windows1252, "cp1251": charmap.Windows1251, "gbk": simplifiedchinese.GBK,
}

// encode returns the statement in the session's character set. {db} is the name of the database.
func (s *step) encode(db string) string {
	sql := strings.ReplaceAll(s.sql, "{db}", db)
	if e := clientEncodings[s.charset]; e != nil {
		if text, err := e.NewEncoder().String(sql); err == nil {
			return text
		}
	}
	return sql
}

// shrink removes steps from a script as long as it fails in the same way, and until the time is up.
func shrink(s script, until time.Time, fails func(script) bool) script {
	for size := len(s) / 2; size > 0 && time.Now().Before(until); {
		removed := false
		for from := 0; from < len(s) && time.Now().Before(until); {
			to := min(from+size, len(s))
			shorter := append(append(script(nil), s[:from]...), s[to:]...)
			if fails(shorter) {
				s, removed = shorter, true
			} else {
				from = to
			}
		}
		if size == 1 && !removed {
			break
		}
		if size > 1 {
			size /= 2
		}
	}
	return s
}
