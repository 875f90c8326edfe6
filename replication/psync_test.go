package replication_test

import (
	"io"
	"strconv"
	"strings"
	"testing"

	"rowfall/replication/replog"
)

const unknownID = "0123456789012345678901234567890123456789"

func TestIncompleteNodeAnswersLoading(t *testing.T) {
	n, _ := start(t, config(t))
	r := dialRaw(t, n.Addr())
	for range 2 { // the connection stays open
		if got := r.do("PSYNC", unknownID, "1"); !strings.HasPrefix(got, "-LOADING ") {
			t.Errorf("PSYNC gets %q", got)
		}
	}
	if got := r.do("SYNC"); !strings.HasPrefix(got, "-LOADING ") {
		t.Errorf("SYNC gets %q", got)
	}
	n.SetComplete(true)
	psync(r, "?", "-1")
	if st := n.Status(); st.FullSyncs != 1 || st.PartialsRejected != 0 {
		t.Errorf("got %+v", st)
	}
}

func TestWrongOffsetIsAnErrorAndNoReplica(t *testing.T) {
	n, _ := complete(t, config(t))
	r := dialRaw(t, n.Addr())
	got := r.do("PSYNC", unknownID, "offset")
	if got != "-ERR value is not an integer or out of range" {
		t.Errorf("got %q", got)
	}
	if len(n.Status().Replicas) != 0 {
		t.Error("the client became a replica")
	}
}

// The stream after a snapshot starts with SELECT and holds exactly the applied bytes. A partial
// resync may start at each of its bytes.
func TestPartialResyncAtEveryByte(t *testing.T) {
	n, _ := complete(t, config(t))
	apply(t, n, unit("SET", "before", "1"))
	r := dialRaw(t, n.Addr())
	from := psync(r, "?", "-1")
	if from != n.Offset() {
		t.Fatalf("the snapshot is of %d, the log ends at %d", from, n.Offset())
	}
	units := []string{
		string(unit("SET", "a", "1")),
		string(atomically(unit("SET", "b", "\r\n"), unit("DEL", "a"))),
		string(unit("SET", "c", "3")),
	}
	for _, u := range units {
		apply(t, n, []byte(u))
	}
	want := string(unit("SELECT", "0")) + strings.Join(units, "")
	r.expect(want)
	if n.Offset() != from+replog.Offset(len(want)) {
		t.Fatalf("offset %d, want %d", n.Offset(), int(from)+len(want))
	}
	id := n.Status().ID
	for skip := 0; skip <= len(want); skip += 7 {
		r := dialRaw(t, n.Addr())
		r.do("REPLCONF", "capa", "psync2")
		r.send("PSYNC", strings.ToUpper(id), strconv.FormatInt(int64(from)+1+int64(skip), 10))
		if got := r.line(); got != "+CONTINUE "+id {
			t.Fatalf("after %d bytes: %q", skip, got)
		}
		r.expect(want[skip:])
		r.Close()
	}
	// An offset one byte after the end gets a full resync.
	r = dialRaw(t, n.Addr())
	if at := psync(r, id, strconv.FormatInt(int64(n.Offset())+2, 10)); at != from {
		t.Errorf("the snapshot was not used again: got offset %d, want %d", at, from)
	}
	r.expect(want)
	if st := n.Status(); st.FullSyncs != 2 || st.PartialsRejected != 1 {
		t.Errorf("got %+v", st)
	}
}

// A replica without psync2 expects no id after +CONTINUE.
func TestContinueWithoutPsync2(t *testing.T) {
	n, _ := complete(t, config(t))
	r := dialRaw(t, n.Addr())
	r.send("PSYNC", n.Status().ID, "1")
	r.expect("+CONTINUE\r\n")
}

// redis-cli --rdb sends SYNC and gets only the snapshot.
func TestLegacySync(t *testing.T) {
	n, _ := complete(t, config(t))
	apply(t, n, unit("SET", "k", "v"))
	r := dialRaw(t, n.Addr())
	if got := r.do("REPLCONF", "rdb-only", "1"); got != "+OK" {
		t.Fatal(got)
	}
	if _, err := r.Write([]byte("SYNC\r\n")); err != nil {
		t.Fatal(err)
	}
	size, err := strconv.Atoi(strings.TrimPrefix(r.reply(), "$"))
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size+1)
	if got, _ := r.r.Read(b[:9]); string(b[:got]) != "REDIS0009" {
		t.Errorf("got %q", b[:got])
	}
	for left := size - 9; left > 0; {
		got, err := r.r.Read(b[:left])
		if err != nil {
			t.Fatal(err)
		}
		left -= got
	}
	if _, err := r.r.ReadByte(); err == nil {
		t.Error("the connection stays open")
	}
}

// psync performs the handshake and reads the reply, and after +FULLRESYNC also the snapshot. It
// returns the offset at which the stream continues.
func psync(r *rawConn, id, offset string) replog.Offset {
	r.t.Helper()
	for _, c := range [][]string{
		{"PING"},
		{"REPLCONF", "listening-port", "7777"},
		{"REPLCONF", "capa", "psync2", "capa", "nonsense"},
	} {
		if got := r.do(c...); got != "+OK" && got != "+PONG" {
			r.t.Fatalf("%v gets %q", c, got)
		}
	}
	r.send("PSYNC", id, offset)
	f := strings.Fields(r.reply())
	switch f[0] {
	case "+CONTINUE":
		first, _ := replog.ParseOffset(offset)
		return first - 1
	case "+FULLRESYNC":
		size, err := strconv.ParseInt(strings.TrimPrefix(r.reply(), "$"), 10, 64)
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, r.r, size); err != nil {
			r.t.Fatal(err)
		}
		at, err := replog.ParseOffset(f[2])
		if err != nil || len(f[1]) != 40 {
			r.t.Fatalf("got %q", f)
		}
		return at
	}
	r.t.Fatalf("PSYNC gets %q", f)
	return 0
}
