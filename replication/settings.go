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
	"rowfall/replication/resp"
)

// settingsFile keeps what CONFIG SET changed and CONFIG REWRITE was asked to keep.
const settingsFile = "settings"

// settings are what CONFIG SET may change while the node runs.
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
	keep         atomic.Int64 // bytes of log; negative: all
	minRate      atomic.Int64 // full-sync-min-rate, bytes a second
	slackMS      atomic.Int64 // full-sync-slack
	syncLog      atomic.Int64 // full-sync-log, bytes; 0: chosen by the node
	announceIP   text
	masterUser   text
	masterAuth   text

	mu      sync.Mutex
	changed map[string]string // by CONFIG SET, or kept from an earlier run; by key
}

// text is a string that may be read while it changes.
type text struct{ p atomic.Pointer[string] }

func (t *text) Load() string {
	if p := t.p.Load(); p != nil {
		return *p
	}
	return ""
}

func (t *text) Store(s string) { t.p.Store(&s) }

// apply takes the values that c gives.
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

// setting is one name that CONFIG knows.
type setting struct {
	name string
	of   string // the newer spelling, under which it is kept; empty: that is name
	get  func(n *Node) string
	// parse returns what makes the value true, or why it cannot be. nil: it is fixed at the start.
	parse func(n *Node, value string) (apply func(), fault string)
}

func fixed(name, value string) setting {
	return setting{name: name, get: func(*Node) string { return value }}
}

// number is a setting of lo to hi that is kept multiplied by unit.
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

// memory is a setting of at least lo bytes, given as a number or with a unit of redis.conf, such as
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

// memoryUnits are those of redis.conf; a longer name comes before its end.
var memoryUnits = []struct {
	name  string
	bytes int64
}{{"kb", 1 << 10}, {"mb", 1 << 20}, {"gb", 1 << 30}, {"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"b", 1}, {"", 1}}

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

// backlogSize is log.keep under Redis's name. The log takes a new value at once.
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
			if n.log != nil { // else the log is about to be opened with it
				n.log.SetKeep(n.settings.keep.Load())
			}
		}, fault
	}
	return s
}

// yesNo is a setting that is kept as one bit, which says yes if it equals yes.
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
			is := strings.EqualFold(value, "yes")
			if !is && !strings.EqualFold(value, "no") {
				return nil, "argument must be 'yes' or 'no'"
			}
			return func() { at(&n.settings).Store(is == yes) }, ""
		},
	}
}

func words(name string, at func(*settings) *text) setting {
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

// alias is the older spelling of a setting.
func alias(name string, s setting) setting {
	s.name, s.of = name, s.name
	return s
}

// key is the name under which a change is kept.
func (c *setting) key() string { return cmp.Or(c.of, c.name) }

var settingTable = allSettings()

func allSettings() []setting {
	minReplicas := number("min-replicas-to-write", func(s *settings) *atomic.Int64 { return &s.minReplicas }, 1, 0, math.MaxInt32)
	minLag := number("min-replicas-max-lag", func(s *settings) *atomic.Int64 { return &s.minLagMS }, 1000, 1, math.MaxInt32)
	ping := number("repl-ping-replica-period", func(s *settings) *atomic.Int64 { return &s.pingMS }, 1000, 1, math.MaxInt32)
	priority := number("replica-priority", func(s *settings) *atomic.Int64 { return &s.priority }, 1, 0, math.MaxInt32)
	stale := yesNo("replica-serve-stale-data", func(s *settings) *atomic.Bool { return &s.refuseStale }, false)
	ip := words("replica-announce-ip", func(s *settings) *text { return &s.announceIP })
	port := number("replica-announce-port", func(s *settings) *atomic.Int64 { return &s.announcePort }, 1, 0, 65535)
	upstream := setting{name: "replicaof", get: func(n *Node) string {
		host, port, _ := net.SplitHostPort(n.identity().Upstream)
		return strings.TrimSpace(host + " " + port)
	}}
	return []setting{
		fixed("appendonly", "no"),
		{name: "assume-replicas", get: func(n *Node) string { return cmp.Or(n.c.AssumeReplicas, "6.2") }},
		{name: "bind", get: func(n *Node) string { host, _, _ := net.SplitHostPort(n.Addr()); return host }},
		fixed("databases", "1"),
		{name: "dir", get: func(n *Node) string { return n.c.Dir }},
		yesNo("drop-before-resync", func(s *settings) *atomic.Bool { return &s.dropFirst }, true),
		words("masterauth", func(s *settings) *text { return &s.masterAuth }),
		words("masteruser", func(s *settings) *text { return &s.masterUser }),
		number("maxclients", func(s *settings) *atomic.Int64 { return &s.maxClients }, 1, 1, math.MaxInt32),
		{name: "full-sync-rate", get: func(n *Node) string { return strconv.FormatInt(n.c.FullSyncRate, 10) }},
		memory("full-sync-min-rate", func(s *settings) *atomic.Int64 { return &s.minRate }, 1),
		number("full-sync-slack", func(s *settings) *atomic.Int64 { return &s.slackMS }, 1000, 1, math.MaxInt32),
		memory("full-sync-log", func(s *settings) *atomic.Int64 { return &s.syncLog }, 0),
		{name: "max-full-syncs", get: func(n *Node) string { return strconv.Itoa(n.c.MaxFullSyncs) }},
		fixed("maxmemory", "0"),
		number("maxmemory-clients", func(s *settings) *atomic.Int64 { return &s.clientMemory }, 1, 0, math.MaxInt64),
		fixed("maxmemory-policy", "noeviction"),
		minLag, minReplicas, alias("min-slaves-max-lag", minLag), alias("min-slaves-to-write", minReplicas),
		{name: "port", get: func(n *Node) string { _, port, _ := net.SplitHostPort(n.Addr()); return port }},
		backlogSize(),
		ping, alias("repl-ping-slave-period", ping),
		number("repl-timeout", func(s *settings) *atomic.Int64 { return &s.timeoutMS }, 1000, 1, math.MaxInt32),
		ip, port, alias("slave-announce-ip", ip), alias("slave-announce-port", port),
		upstream, alias("slaveof", upstream),
		priority, alias("slave-priority", priority),
		fixed("replica-read-only", "yes"), fixed("slave-read-only", "yes"),
		stale, alias("slave-serve-stale-data", stale),
		fixed("save", ""),
		{name: "snapshot-memory", get: func(n *Node) string { return strconv.FormatInt(n.c.SnapshotMemory, 10) }},
		fixed("timeout", "0"),
	}
}

// config is CONFIG GET pattern... | SET name value... | RESETSTAT | REWRITE.
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
		if err := s.n.keepSettings(); err != nil {
			s.fail("ERR Rewriting config file: %v", err)
			return
		}
		s.ok()
	default:
		s.fail("ERR unknown subcommand or wrong number of arguments for '%.128s'. Try CONFIG HELP.", args[1])
	}
}

func (s *session) configGet(patterns [][]byte) {
	var found []setting
	for _, c := range settingTable {
		if c.name == "masterauth" && s.isStranger() {
			continue
		}
		if slices.ContainsFunc(patterns, func(p []byte) bool {
			ok, err := path.Match(strings.ToLower(string(p)), c.name)
			return ok && err == nil
		}) {
			found = append(found, c)
		}
	}
	s.out = resp.AppendMap(s.out, s.proto, len(found))
	for _, c := range found {
		s.out = resp.AppendBulkString(resp.AppendBulkString(s.out, c.name), c.get(s.n))
	}
}

// configSet sets all or nothing.
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
				s.fail("ERR CONFIG SET failed (possibly related to argument '%.128s') - can't set immutable config", pairs[i])
				return
			}
			continue
		}
		apply, fault := c.parse(s.n, value)
		if fault != "" {
			s.fail("ERR CONFIG SET failed (possibly related to argument '%.128s') - %s", pairs[i], fault)
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
	s.n.judge()
	s.ok()
}

// keepSettings writes what CONFIG SET changed into the directory, where the next
// start finds it. Without changes there is nothing to write: the role, for which
// Sentinel asks, is kept already.
func (n *Node) keepSettings() error {
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

// appendText appends the file of what was changed, a line for each name. The caller
// holds mu.
func (s *settings) appendText(dst []byte) []byte {
	for _, name := range slices.Sorted(maps.Keys(s.changed)) {
		dst = fmt.Appendf(dst, "%s %q\n", name, s.changed[name])
	}
	return dst
}

// loadSettings takes the kept values over those of the configuration.
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

// readSettings takes what the file says.
func (n *Node) readSettings(text string) error {
	const remedy = "mend it, or delete the file to go by the configuration alone"
	for line := range strings.Lines(text) {
		key, quoted, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		value, err := strconv.Unquote(quoted)
		at := slices.IndexFunc(settingTable, func(c setting) bool { return c.name == key && c.parse != nil })
		if err != nil || at < 0 {
			return fmt.Errorf("the line %q is not understood; %s", line, remedy)
		}
		apply, fault := settingTable[at].parse(n, value)
		if fault != "" {
			return fmt.Errorf("%s: %s; %s", key, fault, remedy)
		}
		apply()
		n.settings.changed[settingTable[at].key()] = value
		n.logger.Info().Str("name", key).Str("file", settingsFile).Msg("setting kept by CONFIG REWRITE wins over the configuration")
	}
	return nil
}
