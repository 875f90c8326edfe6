package upstream_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rowfall/replication/replog"
	"rowfall/replication/resp"
	"rowfall/replication/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a master that replies to the lines of script ("command > reply") in order. It then
// sends rest, and keeps the connection open until the test ends.
func serve(t *testing.T, script []string, rest string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r := resp.NewReader(conn, 512)
		for _, step := range script {
			want, reply, _ := strings.Cut(step, " > ")
			args, _, err := r.ReadCommand()
			if err != nil {
				t.Errorf("master: got %v, want %q", err, want)
				return
			}
			var got []string
			for _, a := range args {
				got = append(got, string(a))
			}
			if strings.Join(got, " ") != want {
				t.Errorf("master got %q, want %q", got, want)
			}
			_, _ = fmt.Fprint(conn, reply+"\r\n")
		}
		_, _ = fmt.Fprint(conn, rest)
		_, _ = io.Copy(io.Discard, conn)
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

var handshake = []string{
	"PING > -NOAUTH Authentication required.",
	"AUTH joe secret > +OK",
	"REPLCONF listening-port 7000 > -ERR Unrecognized REPLCONF option: listening-port",
	"REPLCONF version 9.1.0 > -ERR Unrecognized REPLCONF option: version",
	"REPLCONF capa eof capa psync2 capa rdb-listpack > +OK",
}

func dial(t *testing.T, addr string) *upstream.Link {
	t.Helper()
	l, err := upstream.Dial(
		context.Background(),
		upstream.Config{
			Addr: addr, User: "joe", Password: "secret", ListenPort: 7000,
			Timeout: 5 * time.Second,
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

const (
	id    = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	other = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestPSync(t *testing.T) {
	for _, tc := range []struct {
		id    string
		reply string
		asked string
		want  upstream.Sync
		fault string
	}{
		{id, "+CONTINUE", id + " 101", upstream.Sync{}, ""},
		{id, "\n\n+CONTINUE " + other, id + " 101", upstream.Sync{ID: other}, ""},
		{
			"", "\n+FULLRESYNC " + other + " 55", "? -1",
			upstream.Sync{Full: true, ID: other, Offset: 55},
			"",
		},
		{id, "-NOMASTERLINK wait", id + " 101", upstream.Sync{}, "NOMASTERLINK"},
		{id, "+FULLRESYNC " + other + " -1", id + " 101", upstream.Sync{}, "FULLRESYNC"},
		{id, "+PONG", id + " 101", upstream.Sync{}, "PONG"},
		{id, "  ", id + " 101", upstream.Sync{}, `replied "  "`}, // once a panic
	} {
		l := dial(
			t, serve(t,
				append(handshake[:len(handshake):len(handshake)], "PSYNC "+tc.asked+" > "+tc.reply),
				""),
		)
		got, err := l.PSync(tc.id, 100, false)
		if tc.fault != "" {
			if err == nil || !strings.Contains(err.Error(), tc.fault) {
				t.Errorf("%q gives %v", tc.reply, err)
			}
			continue
		}
		if err != nil || got != tc.want {
			t.Errorf("%q gives %+v, %v", tc.reply, got, err)
		}
	}
}

// Records are bytes of the stream. All commands from MULTI to EXEC are one record.
func TestNext(t *testing.T) {
	set := string(resp.AppendCommand(nil, "SET", "k", "v"))
	multi := string(resp.AppendCommand(nil, "multi")) + set + "*1\r\n$4\r\nping\r\n" + string(
		resp.AppendCommand(nil, "EXEC"),
	)
	getAck := string(resp.AppendCommand(nil, "REPLCONF", "GETACK", "*"))
	sel, ping := string(resp.AppendCommand(nil, "SELECT", "0")), string(
		resp.AppendCommand(nil, "PING"),
	)
	type record struct {
		kind replog.Kind
		text string
	}
	want := []record{
		{replog.Select, sel},
		{replog.Unit, multi},
		{replog.Ping, ping},
		{replog.GetAck, getAck},
		{replog.Unit, set},
	}
	sent := ""
	for _, r := range want {
		sent += r.text
	}
	l := dial(t, serve(t, handshake, sent+"\n"))
	var got []record
	var b upstream.Batch
	for len(got) < len(want) {
		if err := l.Next(&b); err != nil {
			t.Fatal(err)
		}
		for last := replog.Kind(0); b.Len() > 0; b.Discard(1) {
			if last == replog.GetAck {
				t.Error("a batch continues after a GETACK")
			}
			last = b.Kind(0)
			got = append(got, record{last, string(b.First(1))})
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if err := l.Next(&b); err == nil {
		t.Error("an empty line inside the stream is no error")
	}
}

func TestSnapshotThenStream(t *testing.T) {
	ping := string(resp.AppendCommand(nil, "PING"))
	l := dial(
		t, serve(t,
			append(handshake[:len(handshake):len(handshake)], "PSYNC ? -1 > +FULLRESYNC "+id+" 7"),
			"\n\n$5\r\nhello"+ping),
	)
	if _, err := l.PSync("", 0, false); err != nil {
		t.Fatal(err)
	}
	p, err := l.Payload()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(bufio.NewReader(p))
	if err != nil || string(got) != "hello" {
		t.Fatalf("got %q, %v", got, err)
	}
	var b upstream.Batch
	if err := l.Next(&b); err != nil {
		t.Fatal(err)
	}
}

func TestRefused(t *testing.T) {
	addr := serve(t, []string{"PING > +PONG", "AUTH joe secret > -WRONGPASS no"}, "")
	_, err := upstream.Dial(context.Background(),
		upstream.Config{Addr: addr, User: "joe", Password: "secret", Timeout: 5 * time.Second})
	if err == nil || !strings.Contains(err.Error(), addr) ||
		!strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("got %v", err)
	}
}

// Servers limit the arguments of a command only by its length. The limit for this node's clients
// once applied to the stream, too, and the link failed again after every reconnect.
func TestCommandOfManyArguments(t *testing.T) {
	many := resp.AppendArray(nil, resp.MaxArgs+10)
	many = append(many, strings.Repeat("$1\r\nx\r\n", resp.MaxArgs+10)...)
	l := dial(t, serve(t, handshake, string(many)))
	var b upstream.Batch
	if err := l.Next(&b); err != nil || b.Len() != 1 || len(b.First(1)) != len(many) {
		t.Fatalf("%d records, %v", b.Len(), err)
	}
	if args, n, err := resp.ParseCommand(b.First(1), nil); err != nil || n != len(many) ||
		len(args) != resp.MaxArgs+10 {
		t.Errorf("%d arguments in %d bytes, %v", len(args), n, err)
	}
}

// Invalid data is distinguished from a broken connection.
func TestContentError(t *testing.T) {
	var content *upstream.ContentError
	for sent, want := range map[string]bool{
		"PING\r\n": true, "*1\r\n$999999999999\r\n": true, "*x\r\n": true, "": false,
	} {
		l := dial(t, serve(t, handshake, sent))
		if sent == "" {
			l.Close()
		}
		if err := l.Next(new(upstream.Batch)); err == nil || errors.As(err, &content) != want {
			t.Errorf("%q gives %v", sent, err)
		}
	}
}

// The TLS handshake once happened at the first write, without a deadline: a server that accepted
// connections and never replied blocked the node until a restart.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts; no process replies
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for name, config := range map[string]*tls.Config{"plain": nil, "TLS": {ServerName: "x"}} {
		_, err := upstream.Dial(ctx,
			upstream.Config{Addr: l.Addr().String(), Timeout: 50 * time.Millisecond, TLS: config})
		if !errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
