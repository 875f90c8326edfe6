package replication_test

import (
	"io"
	"strings"
	"testing"
)

func TestClientsAreLimitedListedAndKilled(t *testing.T) {
	c := config(t)
	c.MaxClients = 2
	n, _ := start(t, c)
	a, b := dialRaw(t, n.Addr()), dialRaw(t, n.Addr())
	a.do("CLIENT", "SETNAME", "a")
	b.do("CLIENT", "SETNAME", "b")
	third := dialRaw(t, n.Addr())
	if got := third.line(); got != "-ERR max number of clients reached" {
		t.Errorf("got %q", got)
	}
	a.send("CLIENT", "LIST")
	a.line()
	for _, name := range []string{" name=a ", " name=b "} {
		if got := a.line(); !strings.Contains(got, name) ||
			!strings.Contains(got, "addr=127.0.0.1:") {
			t.Errorf("got %q", got)
		}
	}
	a.line()
	for _, step := range [][2]string{
		{"CLIENT KILL MAXAGE 1000", ":0"},
		{"CLIENT KILL USER nobody", ":0"},
		{"CLIENT KILL TYPE pubsub", ":0"},
		{"CLIENT KILL TYPE master", ":0"},
		{"CLIENT KILL TYPE nosuch", "-ERR Unknown client type 'nosuch'"},
		{"CLIENT KILL SKIPME maybe", "-ERR syntax error"},
		{"CLIENT LIST ID x", "-ERR Invalid client ID"},
	} {
		if got := a.do(strings.Fields(step[0])...); got != step[1] {
			t.Errorf("%s gets %q, want %q", step[0], got, step[1])
		}
	}
	a.send("CLIENT", "LIST", "ID", "2", "99")
	a.line()
	if got := a.line(); !strings.HasPrefix(got, "id=2 ") {
		t.Errorf("got %q", got)
	}
	a.line()
	if got := a.do("CLIENT", "KILL", "TYPE", "normal"); got != ":1" {
		t.Errorf("got %q", got)
	}
	if _, err := b.r.ReadByte(); err == nil {
		t.Error("b was not killed")
	}
	if got := a.do("CLIENT", "KILL", "ID", "1", "SKIPME", "no"); got != ":1" {
		t.Errorf("got %q", got)
	}
	if _, err := a.r.ReadByte(); err != io.EOF {
		t.Errorf("a was not closed: %v", err)
	}
}

// For the filters of CLIENT the link to the upstream is a client of type master, as in Redis. Once,
// CLIENT KILL closed the link only if TYPE master was the only filter.
func TestClientKillMaster(t *testing.T) {
	a, _ := complete(t, config(t))
	n, _ := follow(t, a.Addr())
	online(t, n)
	r := dialRaw(t, n.Addr())
	line := func() string {
		return client(t, n.Addr()).Do(t.Context(), "CLIENT", "LIST", "TYPE", "master").String()
	}
	for _, tc := range []struct {
		kill   string
		killed string
	}{
		{"TYPE master", ":1"},
		{"TYPE master SKIPME no", ":1"},
		{"SKIPME yes TYPE master", ":1"},
		{"TYPE master ADDR " + a.Addr(), ":1"},
		{"ADDR " + a.Addr(), ":1"},
		{a.Addr(), "+OK"},
		{"TYPE master ADDR 192.0.2.1:1", ":0"},
		{"TYPE master MAXAGE 100000", ":0"},
		{"TYPE pubsub SKIPME no", ":0"},
	} {
		before := a.Status().PartialSyncs
		if got := line(); !strings.Contains(got, "addr="+a.Addr()) ||
			!strings.Contains(got, "flags=M") {
			t.Errorf("CLIENT LIST TYPE master is %q", got)
		}
		if got := r.do(strings.Fields("CLIENT KILL " + tc.kill)...); got != tc.killed {
			t.Errorf("CLIENT KILL %s gets %q", tc.kill, got)
		}
		if tc.killed != ":0" {
			eventually(t, "the link is a new one",
				func() bool { return a.Status().PartialSyncs > before })
			online(t, n)
		}
	}
}
