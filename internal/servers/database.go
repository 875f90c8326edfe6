package servers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// DatabaseOptions says how a MySQL or MariaDB is to run. The zero value is a server with MySQL's own defaults, its binlog
// on and GTID off.
type DatabaseOptions struct {
	// Dir is the folder for its files; one that holds a database already goes on with it. "" makes a temporary folder
	// that Stop removes.
	Dir string
	// GTID turns gtid_mode and enforce_gtid_consistency on. MariaDB always has its own kind of GTID.
	GTID bool
	// Args are further options for the server; they win over this package's.
	Args []string
	// Port is the TCP port, 0 for any that is free.
	Port int
}

// Database is a MySQL or MariaDB server. The user root has an empty password and all rights, from any address.
type Database struct{ server }

// StartDatabase starts a MySQL or MariaDB and returns when it accepts queries. ctx bounds the start only, not the
// server's life; without a deadline two minutes do. A MariaDB logs rows like MySQL does (binlog_format=ROW), which is
// not its default.
func (in *Installation) StartDatabase(ctx context.Context, k Kind, o DatabaseOptions) (*Database, error) {
	p, ok := in.programs[k]
	if !ok || !recipes[k].database {
		return nil, fmt.Errorf("start %s: not an installed database", k)
	}
	d := &Database{server{
		kind: k, port: o.Port, ready: databaseReady, grace: time.Minute, start: 2 * time.Minute,
	}}
	if err := d.open(o.Dir); err != nil {
		return nil, err
	}
	data := filepath.Join(d.dir, "data")
	d.argv = func(port int) []string {
		return p.argv(append(databaseArgs(k, p, data, port, o.GTID), o.Args...)...)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	err := fill(data, p.template)
	if err == nil {
		err = d.launch(ctx, o.Port == 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", k, err), d.discard())
	}
	return d, nil
}

// open makes the server's folder.
func (s *server) open(dir string) error {
	var err error
	if s.ownDir = dir == ""; s.ownDir {
		s.dir, err = os.MkdirTemp("", "rowfall-"+string(s.kind)+"-")
	} else if s.dir, err = filepath.Abs(dir); err == nil {
		err = os.MkdirAll(s.dir, 0o755)
	}
	if err != nil {
		return fmt.Errorf("make folder for %s: %w", s.kind, err)
	}
	return nil
}

// discard removes the folder of a server that did not start, if it is ours.
func (s *server) discard() error {
	if !s.ownDir {
		return nil
	}
	s.gone = true
	return os.RemoveAll(s.dir)
}

// databaseArgs are the options of a server that runs on the data directory data.
func databaseArgs(k Kind, p program, data string, port int, gtid bool) []string {
	args := append([]string{"--no-defaults"}, commonArgs(k, p, data)...)
	args = append(
		args,
		"--port="+strconv.Itoa(port),
		"--bind-address=127.0.0.1",
		"--socket=mysqld.sock", // in the data directory: as a relative path it has no length limit to meet
		"--pid-file=mysqld.pid",
		"--tmpdir="+filepath.Join(data, "..", "tmp"),
		"--secure-file-priv=",
		"--server-id="+strconv.Itoa(port),
		"--log-bin=binlog",
		"--performance-schema=OFF",
	)
	if k == MariaDB {
		return append(args, "--binlog-format=ROW")
	}
	args = append(args, "--mysqlx=OFF")
	mode := "OFF" // said aloud, because servers differ in their default
	if gtid {
		mode = "ON"
	}
	return append(args, "--gtid-mode="+mode, "--enforce-gtid-consistency="+mode)
}

// commonArgs are the options for running as well as for initialising.
func commonArgs(k Kind, p program, data string) []string {
	args := []string{"--datadir=" + data, "--innodb-buffer-pool-size=64M"}
	if os.Geteuid() == 0 {
		args = append(args, "--user=root") // without it a server refuses to run as root
	}
	if p.root == "" {
		return args
	}
	for _, share := range shares(k, p) {
		if _, err := os.Stat(filepath.Join(share, "charsets")); err == nil {
			args = append(args, "--lc-messages-dir="+share, "--character-sets-dir="+filepath.Join(share, "charsets"))
			break
		}
	}
	return append(args, "--plugin-dir="+filepath.Join(p.root, "usr/lib/mysql/plugin"))
}

// shares lists the folders where a server's messages, character sets and scripts may be.
func shares(k Kind, p program) []string {
	prefix := filepath.Join(filepath.Dir(p.path), "..")
	if p.root != "" {
		prefix = filepath.Join(p.root, "usr")
	}
	names := []string{"share/mysql", "share"}
	if k == MariaDB {
		names = []string{"share/mariadb", "share/mysql", "share"}
	}
	var dirs []string
	for _, name := range names {
		dirs = append(dirs, filepath.Join(prefix, name))
	}
	if p.root == "" {
		dirs = append(dirs, "/usr/share/mariadb", "/usr/share/mysql")
	}
	return dirs
}

// rootUsers lets root in by TCP whatever name the server finds for 127.0.0.1.
var rootUsers = map[Kind][]string{
	MySQL: {
		"CREATE USER 'root'@'127.0.0.1' IDENTIFIED BY '';",
		"GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;",
		"CREATE USER 'root'@'%' IDENTIFIED BY '';",
		"GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;",
	},
	// While a MariaDB bootstraps there are no grants to speak of, only the table that they are kept in.
	MariaDB: {
		"DELETE FROM global_priv WHERE User IN ('', 'root');",
		mariaRoot("localhost"), mariaRoot("127.0.0.1"), mariaRoot("%"),
	},
}

func mariaRoot(host string) string {
	return `INSERT INTO global_priv VALUES ('` + host +
		`', 'root', '{"access":18446744073709551615,"plugin":"mysql_native_password","authentication_string":""}');`
}

// initialise returns the data directory that the servers of this program start from, making it on first use.
func (i *installer) initialise(ctx context.Context, k Kind, p program) (string, error) {
	info, err := os.Stat(p.path)
	if err != nil {
		return "", fmt.Errorf("look at server: %w", err)
	}
	sum := sha256.Sum256(fmt.Append(nil, revision, p.path, p.version, info.Size(), info.ModTime().UnixNano()))
	target := filepath.Join(i.cache, "data", string(k)+"-"+hex.EncodeToString(sum[:6]))
	err = i.once(ctx, target, func(dir string) error {
		i.printf("initialising a data directory for %s %s", p.name, p.version)
		if k == MariaDB {
			return bootstrapMariaDB(ctx, p, dir)
		}
		return initialiseMySQL(ctx, p, dir)
	})
	return target, err
}

func initialiseMySQL(ctx context.Context, p program, dir string) error {
	users, err := os.CreateTemp("", "rowfall-users-*.sql")
	if err != nil {
		return fmt.Errorf("write users: %w", err)
	}
	defer func() { _ = os.Remove(users.Name()) }() // a leftover temporary file harms nobody
	_, err = users.WriteString(strings.Join(rootUsers[MySQL], "\n") + "\n")
	if err := errors.Join(err, users.Close()); err != nil {
		return fmt.Errorf("write users: %w", err)
	}
	args := append([]string{"--no-defaults", "--initialize-insecure"}, commonArgs(MySQL, p, dir)...)
	args = append(args, "--init-file="+users.Name(), "--innodb-redo-log-capacity=8M")
	if err := runToEnd(ctx, p.argv(args...), ""); err != nil {
		return err
	}
	// The copies must each make up a server_uuid of their own.
	if err := os.Remove(filepath.Join(dir, "auto.cnf")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove server uuid: %w", err)
	}
	return nil
}

func bootstrapMariaDB(ctx context.Context, p program, dir string) error {
	script := "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n"
	var share string
	for _, s := range shares(MariaDB, p) {
		if found, err := filepath.Glob(filepath.Join(s, "*_system_tables.sql")); err == nil && len(found) > 0 {
			share = s
			break
		}
	}
	if share == "" {
		return fmt.Errorf("find system tables: no script in %s", strings.Join(shares(MariaDB, p), ", "))
	}
	for _, name := range []string{"*_system_tables.sql", "*_performance_tables.sql", "*_system_tables_data.sql"} {
		found, err := filepath.Glob(filepath.Join(share, name))
		if err != nil || len(found) == 0 {
			return fmt.Errorf("find system tables: no %s in %s", name, share)
		}
		text, err := os.ReadFile(found[0])
		if err != nil {
			return fmt.Errorf("read system tables: %w", err)
		}
		script += string(text) + "\n"
	}
	script += strings.Join(rootUsers[MariaDB], "\n") + "\n"
	args := append([]string{"--no-defaults", "--bootstrap"}, commonArgs(MariaDB, p, dir)...)
	return runToEnd(ctx, p.argv(append(args, "--innodb-log-file-size=8M")...), script)
}

// runToEnd runs a command on the given input and fails with the last lines it printed.
func runToEnd(ctx context.Context, argv []string, input string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run server: %w; it says:\n%s", err, tail(string(out), 20))
	}
	return nil
}

// fill makes the data directory a copy of the template, unless it is there.
func fill(data, template string) error {
	if err := os.MkdirAll(filepath.Join(data, "..", "tmp"), 0o755); err != nil {
		return fmt.Errorf("make folder for temporary files: %w", err)
	}
	if _, err := os.Stat(data); err == nil {
		return nil
	}
	half := data + ".half" // so that a copy cut short is not taken for a database
	if err := os.RemoveAll(half); err != nil {
		return fmt.Errorf("remove half a copy: %w", err)
	}
	err := filepath.WalkDir(template, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(template, path)
		if err != nil {
			return err
		}
		switch {
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(half, name), 0o750)
		case entry.Type().IsRegular():
			return copyFile(filepath.Join(half, name), path)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("copy data directory: %w", err)
	}
	if err := os.Rename(half, data); err != nil {
		return fmt.Errorf("keep data directory: %w", err)
	}
	return nil
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// databaseReady says whether the server greets clients, and is ours: another process that took the port would greet too,
// but only ours can have said so in its log.
func databaseReady(ctx context.Context, s *server) bool {
	if !strings.Contains(s.written(), "ready for connections") {
		return false
	}
	conn, err := dial(ctx, s.port)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }() // nothing was sent
	// The first packet: three bytes of length, a sequence number, and for a greeting the protocol version 10.
	var head [5]byte
	_, err = io.ReadFull(conn, head[:])
	return err == nil && head[4] == 10
}

// dial connects to a server that is about to be ready; what it reads it gets soon or not at all.
func dial(ctx context.Context, port int) (net.Conn, error) {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address(port))
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
