package resp_test

import (
	"bytes"
	"errors"
	"testing"

	"rowfall/replication/resp"
)

func TestParseReply(t *testing.T) {
	b := resp.AppendArray(nil, 6)
	b = resp.AppendBulkString(b, "cursor")
	b = resp.AppendArray(b, 2)
	b = resp.AppendBulkString(b, "")
	b = resp.AppendNull(b, 2)
	b = resp.AppendInt(b, -7)
	b = resp.AppendSimple(b, "OK")
	b = resp.AppendError(b, "ERR no")
	b = resp.AppendNullArray(b, 2)
	r, n, err := resp.ParseReply(append(b, "rest"...))
	if err != nil || n != len(b) || len(r.Elements) != 6 {
		t.Fatalf("parsed %d of %d bytes: %+v, %v", n, len(b), r, err)
	}
	e := r.Elements
	if string(e[0].Text) != "cursor" || len(e[1].Elements) != 2 || e[1].Elements[0].Null ||
		!e[1].Elements[1].Null || e[2].Int != -7 || string(e[3].Text) != "OK" || !e[5].Null {
		t.Errorf("parsed as %+v", r)
	}
	if err := e[4].Err(); err == nil || err.Error() != "ERR no" || e[3].Err() != nil {
		t.Errorf("the error reply is %v", err)
	}
	for i := range b {
		if _, _, err := resp.ParseReply(b[:i]); !errors.Is(err, resp.ErrIncomplete) {
			t.Fatalf("%d of %d bytes: %v", i, len(b), err)
		}
	}
}

// Any input is a reply, incomplete, or an error; its memory does not follow announced lengths.
func FuzzParseReply(f *testing.F) {
	f.Add([]byte("*2\r\n$1\r\na\r\n:1\r\n"))
	f.Add([]byte("*2147483647\r\n"))
	f.Add(bytes.Repeat([]byte("*1\r\n"), 100))
	f.Add([]byte("$-2\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, n, err := resp.ParseReply(b)
		var fault *resp.ProtocolError
		switch {
		case err == nil && (n < 3 || n > len(b)):
			t.Fatalf("%q: %+v of %d bytes", b, r, n)
		case err != nil && !errors.Is(err, resp.ErrIncomplete) && !errors.As(err, &fault):
			t.Fatalf("%q: %v", b, err)
		}
	})
}
