package node

import (
	"cmp"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
)

// setting is one parameter of CONFIG.
type setting struct {
	name string
	of   string // the newer name, under which changes are stored; empty: name is the newest
	get  func(n *Node) string
	// parse returns a function that sets the value, or why the value is invalid. nil: CONFIG SET
	// cannot change the setting.
	parse func(n *Node, value string) (apply func(), fault string)
}

// fixed is a setting with a constant value.
func fixed(name, value string) setting {
	return setting{name: name, get: func(*Node) string { return value }}
}

// number is an integer setting from lo to hi. The stored value is in units of 1/unit: with unit
// 1000, seconds are stored as milliseconds.
func number(name string, at func(*Settings) *atomic.Int64, unit, lo, hi int64) setting {
	return setting{
		name: name,
		get:  func(n *Node) string { return strconv.FormatInt(at(n.settings).Load()/unit, 10) },
		parse: func(n *Node, value string) (func(), string) {
			v, err := strconv.ParseInt(value, 10, 64)
			switch {
			case err != nil:
				return nil, "argument couldn't be parsed into an integer"
			case v < lo || v > hi:
				return nil, fmt.Sprintf("argument must be between %d and %d inclusive", lo, hi)
			}
			return func() { at(n.settings).Store(v * unit) }, ""
		},
	}
}

// memory is a setting of at least lo bytes: a number, or a number with a unit of redis.conf, as in
// 100mb.
func memory(name string, at func(*Settings) *atomic.Int64, lo int64) setting {
	return setting{
		name: name,
		get:  func(n *Node) string { return strconv.FormatInt(at(n.settings).Load(), 10) },
		parse: func(n *Node, value string) (func(), string) {
			v, ok := parseMemory(value)
			switch {
			case !ok:
				return nil, "argument must be a memory value"
			case v < lo:
				return nil, fmt.Sprintf("argument must be at least %d", lo)
			}
			return func() { at(n.settings).Store(v) }, ""
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
	s := memory("repl-backlog-size", func(s *Settings) *atomic.Int64 { return &s.keep }, -1)
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
func yesNo(name string, at func(*Settings) *atomic.Bool, yes bool) setting {
	return setting{
		name: name,
		get: func(n *Node) string {
			if at(n.settings).Load() == yes {
				return "yes"
			}
			return "no"
		},
		parse: func(n *Node, value string) (func(), string) {
			isYes := strings.EqualFold(value, "yes")
			if !isYes && !strings.EqualFold(value, "no") {
				return nil, "argument must be 'yes' or 'no'"
			}
			return func() { at(n.settings).Store(isYes == yes) }, ""
		},
	}
}

// words is a setting of free text.
func words(name string, at func(*Settings) *atomicString) setting {
	return setting{
		name: name,
		get:  func(n *Node) string { return at(n.settings).Load() },
		parse: func(n *Node, value string) (func(), string) {
			if len(value) > 1024 {
				return nil, "argument is longer than 1024 bytes"
			}
			return func() { at(n.settings).Store(value) }, ""
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

// allSettings returns the settings in the order in which CONFIG GET shows them. The function is
// longer than 60 lines because it is a table: each entry is one parameter of CONFIG, with its
// range.
func allSettings() []setting {
	minReplicas := number("min-replicas-to-write",
		func(s *Settings) *atomic.Int64 { return &s.minReplicas }, 1, 0, math.MaxInt32)
	minLag := number("min-replicas-max-lag",
		func(s *Settings) *atomic.Int64 { return &s.minLagMS }, 1000, 1, math.MaxInt32)
	ping := number("repl-ping-replica-period",
		func(s *Settings) *atomic.Int64 { return &s.pingMS }, 1000, 1, math.MaxInt32)
	priority := number("replica-priority",
		func(s *Settings) *atomic.Int64 { return &s.priority }, 1, 0, math.MaxInt32)
	stale := yesNo("replica-serve-stale-data",
		func(s *Settings) *atomic.Bool { return &s.rejectStale }, false)
	ip := words("replica-announce-ip",
		func(s *Settings) *atomicString { return &s.announceIP })
	port := number("replica-announce-port",
		func(s *Settings) *atomic.Int64 { return &s.announcePort }, 1, 0, 65535)
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
		yesNo("drop-before-resync", func(s *Settings) *atomic.Bool { return &s.freeFirst }, true),
		words("masterauth", func(s *Settings) *atomicString { return &s.masterAuth }),
		words("masteruser", func(s *Settings) *atomicString { return &s.masterUser }),
		number("maxclients",
			func(s *Settings) *atomic.Int64 { return &s.maxClients }, 1, 1, math.MaxInt32),
		{name: "full-sync-rate", get: func(n *Node) string {
			return strconv.FormatInt(n.c.FullSyncRate, 10)
		}},
		memory("full-sync-min-rate", func(s *Settings) *atomic.Int64 { return &s.minRate }, 1),
		number("full-sync-slack",
			func(s *Settings) *atomic.Int64 { return &s.slackMS }, 1000, 1, math.MaxInt32),
		memory("full-sync-log", func(s *Settings) *atomic.Int64 { return &s.syncLog }, 0),
		{name: "max-full-syncs", get: func(n *Node) string {
			return strconv.Itoa(n.c.MaxFullSyncs)
		}},
		fixed("maxmemory", "0"),
		memory("maxmemory-clients",
			func(s *Settings) *atomic.Int64 { return &s.clientMemory }, 0),
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
			func(s *Settings) *atomic.Int64 { return &s.timeoutMS }, 1000, 1, math.MaxInt32),
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
