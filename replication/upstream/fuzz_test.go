package upstream

import (
	"bytes"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"rowfall/replication/replog"
	"rowfall/replication/resp"
)

func FuzzParseSync(f *testing.F) {
	for _, line := range []string{
		"+CONTINUE", "+CONTINUE " + string(mark), "+FULLRESYNC " + string(mark) + " 55", " ", "+",
		"+PONG", "+FULLRESYNC  x 9223372036854775807",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		s, err := parseSync(line)
		if err == nil &&
			(s.Offset < 0 || s.Full && s.ID == "" || strings.ContainsAny(s.ID, " \t\r\n")) {
			t.Errorf("%q gives %+v", line, s)
		}
	})
}

// Whatever the boundaries of the reads, a snapshot ends where its framing ends, and the bytes after
// it belong to the stream.
func FuzzPayload(f *testing.F) {
	f.Add([]byte("$5\r\nhello*1\r\n$4\r\nPING\r\n"))
	f.Add([]byte("\n\n$0\r\n"))
	f.Add([]byte("$EOF:" + string(mark) + "\r\nhello" + string(mark)))
	f.Add([]byte("$EOF:" + string(mark) + "\r\n" + string(mark[:39])))
	f.Add([]byte("$9223372036854775807\r\nhello"))
	f.Add([]byte("-ERR BGSAVE failed, replication can't continue\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		l := &Link{r: newReader(iotest.OneByteReader(bytes.NewReader(sent)))}
		p, err := l.Payload()
		if err != nil {
			return
		}
		_, afterDollar, _ := bytes.Cut(sent, []byte("$"))
		_, body, _ := bytes.Cut(afterDollar, []byte("\n"))
		got, err := io.ReadAll(p)
		received, total := p.Progress()
		rest, _ := io.ReadAll(l.r)
		switch {
		case !bytes.HasPrefix(body, got):
			t.Fatalf("of %q it makes %q", sent, got)
		case total >= 0 && (err != nil || int64(len(got)) != min(total, int64(len(body))) ||
			received != int64(len(got)) || !bytes.Equal(rest, body[len(got):])):
			t.Fatalf("of %q it makes %q and leaves %q, %v", sent, got, rest, err)
		case total < 0 && err == nil && !bytes.Equal(rest, body[len(got)+markLen:]):
			t.Fatalf("of %q it makes %q and leaves %q", sent, got, rest)
		}
	})
}

// allocated returns the bytes of all allocations so far.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// For every input, the records are its first bytes, and each record is of complete commands. The
// boundaries of the reads have no influence.
func FuzzNext(f *testing.F) {
	ping, set := "*1\r\n$4\r\nping\r\n", string(resp.AppendCommand(nil, "SET", "k", "v"))
	multi, exec := string(resp.AppendCommand(nil, "MULTI")), string(resp.AppendCommand(nil, "EXEC"))
	f.Add(
		[]byte(
			ping + multi + set + ping + exec + string(
				resp.AppendCommand(nil, "REPLCONF", "GETACK", "*"),
			) + set,
		),
	)
	f.Add([]byte(multi + multi + exec + exec))
	f.Add([]byte(set + "PING\r\n" + set))
	f.Add([]byte(ping + "\n"))
	f.Add([]byte("*0\r\n*-1\r\n"))
	f.Add([]byte("*1048577\r\n$536870913\r\n"))
	f.Add([]byte("*1\r\n$4\r\nEX"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		read := func(r io.Reader) (all string, kinds []replog.Kind, fault error) {
			l := &Link{r: newReader(r)}
			for b := (Batch{}); ; {
				if fault = l.Next(&b); fault != nil {
					return all, kinds, fault
				}
				for ; b.Len() > 0; b.Discard(1) {
					whole := b.First(1)
					for rest := whole; len(rest) > 0; {
						_, n, err := resp.ParseCommand(rest, nil)
						if err != nil {
							t.Fatalf("record %q: %v", whole, err)
						}
						rest = rest[n:]
					}
					all, kinds = all+string(whole), append(kinds, b.Kind(0))
				}
			}
		}
		began := allocated()
		whole, kinds, fault := read(bytes.NewReader(sent))
		if got := allocated() - began; got > 4<<20+256*uint64(len(sent)) {
			t.Fatalf("%d bytes took %d of memory, whatever lengths they claim", len(sent), got)
		}
		cut, kindsCut, faultCut := read(iotest.OneByteReader(bytes.NewReader(sent)))
		if !strings.HasPrefix(string(sent), whole) || whole != cut ||
			!slices.Equal(kinds, kindsCut) ||
			fault.Error() != faultCut.Error() {
			t.Fatalf("%q\nwhole: %q %v, %v\n  cut: %q %v, %v", sent, whole, kinds, fault, cut,
				kindsCut, faultCut)
		}
	})
}
