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

// DatabaseOptions configures a MySQL or MariaDB. The zero value is a server with MySQL's own
// defaults, with binlog and without GTID.
type DatabaseOptions struct {
	// Dir is the folder for its files. If it contains a database, the server continues with that.
	// "" creates a temporary folder that Stop removes.
	Dir string
	// GTID turns gtid_mode and enforce_gtid_consistency on. It has no effect on a MariaDB, whose
	// GTIDs are always on.
	GTID bool
	// Args are more options of the server. They override those of this package.
	Args []string
	// Env are variables (NAME=value) that the server has besides those of this process. TZ is the
	// time zone SYSTEM.
	Env []string
	// Port is the TCP port; 0 means any free port.
	Port int
}

// Database is a MySQL or MariaDB server. The user root has an empty password and all privileges,
// from any address.
type Database struct{ server }

// StartDatabase starts a MySQL or MariaDB, and returns when it accepts queries. ctx bounds only
// the start, not the server's life; if it has no deadline, the start may take two minutes. A
// MariaDB is started with binlog_format=ROW, which is MySQL's default but not MariaDB's.
func (in *Installation) StartDatabase(
	ctx context.Context, k Kind, o DatabaseOptions,
) (*Database, error) {
	p, ok := in.programs[k]
	if !ok || !kindSpecs[k].database {
		return nil, fmt.Errorf("start %s: it is not an installed MySQL or MariaDB", k)
	}
	d := &Database{server{
		kind: k, port: o.Port, env: o.Env, isReady: isDatabaseReady,
		stopTimeout: time.Minute, startTimeout: 2 * time.Minute,
	}}
	if err := d.makeDir(o.Dir); err != nil {
		return nil, err
	}
	data := filepath.Join(d.dir, "data")
	d.argv = func(port int) []string {
		return p.argv(append(databaseArgs(k, p, data, port, o.GTID), o.Args...)...)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	err := copyTemplate(data, p.template)
	if err == nil {
		err = d.startUntilReady(ctx, o.Port == 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", k, err), d.removeDir())
	}
	return d, nil
}

// makeDir creates the server's folder: dir, or a temporary one if dir is "".
func (s *server) makeDir(dir string) error {
	var err error
	if s.isTemporary = dir == ""; s.isTemporary {
		s.dir, err = os.MkdirTemp("", "rowfall-"+string(s.kind)+"-")
	} else if s.dir, err = filepath.Abs(dir); err == nil {
		err = os.MkdirAll(s.dir, 0o755)
	}
	if err != nil {
		return fmt.Errorf("create folder for %s: %w", s.kind, err)
	}
	return nil
}

// removeDir removes the temporary folder of a server that did not start.
func (s *server) removeDir() error {
	if !s.isTemporary {
		return nil
	}
	s.dirRemoved = true
	return os.RemoveAll(s.dir)
}

// databaseArgs returns the options of a server that runs on the data directory data.
func databaseArgs(k Kind, p program, data string, port int, gtid bool) []string {
	args := append([]string{"--no-defaults"}, commonArgs(k, p, data)...)
	args = append(
		args,
		"--port="+strconv.Itoa(port),
		"--bind-address=127.0.0.1",
		// Relative to the data directory: an absolute path may exceed the length limit of sockets.
		"--socket=mysqld.sock",
		"--pid-file=mysqld.pid",
		"--tmpdir="+filepath.Join(data, "..", "tmp"),
		"--secure-file-priv=",
		"--server-id="+strconv.Itoa(port),
		"--log-bin=binlog",
		"--performance-schema=OFF",
	)
	if k.IsMariaDB() {
		return append(args, "--binlog-format=ROW")
	}
	args = append(args, "--mysqlx=OFF")
	mode := "OFF" // always set, because the default depends on the version
	if gtid {
		mode = "ON"
	}
	return append(args, "--gtid-mode="+mode, "--enforce-gtid-consistency="+mode)
}

// commonArgs returns the options that a server needs both to run and to initialise.
func commonArgs(k Kind, p program, data string) []string {
	args := []string{"--datadir=" + data, "--innodb-buffer-pool-size=64M"}
	if os.Geteuid() == 0 {
		args = append(args, "--user=root") // otherwise a server exits when it is started by root
	}
	if p.root == "" {
		return args
	}
	for _, share := range shareDirs(k, p) {
		if _, err := os.Stat(filepath.Join(share, "charsets")); err == nil {
			args = append(
				args,
				"--lc-messages-dir="+share,
				"--character-sets-dir="+filepath.Join(share, "charsets"),
			)
			break
		}
	}
	return append(args, "--plugin-dir="+filepath.Join(p.root, "usr/lib/mysql/plugin"))
}

// shareDirs returns the folders that may contain a server's messages, character sets and scripts.
func shareDirs(k Kind, p program) []string {
	prefix := filepath.Join(filepath.Dir(p.path), "..")
	if p.root != "" {
		prefix = filepath.Join(p.root, "usr")
	}
	names := []string{"share/mysql", "share"}
	if k.IsMariaDB() {
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

// rootUsers are the statements that allow root to connect by TCP, whichever host name the server
// resolves 127.0.0.1 to.
var rootUsers = map[Kind][]string{
	MySQL: {
		"CREATE USER 'root'@'127.0.0.1' IDENTIFIED BY '';",
		"GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;",
		"CREATE USER 'root'@'%' IDENTIFIED BY '';",
		"GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;",
	},
	MariaDB:    mariaDBRootUsers,
	MariaDB118: mariaDBRootUsers,
}

// GRANT does not work while a MariaDB bootstraps, so the privileges table is written directly.
var mariaDBRootUsers = []string{
	"DELETE FROM global_priv WHERE User IN ('', 'root');",
	mariaDBRootUser("localhost"), mariaDBRootUser("127.0.0.1"), mariaDBRootUser("%"),
}

// mariaDBRootUser returns the statement that creates root for one host.
func mariaDBRootUser(host string) string {
	const rights = `{"access":18446744073709551615,"plugin":"mysql_native_password",` +
		`"authentication_string":""}`
	return `INSERT INTO global_priv VALUES ('` + host + `', 'root', '` + rights + `');`
}

// dataTemplate returns the initialised data directory that the servers of this program are copies
// of. It creates the directory on first use.
func (i *installer) dataTemplate(ctx context.Context, k Kind, p program) (string, error) {
	info, err := os.Stat(p.path)
	if err != nil {
		return "", fmt.Errorf("stat server binary: %w", err)
	}
	sum := sha256.Sum256(
		fmt.Append(nil, revision, p.path, p.version, info.Size(), info.ModTime().UnixNano()),
	)
	target := filepath.Join(i.cache, "data", string(k)+"-"+hex.EncodeToString(sum[:6]))
	err = i.buildOnce(ctx, target, func(dir string) error {
		i.printf("initialising a data directory for %s %s", p.name, p.version)
		if k.IsMariaDB() {
			return bootstrapMariaDB(ctx, k, p, dir)
		}
		return initialiseMySQL(ctx, p, dir)
	})
	return target, err
}

// initialiseMySQL creates a data directory of MySQL with the users of rootUsers.
func initialiseMySQL(ctx context.Context, p program, dir string) error {
	users, err := os.CreateTemp("", "rowfall-users-*.sql")
	if err != nil {
		return fmt.Errorf("write users: %w", err)
	}
	defer func() { _ = os.Remove(users.Name()) }() // a temporary file may be left behind
	_, err = users.WriteString(strings.Join(rootUsers[MySQL], "\n") + "\n")
	if err := errors.Join(err, users.Close()); err != nil {
		return fmt.Errorf("write users: %w", err)
	}
	args := append([]string{"--no-defaults", "--initialize-insecure"}, commonArgs(MySQL, p, dir)...)
	args = append(args, "--init-file="+users.Name(), "--innodb-redo-log-capacity=8M")
	if err := runCommand(ctx, p.argv(args...), ""); err != nil {
		return err
	}
	// Each copy must generate its own server_uuid.
	if err := os.Remove(filepath.Join(dir, "auto.cnf")); err != nil &&
		!errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove server uuid: %w", err)
	}
	return nil
}

// bootstrapMariaDB creates a data directory of MariaDB from the scripts of its packages.
func bootstrapMariaDB(ctx context.Context, k Kind, p program, dir string) error {
	script := "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n"
	var share string
	for _, s := range shareDirs(k, p) {
		if found, err := filepath.Glob(filepath.Join(s, "*_system_tables.sql")); err == nil &&
			len(found) > 0 {
			share = s
			break
		}
	}
	if share == "" {
		return fmt.Errorf(
			"find system tables: no script in %s", strings.Join(shareDirs(k, p), ", "),
		)
	}
	for _, name := range []string{
		"*_system_tables.sql", "*_performance_tables.sql", "*_system_tables_data.sql",
	} {
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
	script += strings.Join(rootUsers[k], "\n") + "\n"
	args := append([]string{"--no-defaults", "--bootstrap"}, commonArgs(k, p, dir)...)
	return runCommand(ctx, p.argv(append(args, "--innodb-log-file-size=8M")...), script)
}

// runCommand runs a command with the given input. On failure the error contains the last lines of
// output.
func runCommand(ctx context.Context, argv []string, input string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run server: %w; its output:\n%s", err, tail(string(out), 20))
	}
	return nil
}

// copyTemplate makes the data directory data a copy of the template, unless data exists.
func copyTemplate(data, template string) error {
	if err := os.MkdirAll(filepath.Join(data, "..", "tmp"), 0o755); err != nil {
		return fmt.Errorf("create folder for temporary files: %w", err)
	}
	if _, err := os.Stat(data); err == nil {
		return nil
	}
	partial := data + ".partial" // so that an interrupted copy is not mistaken for a database
	if err := os.RemoveAll(partial); err != nil {
		return fmt.Errorf("remove partial copy: %w", err)
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
			return os.MkdirAll(filepath.Join(partial, name), 0o750)
		case entry.Type().IsRegular():
			return copyFile(filepath.Join(partial, name), path)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("copy data directory: %w", err)
	}
	if err := os.Rename(partial, data); err != nil {
		return fmt.Errorf("rename data directory: %w", err)
	}
	return nil
}

// copyFile copies a file with its permissions.
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

// isDatabaseReady reports whether the server greets clients and is the process that s has started.
// Another process that has taken the port may greet, too, but only this server writes its log.
func isDatabaseReady(ctx context.Context, s *server) bool {
	if !strings.Contains(s.logText(), "ready for connections") {
		return false
	}
	conn, err := dial(ctx, s.port)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }() // nothing was written
	// The first packet has a length (3 bytes), a sequence number, and in a greeting the protocol
	// version 10.
	var head [5]byte
	_, err = io.ReadFull(conn, head[:])
	return err == nil && head[4] == 10
}

// dial connects to a server that is starting. The connection has a deadline of two seconds.
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
