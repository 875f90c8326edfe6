package file

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"rowfall/replication"
	"rowfall/replication/replog"
	"rowfall/transform"
)

// Value is a scalar setting: a typed field of a Config with its check. The methods are those of
// pflag.Value, so that a flag and a key of a file are parsed and checked by the same code.
type Value interface {
	// Set parses and checks text, and stores the result in the field. After an error the field has
	// its former value.
	Set(text string) error
	// String returns the value of the field in a form that Set accepts.
	String() string
	// Type returns one word for the help text, such as bytes.
	Type() string
}

// plainText is any text.
type plainText struct{ p *string }

func (v plainText) Set(text string) error { *v.p = text; return nil }
func (v plainText) String() string        { return *v.p }
func (v plainText) Type() string          { return "text" }

// filePath is the path of a file or of a directory. Set does not open it.
type filePath struct{ plainText }

func (v filePath) Type() string { return "path" }

// address is host:port, or empty.
type address struct{ plainText }

func (v address) Set(text string) error {
	if text != "" {
		if err := replication.CheckHostPort(text); err != nil {
			return err
		}
	}
	*v.p = text
	return nil
}

func (v address) Type() string { return "host:port" }

// word is one of a few words.
type word struct {
	p     *string
	words []string
}

func (v word) Set(text string) error {
	if !slices.Contains(v.words, text) {
		return fmt.Errorf("%q: want %s", text, strings.Join(v.words, ", "))
	}
	*v.p = text
	return nil
}

func (v word) String() string { return *v.p }
func (v word) Type() string   { return "word" }

// fsync is a policy of the replication log.
type fsync struct{ p *replog.Fsync }

func (v fsync) Set(text string) error {
	name := v.p.String()
	policies := []string{
		replog.Always.String(), replog.EverySecond.String(), replog.Never.String(),
	}
	if err := (word{&name, policies}).Set(text); err != nil {
		return err
	}
	var err error
	*v.p, err = replog.ParseFsync(name)
	return err
}

func (v fsync) String() string { return v.p.String() }
func (v fsync) Type() string   { return "policy" }

// version is the version of a replica, at least 6.2, such as 7.0 or 7.2.4.
type version struct{ p *string }

var versionForm = regexp.MustCompile(`^([1-9][0-9]{0,2})(?:\.([0-9]{1,3}))?(?:\.[0-9]+)*$`)

func (v version) Set(text string) error {
	parts := versionForm.FindStringSubmatch(text)
	if parts == nil {
		return fmt.Errorf("%q: want a version such as 6.2 or 7.0", text)
	}
	major, _ := strconv.Atoi(parts[1]) // versionForm allows digits only
	minor, _ := strconv.Atoi(parts[2])
	if major < 6 || major == 6 && minor < 2 {
		return fmt.Errorf("%q: want a version such as 6.2 or 7.0, and at least 6.2", text)
	}
	*v.p = text
	return nil
}

func (v version) String() string { return *v.p }
func (v version) Type() string   { return "version" }

// number is a whole number from least to most. Underscores may separate digits.
type number struct {
	p           *int
	least, most int
}

func (v number) Set(text string) error {
	n, err := strconv.Atoi(strings.ReplaceAll(text, "_", ""))
	if err != nil || n < v.least || n > v.most {
		return fmt.Errorf("%q: want a whole number from %d to %d", text, v.least, v.most)
	}
	*v.p = n
	return nil
}

func (v number) String() string { return strconv.Itoa(*v.p) }
func (v number) Type() string   { return "number" }

// size is a number of bytes: 512, 64KiB, 64MiB, 10GiB.
type size struct {
	p        *int64
	positive bool  // 0 is not allowed
	most     int64 // 0: no limit
	all      bool  // -1 is allowed, and means "all"
}

// sizeUnits are the suffixes of sizes, the largest first.
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}}

func (v size) Set(text string) error {
	n, ok := parseSize(text)
	switch {
	case ok && v.all && n == -1:
	case !ok || n < 0 && !v.all:
		return fmt.Errorf("%q: want a size such as 64MiB or 10GiB", text)
	case n < 0 || n == 0 && v.positive && v.all:
		return fmt.Errorf("%q: want a size above 0, or -1 for all", text)
	case n == 0 && v.positive:
		return fmt.Errorf("%q: want a size above 0, such as 64MiB or 10GiB", text)
	case v.most > 0 && n > v.most:
		return fmt.Errorf("%q: want a size of at most %s", text, formatSize(v.most))
	}
	*v.p = n
	return nil
}

func (v size) String() string { return formatSize(*v.p) }
func (v size) Type() string   { return "bytes" }

func parseSize(text string) (bytes int64, ok bool) {
	for _, u := range sizeUnits {
		digits, found := strings.CutSuffix(text, u.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		return n * u.bytes, err == nil && n >= -1 && n <= math.MaxInt64/2/u.bytes
	}
	return 0, false
}

// formatSize returns bytes with the largest unit that divides it.
func formatSize(bytes int64) string {
	for _, u := range sizeUnits {
		if bytes > 0 && bytes%u.bytes == 0 {
			return strconv.FormatInt(bytes/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(bytes, 10)
}

// duration is a time of at least least: 500ms, 10s, 5m, 2h or 30d.
type duration struct {
	p     *time.Duration
	least time.Duration
}

func (v duration) Set(text string) error {
	d, ok := parseDuration(text)
	if !ok || d < 0 {
		return fmt.Errorf("%q: want a time such as 500ms, 10s, 5m, 2h or 30d", text)
	}
	if d < v.least {
		return fmt.Errorf("%q: want at least %v", text, v.least)
	}
	*v.p = d
	return nil
}

func (v duration) String() string {
	if *v.p == 0 {
		return "0"
	}
	return v.p.String()
}

func (v duration) Type() string { return "time" }

// optionalDuration is a duration for which 0 is allowed, too.
type optionalDuration struct{ duration }

func (v optionalDuration) Set(text string) error {
	if d, ok := parseDuration(text); ok && d == 0 {
		*v.p = 0
		return nil
	}
	return v.duration.Set(text)
}

// parseDuration accepts what transform.ParseDuration does for times to live, and also fractions
// such as 1.5h.
func parseDuration(text string) (time.Duration, bool) {
	if d, err := transform.ParseDuration(text); err == nil {
		return time.Duration(d), true
	}
	d, err := time.ParseDuration(text)
	return d, err == nil
}
