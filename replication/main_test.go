package replication_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"rowfall/internal/servers/servertest"
	"rowfall/replication"
	"rowfall/replication/replog"
	"rowfall/replication/resp"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	if os.Getenv(memberEnv) != "" {
		member()
		return
	}
	if os.Getenv(followersEnv) != "" {
		followersChild()
		return
	}
	goleak.VerifyTestMain(m)
}

const patience = 20 * time.Second

// eventually waits for ok, looking again whenever something may have changed.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func config(t *testing.T) replication.Config {
	level := zerolog.WarnLevel
	if testing.Verbose() {
		level = zerolog.InfoLevel
	}
	return replication.Config{
		Listen: "127.0.0.1:0", Dir: t.TempDir(),
		Log: replog.Config{Memory: 1 << 20, SegmentSize: 1 << 20},
		Logger: zerolog.New(zerolog.ConsoleWriter{Out: zerolog.NewTestWriter(t), NoColor: true}).
			Level(level),
	}
}

// start opens and runs a node until the test ends or stop is called.
func start(t *testing.T, c replication.Config) (n *replication.Node, stop func()) {
	t.Helper()
	n, err := replication.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return n, run(t, n)
}

// run runs a node that was opened until the test ends or stop is called.
func run(t *testing.T, n *replication.Node) (stop func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- n.Run(context.Background()) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-done; err != nil && !errors.Is(err, replication.ErrClosed) {
			t.Errorf("run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// complete is start for a master that may be followed.
func complete(t *testing.T, c replication.Config) (*replication.Node, func()) {
	t.Helper()
	n, stop := start(t, c)
	n.SetComplete(true)
	return n, stop
}

func unit(args ...string) []byte { return resp.AppendCommand(nil, args...) }

func atomically(commands ...[]byte) []byte {
	return append(append(unit("MULTI"), bytes.Join(commands, nil)...), unit("EXEC")...)
}

func apply(t *testing.T, n *replication.Node, units ...[]byte) replog.Offset {
	t.Helper()
	_, term := n.Role()
	var at replog.Offset
	for _, u := range units {
		var err error
		if at, err = n.Apply(context.Background(), term, u); err != nil {
			t.Fatal(err)
		}
	}
	return at
}

// fill writes rows and all kinds of values, many at a time.
func fill(t *testing.T, n *replication.Node, prefix string, rows int) {
	t.Helper()
	for i := range rows {
		id := fmt.Sprintf("%s:%d", prefix, i)
		apply(t, n, atomically(
			unit("HSET", id, "id", fmt.Sprint(i), "name", "row "+id, "empty", "", "bin",
				"\x00\r\n\xff"),
			unit("SET", "string:"+id, strings.Repeat("v", i%200)),
			unit("SADD", "set:"+prefix, id),
			unit("ZADD", "zset:"+prefix, fmt.Sprint(float64(i)/3), id),
		))
	}
	apply(t, n, unit("PEXPIREAT", fmt.Sprintf("%s:%d", prefix, rows-1), "4102444800000"))
}

func client(t *testing.T, addr string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: addr, DialTimeout: 5 * time.Second, MaxRetries: -1})
	t.Cleanup(func() { c.Close() })
	return c
}

// contents is everything that a server holds, as text; keys of the hidden prefix
// are not seen.
func contents(ctx context.Context, c *redis.Client) (map[string]string, error) {
	all := map[string]string{}
	iter := c.Scan(ctx, 0, "*", 1000).Iterator()
	for iter.Next(ctx) {
		key := iter.Val()
		kind, err := c.Type(ctx, key).Result()
		if err != nil {
			return nil, err
		}
		var v any
		switch kind {
		case "string":
			v, err = c.Get(ctx, key).Result()
		case "hash":
			v, err = c.HGetAll(ctx, key).Result()
		case "set":
			v, err = c.SMembersMap(ctx, key).Result()
		case "list":
			v, err = c.LRange(ctx, key, 0, -1).Result()
		case "stream":
			v, err = c.XRange(ctx, key, "-", "+").Result()
		case "zset":
			v, err = c.ZRangeWithScores(ctx, key, 0, -1).Result()
		}
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", kind, key, err)
		}
		at, err := servertest.ExpireTime(
			func(args ...any) (int64, error) { return c.Do(ctx, args...).Int64() }, key,
		)
		if err != nil {
			return nil, err
		}
		all[key] = fmt.Sprintf("%s %v expires %d", kind, v, at)
	}
	return all, iter.Err()
}

// equal waits until both hold the same.
func equal(t *testing.T, a, b string) {
	t.Helper()
	ca, cb := client(t, a), client(t, b)
	var diff string
	defer func() {
		if t.Failed() {
			t.Log(diff)
		}
	}()
	eventually(t, a+" and "+b+" hold the same", func() bool {
		x, err := contents(t.Context(), ca)
		if err != nil {
			t.Fatal(err)
		}
		y, err := contents(t.Context(), cb)
		if err != nil {
			diff = err.Error()
			return false
		}
		diff = fmt.Sprintf("%d and %d keys", len(x), len(y))
		for k, v := range x {
			if y[k] != v {
				diff += fmt.Sprintf("; %s: %.200q and %.200q", k, v, y[k])
				return false
			}
		}
		return len(x) == len(y)
	})
}

// raw is a connection without a client library.
type raw struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dialRaw(t *testing.T, addr string) *raw {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &raw{t, conn, bufio.NewReader(conn)}
}

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

// command reads one command that the other side sends.
func (r *raw) command() []string {
	r.t.Helper()
	var n int
	if _, err := fmt.Sscanf(r.line(), "*%d", &n); err != nil {
		r.t.Fatal(err)
	}
	args := make([]string, n)
	for i := range args {
		r.line()
		args[i] = r.line()
	}
	return args
}

// handshake answers what a replica sends before its PSYNC, which it returns.
func (r *raw) handshake() []string {
	r.t.Helper()
	for {
		words := r.command()
		if len(words) == 0 || strings.EqualFold(words[0], "PSYNC") {
			return words
		}
		if _, err := r.Write([]byte("+OK\r\n")); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *raw) send(args ...string) {
	r.t.Helper()
	if _, err := r.Write(unit(args...)); err != nil {
		r.t.Fatal(err)
	}
}

// line reads a line without its end.
func (r *raw) line() string {
	r.t.Helper()
	s, err := r.r.ReadString('\n')
	if err != nil {
		r.t.Fatalf("read line: %v after %q", err, s)
	}
	return strings.TrimRight(s, "\r\n")
}

// reply is the first line that is not empty.
func (r *raw) reply() string {
	for {
		if s := r.line(); s != "" {
			return s
		}
	}
}

func (r *raw) do(args ...string) string {
	r.t.Helper()
	r.send(args...)
	return r.line()
}

func (r *raw) expect(want string) {
	r.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r.r, got); err != nil || string(got) != want {
		r.t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

func snapshotsIn(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "snapshot-*.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}
