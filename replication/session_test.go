package replication_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"rowfall/replication"
)

// Each line is a command and the first line of its reply.
func TestConnectionCommands(t *testing.T) {
	n, _ := start(t, config(t))
	apply(t, n, unit("SET", "k", "v"))
	const (
		notInteger = "value is not an integer or out of range"
		badName    = "-ERR Client names cannot contain spaces, newlines or special characters."
		noPassword = "-ERR AUTH <password> called without any password configured for the " +
			"default user. Are you sure your configuration is correct?"
		readOnly  = "-READONLY You can't write against a read only replica."
		discarded = "-EXECABORT Transaction discarded because of previous errors."
	)
	tooFew := func(command string) string {
		return "-ERR wrong number of arguments for '" + command + "' command"
	}
	for _, script := range [][][2]string{
		{{"PING", "+PONG"}, {"PING hi", "$2"}, {"ECHO hi", "$2"}, {"QUIT", "+OK"}},
		{
			{"SELECT 0", "+OK"},
			{"SELECT 1", "-ERR DB index is out of range"},
			{"SELECT x", "-ERR " + notInteger},
		},
		{{"READONLY", "+OK"}, {"READWRITE", "+OK"}, {"ASKING", "+OK"}},
		{{"CLIENT SETNAME me", "+OK"}, {"CLIENT SETINFO LIB-NAME x", "+OK"}},
		{{"CLIENT NO-EVICT on", "+OK"}, {"CLIENT NO-TOUCH on", "+OK"}},
		{{"CLIENT SETNAME a\x01b", badName}},
		{{"COMMAND DOCS NOSUCH", "*0"}, {"COMMAND INFO NOSUCH", "*1"}},
		{{"COMMAND LIST FILTERBY MODULE x", "*0"}},
		{{"COMMAND LIST FILTERBY PATTERN hget*", "*3"}},
		{{"GET", tooFew("get")}, {"EcHo", tooFew("echo")}},
		{
			{"HELLO 4", "-NOPROTO unsupported protocol version"},
			{"HELLO x", "-ERR Protocol version is not an integer or out of range"},
			{"HELLO 3", "%7"},
		},
		{{"AUTH x", noPassword}},
		{{"DEL k", readOnly}, {"set k v", readOnly}},
		{
			{"MULTI", "+OK"},
			{"GET k", "+QUEUED"},
			{"MULTI", "-ERR MULTI calls can not be nested"},
			{"DISCARD", "+OK"},
			{"EXEC", "-ERR EXEC without MULTI"},
		},
		{
			{"MULTI", "+OK"},
			{"NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: "},
			{"EXEC", discarded},
		},
		{{"SET k", tooFew("set")}, {"MULTI", "+OK"}, {"GET", tooFew("get")}, {"EXEC", discarded}},
		{{"MULTI", "+OK"}, {"SET k w", readOnly}, {"EXEC", discarded}},
		{
			{"CONFIG SET maxclients 100", "+OK"},
			{
				"CONFIG SET nosuch 1",
				"-ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'",
			},
			{"CONFIG REWRITE", "+OK"},
		},
		{
			{"REPLICAOF x y", "-ERR Invalid master port"},
			{"REPLICAOF no one", "+OK"},
			{"SLAVEOF NO ONE", "+OK"},
		},
		{
			{"REPLCONF ip-address", "-ERR syntax error"},
			{"REPLCONF nosuch 1", "-ERR Unrecognized REPLCONF option: nosuch"},
			{"REPLCONF capa x capa y version 9", "+OK"},
		},
		{
			{"WAIT 0 0", ":0"},
			{"WAIT -1 0", "-ERR value is out of range, must be positive"},
			{"SAVE", "+OK"},
			{"BGSAVE", "+Background saving started"},
		},
		{
			{"RESET", "+RESET"},
			{"CLIENT KILL 1.2.3.4:5", "-ERR No such client"},
			{"PSYNC ? -1 FAILOVER", "-ERR PSYNC FAILOVER can't be sent to a master."},
		},
	} {
		r := dialRaw(t, n.Addr())
		for _, step := range script {
			if got := r.do(strings.Fields(step[0])...); got != step[1] {
				t.Errorf("%q gets %q, want %q", step[0], got, step[1])
			}
			for range r.r.Buffered() { // the rest of a longer reply
				r.r.ReadByte() //nolint:errcheck // the byte is buffered
			}
		}
		r.Close()
	}
}

func TestAuthentication(t *testing.T) {
	c := config(t)
	c.Password = "secret"
	n, _ := start(t, c)
	r := dialRaw(t, n.Addr())
	for _, step := range [][2]string{
		{"GET k", "-NOAUTH Authentication required."},
		{"PSYNC ? -1", "-NOAUTH Authentication required."},
		{"AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled."},
		{"AUTH nobody secret", "-WRONGPASS invalid username-password pair or user is disabled."},
		{"AUTH default secret", "+OK"},
		{"EXISTS k", ":0"},
		{"RESET", "+RESET"},
		{"GET k", "-NOAUTH Authentication required."},
		{"HELLO 3 AUTH default secret SETNAME x", "%7"},
	} {
		if got := r.do(strings.Fields(step[0])...); got != step[1] {
			t.Errorf("%q gets %q, want %q", step[0], got, step[1])
		}
	}
	// Before authentication a client cannot make the node allocate much memory.
	r = dialRaw(t, n.Addr())
	if got := r.do("AUTH", strings.Repeat("x", 20_000)); !strings.HasPrefix(got,
		"-ERR Protocol error") {
		t.Errorf("got %q", got)
	}
	// With the password, a replica node connects, and go-redis in both protocols.
	n.SetComplete(true)
	rc := config(t)
	rc.ReplicaOf, rc.MasterPassword, rc.MasterUser = n.Addr(), "secret", "default"
	rep, _ := start(t, rc)
	online(t, rep)
	for proto := 2; proto <= 3; proto++ {
		c := redis.NewClient(&redis.Options{Addr: n.Addr(), Password: "secret", Protocol: proto})
		if err := c.Ping(t.Context()).Err(); err != nil {
			t.Error(err)
		}
		c.Close()
	}
}

// A node reads the password for its upstream for each link, so that it may change. CONFIG SET
// overrides the password of the configuration.
func TestPasswordOfUpstreamIsRead(t *testing.T) {
	c := config(t)
	c.Password = "second"
	n, _ := start(t, c)
	n.SetComplete(true)
	var links atomic.Int64
	rc := config(t)
	rc.ReplicaOf, rc.MasterPassword = n.Addr(), "first"
	rc.ReadMasterPassword = func() (string, error) {
		switch links.Add(1) {
		case 1:
			return "first", nil
		case 2:
			return "", errors.New("read ${file:/run/secrets/node}: no such file")
		}
		return "second", nil
	}
	rep, _ := start(t, rc)
	online(t, rep)
	if links.Load() != 3 {
		t.Errorf("the password was read for %d links", links.Load())
	}

	rc = config(t)
	rc.ReplicaOf, rc.MasterPassword = n.Addr(), "first"
	rc.ReadMasterPassword = func() (string, error) {
		return "", errors.New("read ${file:/run/secrets/node}: no such file")
	}
	rep, _ = start(t, rc)
	eventually(t, "the error names the file", func() bool {
		return strings.Contains(rep.Status().Upstream.Err, "${file:/run/secrets/node}")
	})
	set := client(t, rep.Addr()).Do(t.Context(), "CONFIG", "SET", "masterauth", "second")
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	online(t, rep)
}

// The replies of a pipeline come in order, also when a later command is not RESP.
func TestPipelineAndBrokenInput(t *testing.T) {
	n, _ := start(t, config(t))
	apply(t, n, unit("SET", "k", "v"))
	r := dialRaw(t, n.Addr())
	if _, err := r.Write([]byte("PING\r\n\r\nGET k\r\n*2\r\n$3\r\nGET\r\n$x\r\n")); err != nil {
		t.Fatal(err)
	}
	r.expect("+PONG\r\n$1\r\nv\r\n-ERR Protocol error: invalid bulk length\r\n")
	if _, err := r.r.ReadByte(); err != io.EOF {
		t.Errorf("the connection stays open: %v", err)
	}
}

// A reply does not wait for the rest of a later command, of which only a part has arrived.
func TestReplyBeforePartOfCommand(t *testing.T) {
	n, _ := start(t, config(t))
	r := dialRaw(t, n.Addr())
	for range 20 {
		if _, err := r.Write([]byte("PING\r\n*2\r\n$4\r\nECHO\r\n$4\r\nte")); err != nil {
			t.Fatal(err)
		}
		r.expect("+PONG\r\n")
		if _, err := r.Write([]byte("xt\r\n")); err != nil {
			t.Fatal(err)
		}
		r.expect("$4\r\ntext\r\n")
	}
}

// heap returns the bytes that Go has mapped, without stacks.
func heap() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapSys)
}

// FuzzSession sends arbitrary bytes to a session. The session ends with the connection, the node
// keeps running, and announced lengths allocate no memory.
func FuzzSession(f *testing.F) {
	for _, s := range []string{
		"REPLCONF listening-port 1 ip-address x capa eof capa psync2 version 8.0.0\r\n" +
			"PSYNC ? -1\r\nREPLCONF ACK 5\r\n",
		"REPLCONF rdb-only 1 rdb-filter-only functions\r\nSYNC\r\n",
		"PSYNC " + unknownID + " -9223372036854775808\r\n",
		"CLIENT KILL SKIPME no ID 1\r\nCLIENT LIST TYPE replica\r\n" +
			"CLIENT SETINFO LIB-NAME x\r\n",
		"CONFIG SET repl-timeout 1 maxclients 1\r\nCONFIG GET *\r\n",
		"MULTI\r\nGET k\r\nKEYS *\r\nMGET k k k\r\nWAIT 1 0\r\nINFO all\r\nEXEC\r\n",
		"HELLO 3 AUTH a b SETNAME c\r\nRESET\r\nAUTH x\r\n",
		"SRANDMEMBER s -9223372036854775807\r\nZRANDMEMBER z -999999999 WITHSCORES\r\n" +
			"HRANDFIELD h -4611686018427387904 WITHVALUES\r\n",
		"SCAN 0 COUNT 9223372036854775807\r\nGETRANGE k -1 9223372036854775807\r\n" +
			"SUBSTR k 0 536870912\r\nLCS k k IDX\r\n",
		"WAITAOF 1 1 10\r\nROLE\r\nCOMMAND LIST\r\n*1\r\n$4\r\nSAVE\r\n",
		"*1048576\r\n$536870912\r\n",
		"*-1\r\n*0\r\nMULTI\r\nEXEC\r\nDISCARD\r\n",
	} {
		f.Add([]byte(s))
	}
	n, err := replication.Open(
		replication.Config{Listen: "127.0.0.1:0", Dir: f.TempDir(), Timeout: time.Second},
	)
	if err != nil {
		f.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(context.Background()) }()
	f.Cleanup(func() {
		if err := errors.Join(n.Close(), <-done); err != nil {
			f.Error(err)
		}
	})
	n.SetComplete(true)
	_, term := n.Role()
	some := atomically(unit("SET", "k", "v"), unit("SADD", "s", "a", "b"),
		unit("ZADD", "z", "1", "a"), unit("HSET", "h", "f", "v"))
	if _, err := n.Apply(context.Background(), term, some); err != nil {
		f.Fatal(err)
	}
	before := heap()
	f.Fuzz(func(t *testing.T, b []byte) {
		if upper := bytes.ToUpper(b); len(b) > 64<<10 ||
			bytes.Contains(upper, []byte("REPLICAOF")) ||
			bytes.Contains(upper, []byte("SLAVEOF")) ||
			bytes.Contains(upper, []byte("FAILOVER")) {
			return // the node would connect to an arbitrary address
		}
		conn, _ := serve(t, n, net.IPv4(127, 0, 0, 1))
		var reader sync.WaitGroup
		reader.Go(func() {
			io.Copy(io.Discard, conn) //nolint:errcheck // ends with the connection
		})
		conn.Write(b) //nolint:errcheck // the connection may be closed
		conn.Close()
		reader.Wait()
		if grown := heap() - before; grown > 256<<20 {
			t.Fatalf("the heap grew by %d MiB, last for %q", grown>>20, b)
		}
	})
}
