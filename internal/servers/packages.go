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

// role is a set of packages that is unpacked into one folder. Servers whose packages share files
// need different folders, so they have different roles.
type role string

const (
	newest role = "newest" // the newest servers that the distribution has
	recent role = "recent" // those of its newest stable release
	stable role = "stable" // those of the stable release before that
)

// revision is part of the names of cached folders. Increase it when this package changes what it
// puts there, so that the folders are built again.
const revision = 1

// roleRevisions are added to the revision of a role's folder. A change of one role's packages
// increases its number here, and the other folders are not fetched again.
var roleRevisions = map[role]int{recent: 1}

// rolePackages are the packages of each role. A distribution may append a version to a name, such
// as mysql-server-core-8.0.
var rolePackages = map[role][]string{
	newest: {"mysql-server-core", "mysql-client-core", "valkey-server", "redis-server"},
	recent: {"mariadb-server-core", "mariadb-client-core", "valkey-server"},
	stable: {"mariadb-server-core", "mariadb-client-core", "redis-server"},
}

// remedy ends the error for a machine on which servers cannot be fetched.
const remedy = "install the servers and put mysqld, mariadbd, redis-server and valkey-server " +
	"on PATH, or name them in ROWFALL_MYSQLD, ROWFALL_MARIADBD, ROWFALL_MARIADBD_11_8, " +
	"ROWFALL_REDIS_SERVER, ROWFALL_REDIS_STABLE_SERVER, ROWFALL_REDIS_OLDEST_SERVER, " +
	"ROWFALL_VALKEY_SERVER and ROWFALL_VALKEY_STABLE_SERVER"

// unusedFolders are folders of the packages that no server reads. They are deleted to save space.
var unusedFolders = []string{
	"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/perl",
	"usr/share/zoneinfo", "usr/lib/systemd", "lib/systemd",
}

// installPackages returns the folder with the unpacked packages of a role. It fetches them if
// necessary.
func (i *installer) installPackages(ctx context.Context, r role) (string, error) {
	for _, program := range []string{"apt-get", "apt-cache", "apt-config", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			return "", fmt.Errorf(
				"%w: find %s: this machine cannot fetch packages; %s",
				ErrUnavailable,
				program,
				remedy,
			)
		}
	}
	machine, err := readMachine()
	if err != nil {
		return "", fmt.Errorf(
			"%w: %w; add the distribution's mirror to apt's sources, or %s",
			ErrUnavailable,
			err,
			remedy,
		)
	}
	suites := machine.suites(r)
	target := func(suite string) string {
		return filepath.Join(
			i.cache, "packages",
			fmt.Sprintf("%s-%s-%s-r%d", suite, r, runtime.GOARCH, revision+roleRevisions[r]),
		)
	}
	for _, suite := range suites {
		if _, err := os.Stat(target(suite)); err == nil {
			return target(suite), nil
		}
	}
	var errs []error
	for _, suite := range suites {
		err := i.buildOnce(ctx, target(suite), func(dir string) error {
			return i.fetchPackages(ctx, dir, machine.source.forSuite(suite), suite, r)
		})
		if err == nil {
			return target(suite), nil
		}
		errs = append(errs, fmt.Errorf("fetch packages of %s: %w", suite, err))
		if ctx.Err() != nil {
			break
		}
	}
	return "", fmt.Errorf("%w: %w; correct that, or %s", ErrUnavailable, errors.Join(errs...),
		remedy)
}

// fetchPackages unpacks the packages of a role into dir. They come from the suite that source
// names.
func (i *installer) fetchPackages(
	ctx context.Context, dir string, source sourcesFile, suite string, r role,
) error {
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
	chosen := choosePackages(rolePackages[r], strings.Fields(names))
	if len(chosen) == 0 {
		return fmt.Errorf(
			"%w: suite %s has none of %s",
			ErrUnavailable,
			suite,
			strings.Join(rolePackages[r], ", "),
		)
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
	for _, name := range append([]string{"apt"}, unusedFolders...) {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("remove unused files: %w", err)
		}
	}
	return nil
}

// choosePackages returns the packages of a suite that a role wants. have are the names of all
// packages of the suite. A wanted name matches itself, or else the name with the highest version
// appended. A package that the suite does not have is skipped; findPackaged reports the missing
// server.
func choosePackages(wanted, have []string) []string {
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

// findPackaged finds a server in an unpacked root, and the loader that runs the server with the
// libraries of that root.
func findPackaged(root, name string) (program, error) {
	p := program{name: name, root: root}
	for _, dir := range []string{"usr/sbin", "usr/bin"} {
		path := filepath.Join(root, dir, name)
		if _, err := os.Stat(path); err == nil {
			p.path = path
		}
	}
	if p.path == "" {
		return program{}, fmt.Errorf(
			"%w: find %s: the distribution's packages do not contain it", ErrUnavailable, name,
		)
	}
	// The loader lies beside the libraries of the architecture, with or without a merged /usr.
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

// apt is a private apt: its lists, cache, sources and list of installed packages (empty) lie in
// one folder. It takes from the machine's settings how to reach a mirror, but no hooks.
type apt struct {
	dir  string
	conf string
}

// newApt writes the settings of an apt in dir that uses one source.
func newApt(ctx context.Context, dir string, source sourcesFile) (*apt, error) {
	a := &apt{dir: dir, conf: filepath.Join(dir, "apt.conf")}
	for _, name := range []string{
		"lists/partial", "cache/archives/partial", "etc/none", "etc/sources.list.d", "log",
	} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return nil, fmt.Errorf("create apt folder: %w", err)
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
		`Debug::NoLocking "true";`, // the lock of buildOnce covers the folder
	}
	if os.Geteuid() == 0 {
		// apt drops root's rights for downloads, and the user it changes to cannot write here.
		settings = append(settings, `APT::Sandbox::User "root";`)
	}
	network := regexp.MustCompile(
		`(?m)^Acquire::(https?|ftp|tor|Proxy|ForceIPv[46]|Check-Valid-Until|` +
			`AllowInsecureRepositories)\b.*;$`,
	)
	settings = append(settings, network.FindAllString(string(dump), -1)...)
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

// run runs one of apt's programs with the private settings and returns its output.
func (a *apt) run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "APT_CONFIG="+a.conf, "LC_ALL=C",
		"DEBIAN_FRONTEND=noninteractive")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run %s %s: %w: %s", name, args[0], err,
			strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}
