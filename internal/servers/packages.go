package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// role says what a set of packages is for. One folder cannot hold two servers whose packages share files, so each role
// has its own.
type role string

const (
	newest role = "newest" // the newest of everything
	recent role = "recent" // what the newest stable distribution ships
	stable role = "stable" // what one before it ships
)

// revision names what this package makes of the packages; raise it when the recipe changes, and caches are built anew.
const revision = 1

// wanted lists the packages of each role. A distribution may put a version behind the name (mysql-server-core-8.0).
var wanted = map[role][]string{
	newest: {"mysql-server-core", "mysql-client-core", "valkey-server", "redis-server"},
	recent: {"valkey-server"},
	stable: {"mariadb-server-core", "mariadb-client-core", "redis-server"},
}

// remedy ends the sentence about a machine that servers cannot be fetched on.
const remedy = "install the servers and put mysqld, mariadbd, redis-server and valkey-server on PATH, or name them in " +
	"ROWFALL_MYSQLD, ROWFALL_MARIADBD, ROWFALL_REDIS_SERVER, ROWFALL_REDIS_STABLE_SERVER, ROWFALL_REDIS_OLDEST_SERVER, " +
	"ROWFALL_VALKEY_SERVER and ROWFALL_VALKEY_STABLE_SERVER"

// needless are folders of the packages that no server reads.
var needless = []string{
	"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/perl", "usr/share/zoneinfo",
	"usr/lib/systemd", "lib/systemd",
}

// packages returns the folder that holds a role's unpacked packages, fetching them if need be.
func (i *installer) packages(ctx context.Context, r role) (string, error) {
	for _, program := range []string{"apt-get", "apt-cache", "apt-config", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			return "", fmt.Errorf("%w: this machine has no %s to fetch packages with: %s", ErrUnavailable, program, remedy)
		}
	}
	machine, err := readMachine()
	if err != nil {
		return "", fmt.Errorf("%w: %w: add the distribution's mirror to apt's sources, or %s", ErrUnavailable, err, remedy)
	}
	suites := machine.suites(r)
	target := func(suite string) string {
		return filepath.Join(i.cache, "packages", fmt.Sprintf("%s-%s-%s-r%d", suite, r, runtime.GOARCH, revision))
	}
	for _, suite := range suites {
		if _, err := os.Stat(target(suite)); err == nil {
			return target(suite), nil
		}
	}
	var errs []error
	for _, suite := range suites {
		err := i.once(ctx, target(suite), func(dir string) error {
			return i.fetch(ctx, dir, machine.source.in(suite), suite, r)
		})
		if err == nil {
			return target(suite), nil
		}
		errs = append(errs, fmt.Errorf("fetch packages of %s: %w", suite, err))
		if ctx.Err() != nil {
			break
		}
	}
	return "", fmt.Errorf("%w: %w; mend that, or %s", ErrUnavailable, errors.Join(errs...), remedy)
}

// fetch leaves in dir the unpacked packages of a role, from the suite that source names.
func (i *installer) fetch(ctx context.Context, dir string, source sourcesFile, suite string, r role) error {
	a, err := newApt(ctx, filepath.Join(dir, "apt"), source)
	if err != nil {
		return err
	}
	i.printf("fetching the server packages of %s (%s)", suite, r)
	if _, err := a.run(ctx, "apt-get", "update"); err != nil {
		return err
	}
	names, err := a.run(ctx, "apt-cache", "pkgnames")
	if err != nil {
		return err
	}
	chosen := choose(wanted[r], strings.Fields(names))
	if len(chosen) == 0 {
		return fmt.Errorf("%w: suite %s has none of %s", ErrUnavailable, suite, strings.Join(wanted[r], ", "))
	}
	args := append([]string{"--no-install-recommends", "--download-only", "install"}, chosen...)
	if _, err := a.run(ctx, "apt-get", args...); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(a.dir, "cache/archives/*.deb"))
	if err != nil {
		return fmt.Errorf("list packages: %w", err)
	}
	i.printf("unpacking %d packages of %s: %s", len(archives), suite, strings.Join(chosen, ", "))
	for _, archive := range archives {
		out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", archive, dir).CombinedOutput()
		if err != nil {
			return fmt.Errorf("unpack %s: %w: %s", filepath.Base(archive), err, firstLine(out))
		}
	}
	for _, name := range append([]string{"apt"}, needless...) {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("remove needless files: %w", err)
		}
	}
	return nil
}

// choose picks from the names of a suite's packages the wanted ones: by the name itself, else with the highest version
// behind it. What a suite does not have is left out; the kind that needs it says so.
func choose(wanted, have []string) []string {
	var chosen []string
	for _, name := range wanted {
		if slices.Contains(have, name) {
			chosen = append(chosen, name)
			continue
		}
		versioned := regexp.MustCompile(`^` + regexp.QuoteMeta(name) + `-[0-9.]+$`)
		best := ""
		for _, h := range have {
			if versioned.MatchString(h) && (len(h) > len(best) || len(h) == len(best) && h > best) {
				best = h
			}
		}
		if best != "" {
			chosen = append(chosen, best)
		}
	}
	return chosen
}

// packaged finds a server in an unpacked root, and the loader that runs it with that root's libraries.
func packaged(root, name string) (program, error) {
	p := program{name: name, root: root}
	for _, dir := range []string{"usr/sbin", "usr/bin"} {
		path := filepath.Join(root, dir, name)
		if _, err := os.Stat(path); err == nil {
			p.path = path
		}
	}
	if p.path == "" {
		return program{}, fmt.Errorf("%w: the distribution's packages have no %s", ErrUnavailable, name)
	}
	// The folder of the loader is the folder of the architecture's libraries, with or without the /usr merge.
	var loaders, libraries []string
	for _, dir := range []string{"usr/lib", "lib"} {
		found, err := filepath.Glob(filepath.Join(root, dir, "*-linux-gnu*", "ld-linux*.so.*"))
		if err != nil {
			return program{}, fmt.Errorf("find loader: %w", err)
		}
		loaders = append(loaders, found...)
		folders, err := filepath.Glob(filepath.Join(root, dir, "*-linux-gnu*"))
		if err != nil {
			return program{}, fmt.Errorf("find libraries: %w", err)
		}
		libraries = append(libraries, folders...)
	}
	if len(loaders) == 0 {
		return program{}, fmt.Errorf("find loader: none under %s", root)
	}
	p.loader = []string{loaders[0], "--library-path", strings.Join(libraries, ":")}
	return p, nil
}

// apt is an apt of our own: its lists, cache, sources and list of installed packages (none) in one folder. Of the
// machine's settings it keeps how to reach a mirror, and none of the hooks.
type apt struct {
	dir  string
	conf string
}

func newApt(ctx context.Context, dir string, source sourcesFile) (*apt, error) {
	a := &apt{dir: dir, conf: filepath.Join(dir, "apt.conf")}
	for _, name := range []string{"lists/partial", "cache/archives/partial", "etc/none", "etc/sources.list.d", "log"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return nil, fmt.Errorf("make apt folder: %w", err)
		}
	}
	dump, err := exec.CommandContext(ctx, "apt-config", "dump").Output()
	if err != nil {
		return nil, fmt.Errorf("read apt settings: %w", err)
	}
	settings := []string{
		`Dir::Etc::Main "` + dir + `/etc/none/apt.conf";`,
		`Dir::Etc::Parts "` + dir + `/etc/none";`,
		`Dir::Etc::SourceList "` + dir + `/etc/none/sources.list";`,
		`Dir::Etc::SourceParts "` + dir + `/etc/sources.list.d";`,
		`Dir::Etc::Preferences "` + dir + `/etc/none/preferences";`,
		`Dir::Etc::PreferencesParts "` + dir + `/etc/none";`,
		`Dir::State "` + dir + `";`,
		`Dir::State::Lists "` + dir + `/lists";`,
		`Dir::State::Status "` + dir + `/status";`,
		`Dir::Cache "` + dir + `/cache";`,
		`Dir::Log "` + dir + `/log";`,
		`APT::Get::Assume-Yes "true";`,
		`APT::Install-Recommends "false";`,
		`APT::Update::Error-Mode "any";`,
		`Acquire::Languages "none";`,
		`Acquire::Retries "3";`,
		`Debug::NoLocking "true";`, // our own lock covers the folder
	}
	if os.Geteuid() == 0 {
		// Root's apt gives up its rights for downloads, to a user that cannot write here.
		settings = append(settings, `APT::Sandbox::User "root";`)
	}
	reach := regexp.MustCompile(`(?m)^Acquire::(https?|ftp|tor|Proxy|ForceIPv[46]|Check-Valid-Until|AllowInsecureRepositories)\b.*;$`)
	settings = append(settings, reach.FindAllString(string(dump), -1)...)
	files := map[string]string{
		a.conf:                       strings.Join(settings, "\n") + "\n",
		filepath.Join(dir, "status"): "",
		filepath.Join(dir, "etc/sources.list.d", source.name): source.text,
	}
	for path, text := range files {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("write apt settings: %w", err)
		}
	}
	return a, nil
}

// run runs one of apt's programs and returns what it prints.
func (a *apt) run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "APT_CONFIG="+a.conf, "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run %s %s: %w: %s", name, args[0], err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}
