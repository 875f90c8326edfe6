package mysql_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rowfall/binlog/mysql"
	"rowfall/binlog/tlsfiles"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// each runs f against a MySQL and a MariaDB.
func each(t *testing.T, f func(t *testing.T, addr string, kind servers.Kind)) {
	for _, kind := range []servers.Kind{servers.MySQL, servers.MariaDB} {
		t.Run(string(kind), func(t *testing.T) {
			db := servertest.Database(t, kind, servers.DatabaseOptions{GTID: true})
			f(t, db.Addr(), kind)
		})
	}
}

func dial(t *testing.T, c mysql.Config) *mysql.Conn {
	t.Helper()
	if c.User == "" {
		c.User = "root"
	}
	conn, err := mysql.Dial(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestServers(t *testing.T) {
	each(t, func(t *testing.T, addr string, kind servers.Kind) {
		t.Run("facts", func(t *testing.T) { testFacts(t, addr, kind) })
		t.Run("session", func(t *testing.T) { testSession(t, addr) })
		t.Run("values", func(t *testing.T) { testValues(t, addr) })
		t.Run("errors", func(t *testing.T) { testErrors(t, addr) })
		t.Run("cancel", func(t *testing.T) { testCancel(t, addr) })
		t.Run("large", func(t *testing.T) { testLarge(t, addr) })
		t.Run("command", func(t *testing.T) { testCommand(t, addr) })
		t.Run("tls", func(t *testing.T) { testTLS(t, addr, kind) })
		t.Run("accounts", func(t *testing.T) { testAccounts(t, addr, kind) })
	})
}

func testFacts(t *testing.T, addr string, kind servers.Kind) {
	// The first address refuses: the second is taken.
	c := dial(t, mysql.Config{Addresses: []string{"127.0.0.1:1", addr}})
	s := c.Server()
	t.Logf("%+v", s)
	if c.Addr() != addr {
		t.Errorf("connected to %s", c.Addr())
	}
	if (s.Flavor == mysql.MariaDB) != (kind == servers.MariaDB) {
		t.Errorf("flavor %v of a %s", s.Flavor, kind)
	}
	if !s.LogBin || !s.GTIDMode || s.ServerID == 0 || s.UUID == "" || s.Major < 5 ||
		s.RowImage != "FULL" ||
		s.Checksum == "" {
		t.Errorf("facts are missing: %+v", s)
	}
	r, err := c.Query(
		t.Context(),
		"SELECT @@time_zone z, @@sql_mode m, @@collation_connection c, @@autocommit a, "+
			"@@net_write_timeout w, @@lock_wait_timeout l",
	)
	if err != nil {
		t.Fatal(err)
	}
	if r.Text(0, "z") != "+00:00" || r.Text(0, "m") != "" || r.Text(0, "a") != "1" ||
		r.Text(0, "w") != "3600" ||
		r.Text(0, "l") != "10" ||
		!strings.HasPrefix(r.Text(0, "c"), "utf8mb4") {
		t.Errorf("session is %q", r.Rows)
	}
}

// Whatever the global values of variables are, what a session reads is the same. With
// sql_quote_show_create=OFF grants could not be read, and foreign keys were overlooked; with a
// sql_select_limit a list of tables ended early.
func testSession(t *testing.T, addr string) {
	root := dial(t, mysql.Config{Addresses: []string{addr}})
	hostile := []string{
		"sql_quote_show_create=OFF", "lc_messages='de_DE'", "max_sort_length=64",
		"completion_type='RELEASE'", "sql_auto_is_null=ON",
		"sql_select_limit=1", "max_join_size=1", "sql_big_selects=OFF",
		"sql_mode='ANSI_QUOTES,NO_BACKSLASH_ESCAPES'", "time_zone='-09:30'", "autocommit=0",
		"character_set_results=latin1", "group_concat_max_len=4",
	}
	if root.Server().Flavor == mysql.MariaDB {
		hostile = append(hostile, "old_mode='ZERO_DATE_TIME_CAST'", "max_statement_time=100")
	} else {
		hostile = append(hostile, "information_schema_stats_expiry=3600",
			"show_gipk_in_create_table_and_information_schema=OFF", "max_execution_time=100000")
	}
	const names = "'sql_quote_show_create','lc_messages','max_sort_length','completion_type'," +
		"'sql_auto_is_null','sql_select_limit','sql_big_selects'," +
		"'sql_mode','time_zone','autocommit','character_set_results','group_concat_max_len'," +
		"'old_mode','use_secondary_engine'," +
		"'information_schema_stats_expiry','show_gipk_in_create_table_and_information_schema'," +
		"'max_statement_time','max_execution_time'"
	read := func(user string) string {
		t.Helper()
		c := dial(t, mysql.Config{Addresses: []string{addr}, User: user})
		r, err := c.Query(t.Context(), "SHOW SESSION VARIABLES WHERE Variable_name IN ("+names+")")
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%q", r.Rows)
	}
	want := read("root")
	if err := root.Exec(t.Context(), "CREATE USER plain"); err != nil {
		t.Fatal(err)
	}
	for _, v := range hostile {
		name, _, _ := strings.Cut(v, "=")
		old, err := root.Query(t.Context(), "SELECT CONCAT(@@GLOBAL."+name+") v")
		if err != nil {
			t.Fatal(err)
		}
		if err := root.Exec(t.Context(), "SET GLOBAL "+v); err != nil {
			t.Fatal(err)
		}
		defer func() {
			literal := old.Text(0, "v")
			if strings.Trim(literal, "0123456789.") != "" || literal == "" {
				literal = "'" + literal + "'"
			}
			if err := root.Exec(t.Context(), "SET GLOBAL "+name+"="+literal); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}()
	}
	// Setting them takes no privilege.
	for _, user := range []string{"root", "plain"} {
		if got := read(user); got != want {
			t.Errorf("the session of %s has %s, want %s", user, got, want)
		}
	}
}

func testValues(t *testing.T, addr string) {
	c := dial(t, mysql.Config{Addresses: []string{addr}})
	r, err := c.Query(
		t.Context(),
		"SELECT NULL a, '' b, 'x' c, 18446744073709551615 d, 1.10 e, "+
			"_utf8mb4 X'F09F9880' f UNION ALL SELECT 1,2,3,4,5,6",
	)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(r.Columns, "") != "abcdef" || len(r.Rows) != 2 {
		t.Fatalf("columns %v, rows %d", r.Columns, len(r.Rows))
	}
	row := r.Rows[0]
	if row[0] != nil || row[1] == nil || len(row[1]) != 0 {
		t.Errorf("NULL is %v, the empty string is %v", row[0], row[1])
	}
	if r.Text(0, "d") != "18446744073709551615" || r.Text(0, "e") != "1.10" ||
		r.Text(0, "f") != "😀" {
		t.Errorf("row is %q", row)
	}
	if r, err = c.Query(t.Context(), "DO 1"); err != nil || len(r.Rows) != 0 ||
		len(r.Columns) != 0 {
		t.Errorf("no result is %v, %v", r, err)
	}
}

func testErrors(t *testing.T, addr string) {
	c := dial(t, mysql.Config{Addresses: []string{addr}})
	_, err := c.Query(t.Context(), "SELECT nonsense FROM nowhere.nothing")
	var se *mysql.ServerError
	if !errors.As(err, &se) || se.State == "" || !strings.Contains(err.Error(), addr) {
		t.Errorf("error is %v", err)
	}
	if err := c.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("connection is out of step after a server's error: %v", err)
	}
	// An error in the middle of a result.
	if _, err = c.Query(t.Context(), "SELECT 1 UNION SELECT (SELECT 1 UNION SELECT 2)"); !errors.As(
		err, &se,
	) {
		t.Errorf("error is %v", err)
	}
	if err := c.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("connection is out of step after a server's error: %v", err)
	}
	rowErr := errors.New("row")
	if err := c.Stream(t.Context(), "SELECT 1 UNION SELECT 2",
		func([][]byte) error { return rowErr }); !errors.Is(
		err, rowErr,
	) {
		t.Errorf("row's error is %v", err)
	}
	if err := c.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("connection lives on in the middle of a result")
	}
	if err := c.Command(14, nil); err == nil {
		t.Error("command on a broken connection")
	}
	_, err = mysql.Dial(t.Context(),
		mysql.Config{Addresses: []string{addr, "127.0.0.1:1"}, User: "nobody", Password: "x"})
	if !mysql.IsCode(err, 1045) || !strings.Contains(err.Error(), "check user and password") ||
		!strings.Contains(err.Error(), "127.0.0.1:1:") {
		t.Errorf("access denied says %v", err)
	}
}

func testCancel(t *testing.T, addr string) {
	c := dial(t, mysql.Config{Addresses: []string{addr}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := c.Exec(ctx, "DO SLEEP(30)"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("deadline gives %v", err)
	}
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("deadline took %v", d)
	}
	c = dial(t, mysql.Config{Addresses: []string{addr}})
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	err := c.Stream(ctx, endless, func([][]byte) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancellation gives %v", err)
	}
	if err := c.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("connection lives on after a cancellation")
	}
	if _, err := mysql.Dial(ctx, mysql.Config{Addresses: []string{addr}, User: "root"}); !errors.Is(
		err, context.Canceled,
	) {
		t.Errorf("dial gives %v", err)
	}
}

// endless is a result of a million rows of 1 kB.
const endless = "WITH RECURSIVE d AS (SELECT 0 n UNION ALL SELECT n+1 FROM d WHERE n < 99) " +
	"SELECT REPEAT('x', 1000) FROM d a, d b, d c"

func testLarge(t *testing.T, addr string) {
	c := dial(t, mysql.Config{Addresses: []string{addr}})
	if err := c.Exec(t.Context(), "SET GLOBAL max_allowed_packet = 67108864"); err != nil {
		t.Fatal(err)
	}
	c = dial(t, mysql.Config{Addresses: []string{addr}})
	// Packets of exactly one full part, which an empty one ends (the command
	// has 13 bytes more than the value, the row 6), and of three parts.
	for _, n := range []int{1<<24 - 14, 1<<24 - 7, 1<<25 + 7} {
		rows := 0
		sql := "SELECT '" + strings.Repeat("y", n) + "', 7"
		err := c.Stream(t.Context(), sql, func(cells [][]byte) error {
			rows++
			if len(cells[0]) != n || string(cells[1]) != "7" {
				t.Errorf("%d: cell of %d bytes", n, len(cells[0]))
			}
			return nil
		})
		if err != nil || rows != 1 {
			t.Fatalf("%d: %d rows, %v", n, rows, err)
		}
	}
	if _, err := c.Query(t.Context(), endless); err == nil ||
		!strings.Contains(err.Error(), "larger than") {
		t.Errorf("a gigabyte is a small result: %v", err)
	}
}

// testCommand reads the response of a COM_PING from the bare socket.
func testCommand(t *testing.T, addr string) {
	for _, mode := range []tlsfiles.Mode{tlsfiles.Disabled, tlsfiles.Preferred} {
		c := dial(t, mysql.Config{Addresses: []string{addr}, TLS: tlsfiles.Client{Mode: mode}})
		if err := c.Command(14, nil); err != nil {
			t.Fatal(err)
		}
		var h [5]byte
		if _, err := io.ReadFull(c.NetConn(), h[:]); err != nil {
			t.Fatal(err)
		}
		if h[3] != 1 || h[4] != 0 {
			t.Errorf("%s: response is % x", mode, h)
		}
	}
}

func testTLS(t *testing.T, addr string, kind servers.Kind) {
	cipher := func(c *mysql.Conn) string {
		r, err := c.Query(t.Context(), "SHOW STATUS LIKE 'Ssl_cipher'")
		if err != nil {
			t.Fatal(err)
		}
		return r.Text(0, "Value")
	}
	if got := cipher(dial(t, mysql.Config{
		Addresses: []string{addr},
		TLS:       tlsfiles.Client{Mode: tlsfiles.Disabled},
	})); got != "" {
		t.Errorf("disabled uses %s", got)
	}
	preferred := cipher(dial(t, mysql.Config{Addresses: []string{addr}}))
	t.Logf("preferred uses %q", preferred)
	_, err := mysql.Dial(
		t.Context(),
		mysql.Config{
			Addresses: []string{addr}, User: "root",
			TLS: tlsfiles.Client{Mode: tlsfiles.Required},
		},
	)
	if preferred == "" {
		if err == nil || !strings.Contains(err.Error(), "no TLS") {
			t.Errorf("required without TLS gives %v", err)
		}
		return
	}
	if err != nil {
		t.Errorf("required gives %v", err)
	}
	// NetConn leads through all layers to the TCP connection, on which dump sets keep-alive.
	c := dial(
		t, mysql.Config{Addresses: []string{addr}, TLS: tlsfiles.Client{Mode: tlsfiles.Required}},
	).NetConn()
	for layer, ok := c.(interface{ NetConn() net.Conn }); ok; layer,
		ok = c.(interface{ NetConn() net.Conn }) {
		c = layer.NetConn()
	}
	if _, ok := c.(*net.TCPConn); !ok {
		t.Errorf("under TLS lies a %T", c)
	}
	if _, err = mysql.Dial(t.Context(), mysql.Config{
		Addresses: []string{addr}, User: "root",
		TLS: tlsfiles.Client{Mode: tlsfiles.VerifyCA},
	}); err == nil {
		t.Error("a self-made certificate verifies against the system's roots")
	}
	if kind != servers.MySQL {
		return
	}
	r, err := dial(
		t, mysql.Config{Addresses: []string{addr}},
	).Query(t.Context(), "SELECT LOAD_FILE(CONCAT(@@datadir, 'ca.pem')) ca")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Text(0, "ca")) == 0 {
		servertest.SkipOrFail(t, errors.New("the server has no ca.pem to read"))
	}
	ca := t.TempDir() + "/ca.pem"
	if err := os.WriteFile(ca, r.Rows[0][0], 0o600); err != nil {
		t.Fatal(err)
	}
	dial(
		t,
		mysql.Config{
			Addresses: []string{addr},
			TLS:       tlsfiles.Client{Mode: tlsfiles.VerifyCA, CA: ca},
		},
	)
	_, err = mysql.Dial(
		t.Context(),
		mysql.Config{
			Addresses: []string{addr}, User: "root",
			TLS: tlsfiles.Client{Mode: tlsfiles.VerifyIdentity, CA: ca},
		},
	)
	if err == nil {
		t.Error("the server's certificate names 127.0.0.1?")
	}
}

// testAccounts logs in by password, the first time (full authentication) and
// again (the server's cache), encrypted and not.
func testAccounts(t *testing.T, addr string, kind servers.Kind) {
	root := dial(t, mysql.Config{Addresses: []string{addr}})
	if err := root.Exec(t.Context(),
		"CREATE USER IF NOT EXISTS reader@'%' IDENTIFIED BY 'se cret'"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, mode := range []tlsfiles.Mode{tlsfiles.Disabled, tlsfiles.Preferred} {
			dial(
				t,
				mysql.Config{
					Addresses: []string{addr}, User: "reader", Password: "se cret",
					TLS: tlsfiles.Client{Mode: mode},
				},
			)
		}
		if kind == servers.MySQL {
			if err := root.Exec(t.Context(), "FLUSH PRIVILEGES"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// serve answers one connection with fixed bytes.
func serve(t *testing.T, answer []byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := conn.Write(answer); err == nil {
				_, _ = io.Copy(io.Discard, conn)
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func packet(sequence byte, payload []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	b[3] = sequence
	return append(b, payload...)
}

func TestHostileGreeting(t *testing.T) {
	greeting := append(
		[]byte("\n9.7.0\x00\x01\x00\x00\x00saltsalt\x00\xff\xf7\xff\x02\x00\xff\xdf\x15"),
		make([]byte, 10)...)
	greeting = append(greeting, "saltsaltsalt\x00caching_sha2_password\x00"...)
	for name, answer := range map[string][]byte{
		"http":       []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"x protocol": packet(0, []byte{0x0b, 0, 0}),
		"too many":   packet(0, []byte("\xff\x10\x04Too many connections")),
		"short":      packet(0, []byte("\n9.7.0\x00\x01")),
		"no end":     packet(0, []byte("\n9.7.0")),
		"bad key":    append(packet(0, greeting), packet(2, []byte("\xfesha256_password\x00"))...),
		"short auth": append(packet(0, greeting),
			packet(2, []byte("\xfemysql_native_password\x00ab"))...),
		"empty packet": append(packet(0, greeting), packet(2, nil)...),
		"short error":  append(packet(0, greeting), packet(2, []byte("\xff"))...),
		"public key": append(packet(0, greeting),
			append(packet(2, []byte{1, 4}), packet(4, []byte{1, 'x'})...)...),
		"endless flood": append(packet(0, greeting),
			bytes.Repeat([]byte{0xff, 0xff, 0xff, 2}, 1<<17)...),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := mysql.Dial(t.Context(), mysql.Config{
				Addresses: []string{serve(t, answer)}, User: "u", Password: "p",
				TLS: tlsfiles.Client{Mode: tlsfiles.Disabled}, Timeout: 500 * time.Millisecond,
			})
			if err == nil {
				t.Fatal("connected")
			}
			t.Log(err)
			if name == "too many" &&
				(!mysql.IsCode(err, 1040) || !strings.Contains(err.Error(), "max_connections")) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestSilentServer(t *testing.T) {
	_, err := mysql.Dial(t.Context(),
		mysql.Config{Addresses: []string{serve(t, nil)}, Timeout: 20 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "no answer within 20ms") {
		t.Errorf("error is %v", err)
	}
}

func TestConfigFaults(t *testing.T) {
	for want, c := range map[string]mysql.Config{
		"no address": {},
		"tls mode \"on\"": {
			Addresses: []string{"127.0.0.1:1"},
			TLS:       tlsfiles.Client{Mode: "on"},
		},
		"both or neither": {
			Addresses: []string{"127.0.0.1:1"},
			TLS:       tlsfiles.Client{Cert: "x"},
		},
		"load certificate authority": {
			Addresses: []string{"127.0.0.1:1"},
			TLS:       tlsfiles.Client{CA: "/does/not/exist"},
		},
		"needs a host name": {
			Addresses: []string{"/tmp/x.sock"},
			TLS:       tlsfiles.Client{Mode: tlsfiles.VerifyIdentity},
		},
		"127.0.0.1:1: dial tcp":   {Addresses: []string{"127.0.0.1:1"}},
		"/does/not/exist.sock: d": {Addresses: []string{"/does/not/exist.sock"}},
	} {
		if _, err := mysql.Dial(t.Context(), c); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
