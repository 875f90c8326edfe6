package resp_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"rowfall/replication/resp"
)

func TestParseCommand(t *testing.T) {
	for _, c := range []struct {
		name, in string
		args     []string
		err      string
	}{
		{"one", "*1\r\n$4\r\nPING\r\n", []string{"PING"}, ""},
		{"rest stays", "*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n", []string{"GET", "a"}, ""},
		{"empty bulk", "*2\r\n$3\r\nGET\r\n$0\r\n\r\n", []string{"GET", ""}, ""},
		{"binary", "*1\r\n$4\r\n\r\n\x00*\r\n", []string{"\r\n\x00*"}, ""},
		{"zeros in front", "*01\r\n$004\r\nPING\r\n", []string{"PING"}, ""},
		{"empty array", "*0\r\n", nil, "Protocol error: invalid multibulk length"},
		{"null array", "*-1\r\n", nil, "Protocol error: invalid multibulk length"},
		{"inline", "PING\r\n", nil, "Protocol error: expected '*', got 'P'"},
		{"no bulk", "*1\r\n:1\r\n", nil, "Protocol error: expected '$', got ':'"},
		{"null bulk", "*1\r\n$-1\r\n", nil, "Protocol error: invalid bulk length"},
		{"long bulk", "*1\r\n$536870913\r\n", nil, "Protocol error: invalid bulk length"},
		{"many args", "*2147483648\r\n", nil, "Protocol error: invalid multibulk length"},
		{
			"overflow", "*1\r\n$99999999999999999999999999\r\n", nil,
			"Protocol error: invalid bulk length",
		},
		{"no number", "*\r\n", nil, "Protocol error: invalid multibulk length"},
		{"plus", "*+1\r\n", nil, "Protocol error: invalid multibulk length"},
		{"lone LF", "*1\n$4\nPING\n", nil, "Protocol error: invalid multibulk length"},
		{
			"bulk too long", "*1\r\n$3\r\nPING\r\n", nil,
			"Protocol error: expected CRLF after a bulk string",
		},
		{"nothing", "", nil, "incomplete command"},
		{"huge but short", "*1048576\r\n$536870912\r\nx", nil, "incomplete command"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args, n, err := resp.ParseCommand([]byte(c.in), nil)
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Fatalf("error is %v, want %s", err, c.err)
				}
				return
			}
			if err != nil || !slices.Equal(words(args), c.args) {
				t.Fatalf("got %q %v, want %q", args, err, c.args)
			}
			if again := resp.AppendCommand(nil, c.args...); c.name != "zeros in front" &&
				!bytes.Equal(again, []byte(c.in[:n])) {
				t.Fatalf("%d bytes taken, %q written again", n, again)
			}
			for cut := range n {
				if _, _, err := resp.ParseCommand([]byte(c.in[:cut]), nil); !errors.Is(err,
					resp.ErrIncomplete) {
					t.Fatalf("cut at %d: %v", cut, err)
				}
			}
		})
	}
}

func words(args [][]byte) []string {
	var all []string
	for _, a := range args {
		all = append(all, string(a))
	}
	return all
}

const mixed = "*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\n\r\n*0\r\nset a \"x y\\x41\\n\" 'it\\'s'\n" +
	"*-1\r\n*1\r\n$4\r\nECHO\r\n"

var mixedCommands = [][]string{
	{"GET", "a"},
	{"PING"},
	nil, nil,
	{"set", "a", "x yA\n", "it's"},
	nil,
	{"ECHO"},
}

func TestReaderCommands(t *testing.T) {
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"whole":     func(r io.Reader) io.Reader { return r },
		"one byte":  iotest.OneByteReader,
		"half":      iotest.HalfReader,
		"data, EOF": iotest.DataErrReader,
	} {
		t.Run(name, func(t *testing.T) {
			r := resp.NewReader(wrap(strings.NewReader(mixed)), 512)
			var wire []byte
			for i, want := range mixedCommands {
				args, raw, err := r.ReadCommand()
				if err != nil || !slices.Equal(words(args), want) ||
					(args == nil) != (want == nil) {
					t.Fatalf("command %d: %q %v, want %q", i, args, err, want)
				}
				wire = append(wire, raw...)
			}
			if string(wire) != mixed {
				t.Fatalf("raw bytes are %q", wire)
			}
			if _, _, err := r.ReadCommand(); !errors.Is(err, io.EOF) {
				t.Fatalf("at the end: %v", err)
			}
		})
	}
}

// A command may be far larger than the buffer, which then shrinks again. The end of the stream
// within a command is io.ErrUnexpectedEOF.
func TestReaderLargeAndCut(t *testing.T) {
	big := strings.Repeat("x", 3<<20)
	wire := resp.AppendCommand(nil, "SET", "k", big)
	r := resp.NewReader(iotest.HalfReader(bytes.NewReader(append(wire, "*1\r\n$4\r\nPI"...))), 512)
	args, raw, err := r.ReadCommand()
	if err != nil || len(args) != 3 || string(args[2]) != big || !bytes.Equal(raw, wire) {
		t.Fatalf("%d args, %v", len(args), err)
	}
	if _, _, err := r.ReadCommand(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("cut command: %v", err)
	}
}

// After a time-out the same call continues without loss.
func TestReaderResumesAfterTimeout(t *testing.T) {
	wire := resp.AppendCommand(nil, "SET", "key", "value")
	var parts []io.Reader
	for i := range wire {
		parts = append(parts, bytes.NewReader(wire[i:i+1]), &once{})
	}
	r := resp.NewReader(&sequence{parts}, 512)
	timeouts := 0
	for {
		args, _, err := r.ReadCommand()
		if errors.Is(err, iotest.ErrTimeout) {
			timeouts++
			continue
		}
		if err != nil || !slices.Equal(words(args), []string{"SET", "key", "value"}) {
			t.Fatalf("%q %v", args, err)
		}
		break
	}
	if timeouts != len(wire)-1 {
		t.Fatalf("%d time-outs, want %d", timeouts, len(wire)-1)
	}
}

type once struct{ done bool }

func (o *once) Read([]byte) (int, error) {
	if o.done {
		return 0, io.EOF
	}
	o.done = true
	return 0, iotest.ErrTimeout
}

type sequence struct{ parts []io.Reader }

func (s *sequence) Read(p []byte) (int, error) {
	for len(s.parts) > 0 {
		n, err := s.parts[0].Read(p)
		if err != io.EOF {
			return n, err
		}
		s.parts = s.parts[1:]
	}
	return 0, io.EOF
}

func TestReaderLinesAndPayload(t *testing.T) {
	r := resp.NewReader(
		iotest.OneByteReader(
			strings.NewReader("+FULLRESYNC x 1\r\n\n\n$5\r\nabcde*1\r\n$4\r\nPING\r\n"),
		),
		512,
	)
	for _, want := range []string{"+FULLRESYNC x 1", "", "", "$5"} {
		if line, err := r.ReadLine(); err != nil || string(line) != want {
			t.Fatalf("line %q %v, want %q", line, err, want)
		}
	}
	payload := make([]byte, 5)
	if _, err := io.ReadFull(r, payload); err != nil || string(payload) != "abcde" {
		t.Fatalf("payload %q %v", payload, err)
	}
	if args, _, err := r.ReadCommand(); err != nil || string(args[0]) != "PING" {
		t.Fatalf("%q %v", args, err)
	}
}

func TestReaderRejects(t *testing.T) {
	const noCRLF = "Protocol error: expected CRLF after a bulk string"
	for in, want := range map[string]string{
		strings.Repeat("x", resp.MaxInline+2):    "Protocol error: too big inline request",
		"get \"a\n":                              "Protocol error: unbalanced quotes in request",
		"get \"a\"b\n":                           "Protocol error: unbalanced quotes in request",
		"*11\r\n":                                "Protocol error: invalid multibulk length",
		"*1\r\n$20000\r\n":                       "Protocol error: invalid bulk length",
		"*1\r\n" + strings.Repeat("$", 70000):    "Protocol error: invalid bulk length",
		"*" + strings.Repeat("1", 70000):         "Protocol error: invalid multibulk length",
		"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n": noCRLF,
	} {
		r := resp.NewReader(strings.NewReader(in), 512)
		r.SetLimits(10, 16384)
		var protocol *resp.ProtocolError
		if _, _, err := r.ReadCommand(); !errors.As(err, &protocol) || err.Error() != want {
			t.Errorf("%.20q: %v, want %s", in, err, want)
		}
	}
	if _, _, err := resp.NewReader(strings.NewReader("*1048577\r\n"), 512).ReadCommand(); errors.Is(
		err, io.ErrUnexpectedEOF,
	) {
		t.Error("a client may send more than MaxArgs arguments")
	}
	r := resp.NewReader(strings.NewReader(strings.Repeat("x", resp.MaxInline*2)), 512)
	if _, err := r.ReadLine(); err == nil {
		t.Error("an endless line was read")
	}
}

// The texts are those of redis-server 7.0 and 8.0 for ZSCORE.
func TestAppendFloat(t *testing.T) {
	for _, c := range []struct {
		f    float64
		want string
	}{
		{0, "0"},
		{math.Copysign(0, -1), "-0"},
		{1, "1"},
		{-17, "-17"},
		{3.14, "3.14"},
		{0.1, "0.1"},
		{1e8, "100000000"},
		{4503599627370496, "4503599627370496"},
		{9007199254740993, "9007199254740992"},
		{1e16, "10000000000000000"},
		{1e17, "100000000000000000"},
		{1e19, "1e+19"},
		{12345678901234567890, "12345678901234567000"},
		{1e20, "1e+20"},
		{1 << 62, "4611686018427387904"},
		{1e21, "1e+21"},
		{1.5e300, "1.5e+300"},
		{-1e-7, "-1e-7"},
		{0.001, "0.001"},
		{0.0001, "0.0001"},
		{1e-5, "0.00001"},
		{1e-6, "0.000001"},
		{1.5e-7, "1.5e-7"},
		{1.0 / 3, "0.3333333333333333"},
		{math.Inf(1), "inf"},
		{math.Inf(-1), "-inf"},
		{math.MaxFloat64, "1.7976931348623157e+308"},
		{5e-324, "5e-324"},
		{123456.789, "123456.789"},
	} {
		if got := string(resp.AppendFloat(nil, c.f)); got != c.want {
			t.Errorf("%v: %s, want %s", c.f, got, c.want)
		}
	}
}

func TestAppend(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{string(resp.AppendArray(nil, 12)), "*12\r\n"},
		{string(resp.AppendMap(nil, 2, 3)), "*6\r\n"},
		{string(resp.AppendMap(nil, 3, 3)), "%3\r\n"},
		{string(resp.AppendSet(nil, 2, 3)), "*3\r\n"},
		{string(resp.AppendSet(nil, 3, 3)), "~3\r\n"},
		{string(resp.AppendPush(nil, 2, 3)), "*3\r\n"},
		{string(resp.AppendPush(nil, 3, 3)), ">3\r\n"},
		{string(resp.AppendBulk(nil, []byte("ab"))), "$2\r\nab\r\n"},
		{string(resp.AppendBulkString(nil, "")), "$0\r\n\r\n"},
		{string(resp.AppendInt(nil, -42)), ":-42\r\n"},
		{string(resp.AppendSimple(nil, "OK")), "+OK\r\n"},
		{string(resp.AppendError(nil, "ERR a\r\nb")), "-ERR a  b\r\n"},
		{string(resp.AppendNull(nil, 2)), "$-1\r\n"},
		{string(resp.AppendNull(nil, 3)), "_\r\n"},
		{string(resp.AppendNullArray(nil, 2)), "*-1\r\n"},
		{string(resp.AppendNullArray(nil, 3)), "_\r\n"},
		{string(resp.AppendDouble(nil, 2, 1.5)), "$3\r\n1.5\r\n"},
		{string(resp.AppendDouble(nil, 3, 1.5)), ",1.5\r\n"},
		{string(resp.AppendBool(nil, 2, true)), ":1\r\n"},
		{string(resp.AppendBool(nil, 3, false)), "#f\r\n"},
		{string(resp.AppendVerbatim(nil, 2, "a")), "$1\r\na\r\n"},
		{string(resp.AppendVerbatim(nil, 3, "a")), "=5\r\ntxt:a\r\n"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

func FuzzParseCommand(f *testing.F) {
	f.Add([]byte(mixed))
	f.Add([]byte("*1048576\r\n$536870912\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		args, n, err := resp.ParseCommand(b, nil)
		if cap(args) > len(b)+16 {
			t.Fatalf("%d arguments of room for %d bytes", cap(args), len(b))
		}
		if err != nil {
			return
		}
		again, _, err := resp.ParseCommand(resp.AppendCommand(nil, words(args)...), nil)
		if n > len(b) || err != nil || !slices.Equal(words(args), words(again)) {
			t.Fatalf("%q, written and read again: %q %v", args, again, err)
		}
	})
}

// The boundaries of the reads change neither the commands nor the error after them.
func FuzzReader(f *testing.F) {
	f.Add([]byte(mixed), uint8(3))
	f.Add([]byte("*1\r\n$536870912\r\nabc"), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		read := func(src io.Reader) (all []string, wire int) {
			r := resp.NewReader(src, 512+int(size))
			for {
				args, raw, err := r.ReadCommand()
				wire += len(raw)
				if err != nil {
					return append(all, err.Error()), wire
				}
				all = append(all, strconv.Itoa(len(args)))
				all = append(all, words(args)...)
			}
		}
		whole, n := read(bytes.NewReader(b))
		cut, m := read(iotest.OneByteReader(bytes.NewReader(b)))
		if !slices.Equal(whole, cut) || n != m || n > len(b) {
			t.Fatalf("whole: %q (%d bytes)\n cut: %q (%d bytes)", whole, n, cut, m)
		}
	})
}

func BenchmarkParseCommand(b *testing.B) {
	wire := resp.AppendCommand(nil, "HSET", "users:0000000001", "id", "1", "name", "name-1",
		"email", "someone@example.com", "country", "SE", "status", "active", "created",
		"2024-01-01 00:00:00")
	var args [][]byte
	b.SetBytes(int64(len(wire)))
	for b.Loop() {
		args, _, _ = resp.ParseCommand(wire, args)
	}
}

// The reader accounts for its memory before it grows, including that of empty arguments, and
// releases it between commands.
func TestReaderAccountsForItsMemory(t *testing.T) {
	const count = 100_000
	wire := []byte(
		fmt.Sprintf("*%d\r\n", count) + strings.Repeat("$0\r\n\r\n",
			count) + "*1\r\n$4\r\nPING\r\n",
	)
	most, now := 0, 0
	r := resp.NewReader(bytes.NewReader(wire), 512)
	r.SetAccount(func(held int) error {
		most, now = max(most, held), held
		return nil
	})
	if args, _, err := r.ReadCommand(); err != nil || len(args) != count {
		t.Fatalf("%d arguments, %v", len(args), err)
	}
	if least := len(wire) + 30*count; most < least {
		t.Errorf("the reader counted %d bytes, want %d at least", most, least)
	}
	if args, _, err := r.ReadCommand(); err != nil || len(args) != 1 {
		t.Fatalf("%q, %v", args, err)
	}
	if _, _, err := r.ReadCommand(); !errors.Is(err, io.EOF) || now != 0 {
		t.Errorf("the reader counts %d bytes at the end, %v", now, err)
	}

	full := errors.New("full")
	r = resp.NewReader(bytes.NewReader(wire), 512)
	r.SetAccount(func(held int) error {
		if held > 1<<20 {
			return full
		}
		return nil
	})
	if _, _, err := r.ReadCommand(); !errors.Is(err, full) {
		t.Errorf("past the limit: %v", err)
	}
}

func TestIsWord(t *testing.T) {
	for arg, want := range map[string]bool{
		"ack": true, "ACK": true, "aCk": true, "ac": false, "acks": false, "": false,
	} {
		if got := resp.IsWord([]byte(arg), "ACK"); got != want {
			t.Errorf("%q: %v", arg, got)
		}
	}
}
