package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"net"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rowfall/replication/disk"
)

// settingsFile is the file to which CONFIG REWRITE writes the changes of CONFIG SET.
const settingsFile = "settings"

// settings are the values that CONFIG SET may change while the node runs.
type settings struct {
	timeoutMS    atomic.Int64 // repl-timeout
	pingMS       atomic.Int64 // repl-ping-replica-period
	maxClients   atomic.Int64
	minReplicas  atomic.Int64
	minLagMS     atomic.Int64
	priority     atomic.Int64
	announcePort atomic.Int64
	refuseStale  atomic.Bool
	dropFirst    atomic.Bool
	clientMemory atomic.Int64 // maxmemory-clients, bytes; 0: no limit
	keep         atomic.Int64 // repl-backlog-size, bytes of log; negative: all
	minRate      atomic.Int64 // full-sync-min-rate, bytes per second
	slackMS      atomic.Int64 // full-sync-slack
	syncLog      atomic.Int64 // full-sync-log, bytes; 0: chosen by the node
	announceIP   atomicString
	masterUser   atomicString
	masterAuth   atomicString

	mu      sync.Mutex
	changed map[string]string // by CONFIG SET in this run or an earlier one; by setting.key
}

// atomicString is a string that goroutines may load and store concurrently.
type atomicString struct{ p atomic.Pointer[string] }

func (t *atomicString) Load() string {
	if p := t.p.Load(); p != nil {
		return *p
	}
	return ""
}

func (t *atomicString) Store(s string) { t.p.Store(&s) }

// apply sets all values from the configuration.
func (s *settings) apply(c Config) {
	s.timeoutMS.Store(c.Timeout.Milliseconds())
	s.pingMS.Store(c.PingPeriod.Milliseconds())
	s.maxClients.Store(int64(c.MaxClients))
	s.minReplicas.Store(int64(c.MinReplicas))
	s.minLagMS.Store(c.MinReplicasMaxLag.Milliseconds())
	s.keep.Store(c.Log.Keep)
	s.minRate.Store(c.FullSyncMinRate)
	s.slackMS.Store(c.FullSyncSlack.Milliseconds())
	s.syncLog.Store(c.FullSyncLog)
	s.priority.Store(100)
	s.clientMemory.Store(defaultClientMemory)
	s.refuseStale.Store(c.RefuseStaleData)
	s.dropFirst.Store(c.DropBeforeResync)
	s.masterUser.Store(c.MasterUser)
	s.masterAuth.Store(c.MasterPassword)
	s.changed = map[string]string{}
}

func (n *Node) timeout() time.Duration {
	return time.Duration(n.settings.timeoutMS.Load()) * time.Millisecond
}

func (n *Node) pingPeriod() time.Duration {
	return time.Duration(n.settings.pingMS.Load()) * time.Millisecond
}

// setting is one parameter of CONFIG.
type setting struct {
	name string
	of   string // the newer spelling, under which changes are stored; empty: name is the newest
	get  func(n *Node) string
	// parse returns a function that sets the value, or why the value is invalid. nil: CONFIG SET
	// cannot change the setting.
	parse func(n *Node, value string) (apply func(), fault string)
}

// fixed is a setting that always has one value.
func fixed(name, value string) setting {
	return setting{name: name, get: func(*Node) string { return value }}
}

// number is an integer setting from lo to hi. The stored value is in units of 1/unit: with unit
// 1000, seconds are stored as milliseconds.
func number(name string, at func(*settings) *atomic.Int64, unit, lo, hi int64) setting {
	return setting{
		name: name,
		get:  func(n *Node) string { return strconv.FormatInt(at(&n.settings).Load()/unit, 10) },
		parse: func(n *Node, value string) (func(), string) {
			v, err := strconv.ParseInt(value, 10, 64)
			switch {
			case err != nil:
				return nil, "argument couldn't be parsed into an integer"
			case v < lo || v > hi:
				return nil, fmt.Sprintf("argument must be between %d and %d inclusive", lo, hi)
			}
			return func() { at(&n.settings).Store(v * unit) }, ""
		},
	}
}

// memory is a setting of at least lo bytes: a number, or a number with a unit of redis.conf, as in
// 100mb.
func memory(name string, at func(*settings) *atomic.Int64, lo int64) setting {
	return setting{
		name: name,
		get:  func(n *Node) string { return strconv.FormatInt(at(&n.settings).Load(), 10) },
		parse: func(n *Node, value string) (func(), string) {
			v, ok := parseMemory(value)
			switch {
			case !ok:
				return nil, "argument must be a memory value"
			case v < lo:
				return nil, fmt.Sprintf("argument must be at least %d", lo)
			}
			return func() { at(&n.settings).Store(v) }, ""
		},
	}
}

// memoryUnits are the units of redis.conf. A name comes before every other name that is its suffix.
var memoryUnits = []struct {
	name  string
	bytes int64
}{
	{"kb", 1 << 10},
	{"mb", 1 << 20},
	{"gb", 1 << 30},
	{"k", 1e3},
	{"m", 1e6},
	{"g", 1e9},
	{"b", 1},
	{"", 1},
}

func parseMemory(value string) (bytes int64, ok bool) {
	value = strings.ToLower(value)
	for _, u := range memoryUnits {
		number, found := strings.CutSuffix(value, u.name)
		if !found {
			continue
		}
		v, err := strconv.ParseInt(number, 10, 64)
		return v * u.bytes, err == nil && v <= math.MaxInt64/u.bytes && v >= math.MinInt64/u.bytes
	}
	return 0, false
}

// backlogSize is log.keep under Redis's name. A new value applies at once.
func backlogSize() setting {
	s := memory("repl-backlog-size", func(s *settings) *atomic.Int64 { return &s.keep }, -1)
	parse := s.parse
	s.parse = func(n *Node, value string) (func(), string) {
		store, fault := parse(n, value)
		if v, _ := parseMemory(value); fault == "" && v == 0 {
			fault = "argument must be -1, for all, or at least 1"
		}
		return func() {
			store()
			if n.log != nil { // nil while settings are loaded, before the log is opened
				n.log.SetKeep(n.settings.keep.Load())
			}
		}, fault
	}
	return s
}

// yesNo is a boolean setting; the stored bit means "yes" when it equals yes (false for inverted
// settings).
func yesNo(name string, at func(*settings) *atomic.Bool, yes bool) setting {
	return setting{
		name: name,
		get: func(n *Node) string {
			if at(&n.settings).Load() == yes {
				return "yes"
			}
			return "no"
		},
		parse: func(n *Node, value string) (func(), string) {
			isYes := strings.EqualFold(value, "yes")
			if !isYes && !strings.EqualFold(value, "no") {
				return nil, "argument must be 'yes' or 'no'"
			}
			return func() { at(&n.settings).Store(isYes == yes) }, ""
		},
	}
}

// words is a setting of free text.
func words(name string, at func(*settings) *atomicString) setting {
	return setting{
		name: name,
		get:  func(n *Node) string { return at(&n.settings).Load() },
		parse: func(n *Node, value string) (func(), string) {
			if len(value) > 1024 {
				return nil, "argument is longer than 1024 bytes"
			}
			return func() { at(&n.settings).Store(value) }, ""
		},
	}
}

// alias is a setting under an older name.
func alias(name string, s setting) setting {
	s.name, s.of = name, s.name
	return s
}

// key is the name under which a change is stored.
func (c *setting) key() string { return cmp.Or(c.of, c.name) }

var settingTable = allSettings()

func allSettings() []setting {
	minReplicas := number("min-replicas-to-write",
		func(s *settings) *atomic.Int64 { return &s.minReplicas }, 1, 0, math.MaxInt32)
	minLag := number("min-replicas-max-lag",
		func(s *settings) *atomic.Int64 { return &s.minLagMS }, 1000, 1, math.MaxInt32)
	ping := number("repl-ping-replica-period",
		func(s *settings) *atomic.Int64 { return &s.pingMS }, 1000, 1, math.MaxInt32)
	priority := number("replica-priority",
		func(s *settings) *atomic.Int64 { return &s.priority }, 1, 0, math.MaxInt32)
	stale := yesNo("replica-serve-stale-data",
		func(s *settings) *atomic.Bool { return &s.refuseStale }, false)
	ip := words("replica-announce-ip",
		func(s *settings) *atomicString { return &s.announceIP })
	port := number("replica-announce-port",
		func(s *settings) *atomic.Int64 { return &s.announcePort }, 1, 0, 65535)
	upstream := setting{name: "replicaof", get: func(n *Node) string {
		host, port, _ := net.SplitHostPort(n.identity().Upstream)
		return strings.TrimSpace(host + " " + port)
	}}
	return []setting{
		fixed("appendonly", "no"),
		{name: "assume-replicas", get: func(n *Node) string {
			return cmp.Or(n.c.AssumeReplicas, "6.2")
		}},
		{name: "bind", get: func(n *Node) string {
			host, _, _ := net.SplitHostPort(n.Addr())
			return host
		}},
		fixed("databases", "1"),
		{name: "dir", get: func(n *Node) string { return n.c.Dir }},
		yesNo("drop-before-resync", func(s *settings) *atomic.Bool { return &s.dropFirst }, true),
		words("masterauth", func(s *settings) *atomicString { return &s.masterAuth }),
		words("masteruser", func(s *settings) *atomicString { return &s.masterUser }),
		number("maxclients",
			func(s *settings) *atomic.Int64 { return &s.maxClients }, 1, 1, math.MaxInt32),
		{name: "full-sync-rate", get: func(n *Node) string {
			return strconv.FormatInt(n.c.FullSyncRate, 10)
		}},
		memory("full-sync-min-rate", func(s *settings) *atomic.Int64 { return &s.minRate }, 1),
		number("full-sync-slack",
			func(s *settings) *atomic.Int64 { return &s.slackMS }, 1000, 1, math.MaxInt32),
		memory("full-sync-log", func(s *settings) *atomic.Int64 { return &s.syncLog }, 0),
		{name: "max-full-syncs", get: func(n *Node) string {
			return strconv.Itoa(n.c.MaxFullSyncs)
		}},
		fixed("maxmemory", "0"),
		number("maxmemory-clients",
			func(s *settings) *atomic.Int64 { return &s.clientMemory }, 1, 0, math.MaxInt64),
		fixed("maxmemory-policy", "noeviction"),
		minLag, minReplicas,
		alias("min-slaves-max-lag", minLag), alias("min-slaves-to-write", minReplicas),
		{name: "port", get: func(n *Node) string {
			_, port, _ := net.SplitHostPort(n.Addr())
			return port
		}},
		backlogSize(),
		ping, alias("repl-ping-slave-period", ping),
		number("repl-timeout",
			func(s *settings) *atomic.Int64 { return &s.timeoutMS }, 1000, 1, math.MaxInt32),
		ip, port, alias("slave-announce-ip", ip), alias("slave-announce-port", port),
		upstream, alias("slaveof", upstream),
		priority, alias("slave-priority", priority),
		fixed("replica-read-only", "yes"), fixed("slave-read-only", "yes"),
		stale, alias("slave-serve-stale-data", stale),
		fixed("save", ""),
		{name: "snapshot-memory", get: func(n *Node) string {
			return strconv.FormatInt(n.c.SnapshotMemory, 10)
		}},
		fixed("timeout", "0"),
	}
}

// config answers CONFIG GET pattern... | SET name value... | RESETSTAT | REWRITE.
func (s *session) config(_ context.Context, args [][]byte) {
	switch {
	case is(args[1], "GET") && len(args) > 2:
		s.configGet(args[2:])
	case is(args[1], "SET") && len(args) > 3 && len(args)%2 == 0:
		s.configSet(args[2:])
	case is(args[1], "RESETSTAT") && len(args) == 2:
		s.n.stats.reset()
		s.ok()
	case is(args[1], "REWRITE") && len(args) == 2:
		if err := s.n.saveSettings(); err != nil {
			s.fail("ERR Rewriting config file: %v", err)
			return
		}
		s.ok()
	default:
		s.unknownSubcommand("CONFIG", args[1])
	}
}

// configGet answers CONFIG GET. The password of the upstream is hidden from clients on other hosts
// that sent no password.
func (s *session) configGet(patterns [][]byte) {
	var found []setting
	for _, c := range settingTable {
		if c.name == "masterauth" && s.isUnauthenticatedRemote() {
			continue
		}
		if slices.ContainsFunc(patterns, func(p []byte) bool {
			ok, err := path.Match(strings.ToLower(string(p)), c.name)
			return ok && err == nil
		}) {
			found = append(found, c)
		}
	}
	s.mapOf(len(found))
	for _, c := range found {
		s.bulks(c.name, c.get(s.n))
	}
}

const configSetError = "ERR CONFIG SET failed (possibly related to argument '%.128s') - %s"

// configSet answers CONFIG SET. It sets all values, or none if one of them is invalid.
func (s *session) configSet(pairs [][]byte) {
	var all []func()
	changed := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		name, value := strings.ToLower(string(pairs[i])), string(pairs[i+1])
		at := slices.IndexFunc(settingTable, func(c setting) bool { return c.name == name })
		if at < 0 {
			s.fail("ERR Unknown option or number of arguments for CONFIG SET - '%.128s'", pairs[i])
			return
		}
		c := settingTable[at]
		if c.parse == nil {
			if value != c.get(s.n) {
				s.fail(configSetError, pairs[i], "can't set immutable config")
				return
			}
			continue
		}
		apply, fault := c.parse(s.n, value)
		if fault != "" {
			s.fail(configSetError, pairs[i], fault)
			return
		}
		all, changed[c.key()] = append(all, apply), value
	}
	for _, apply := range all {
		apply()
	}
	s.n.settings.mu.Lock()
	maps.Copy(s.n.settings.changed, changed)
	s.n.settings.mu.Unlock()
	s.n.updateReadGate()
	s.ok()
}

// saveSettings writes what CONFIG SET changed into the directory, for the next start. Without a
// change it writes nothing: Sentinel calls CONFIG REWRITE after REPLICAOF, which is durable
// already.
func (n *Node) saveSettings() error {
	n.settings.mu.Lock()
	defer n.settings.mu.Unlock()
	if len(n.settings.changed) == 0 {
		return nil
	}
	return disk.WriteFile(n.c.FS, filepath.Join(n.c.Dir, settingsFile), func(f disk.File) error {
		_, err := f.WriteAt(n.settings.appendText(nil), 0)
		return err
	})
}

// appendText appends the content of the file: one line for each changed setting. The caller holds
// mu.
func (s *settings) appendText(dst []byte) []byte {
	for _, name := range slices.Sorted(maps.Keys(s.changed)) {
		dst = fmt.Appendf(dst, "%s %q\n", name, s.changed[name])
	}
	return dst
}

// loadSettings replaces values of the configuration by those that CONFIG REWRITE wrote.
func (n *Node) loadSettings() error {
	name := filepath.Join(n.c.Dir, settingsFile)
	b, err := disk.ReadFile(n.c.FS, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = n.readSettings(string(b))
	}
	if err != nil {
		return fmt.Errorf("read settings %s: %w", name, err)
	}
	return nil
}

// readSettings sets the values of the file's text.
func (n *Node) readSettings(text string) error {
	const remedy = "correct it, or delete the file to use the configuration alone"
	for line := range strings.Lines(text) {
		key, quoted, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		value, err := strconv.Unquote(quoted)
		at := slices.IndexFunc(settingTable, func(c setting) bool {
			return c.name == key && c.parse != nil
		})
		if err != nil || at < 0 {
			return fmt.Errorf("the line %q is not a setting and its value; %s", line, remedy)
		}
		apply, fault := settingTable[at].parse(n, value)
		if fault != "" {
			return fmt.Errorf("%s: %s; %s", key, fault, remedy)
		}
		apply()
		n.settings.changed[settingTable[at].key()] = value
		n.logger.Info().Str("name", key).Str("file", settingsFile).
			Msg("a setting of CONFIG REWRITE replaces that of the configuration")
	}
	return nil
}
