package node

import (
	"sync"
	"sync/atomic"
	"time"
)

// The defaults of settings that are not in Config.
const (
	defaultPriority     = 100       // replica-priority
	defaultClientMemory = 256 << 20 // maxmemory-clients, bytes
)

// Settings are the values that CONFIG SET may change while the node runs. The struct has more than
// 15 fields, because each field is one parameter of the operator.
type Settings struct {
	timeoutMS    atomic.Int64 // repl-timeout
	pingMS       atomic.Int64 // repl-ping-replica-period
	maxClients   atomic.Int64
	minReplicas  atomic.Int64
	minLagMS     atomic.Int64
	priority     atomic.Int64
	announcePort atomic.Int64
	rejectStale  atomic.Bool
	freeFirst    atomic.Bool
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

// newSettings returns the values of a configuration that has its defaults.
func newSettings(c Config) *Settings {
	s := &Settings{changed: map[string]string{}}
	s.timeoutMS.Store(c.Timeout.Milliseconds())
	s.pingMS.Store(c.PingPeriod.Milliseconds())
	s.maxClients.Store(int64(c.MaxClients))
	s.minReplicas.Store(int64(c.MinReplicas))
	s.minLagMS.Store(c.MinReplicasMaxLag.Milliseconds())
	s.keep.Store(c.Log.Keep)
	s.minRate.Store(c.FullSyncMinRate)
	s.slackMS.Store(c.FullSyncSlack.Milliseconds())
	s.syncLog.Store(c.FullSyncLog)
	s.priority.Store(defaultPriority)
	s.clientMemory.Store(defaultClientMemory)
	s.rejectStale.Store(c.RejectStaleData)
	s.freeFirst.Store(c.DropBeforeResync)
	s.masterUser.Store(c.MasterUser)
	s.masterAuth.Store(c.MasterPassword)
	return s
}

// Timeout is repl-timeout: the silence after which a replica, the upstream or a client that takes
// no byte is disconnected.
func (s *Settings) Timeout() time.Duration {
	return time.Duration(s.timeoutMS.Load()) * time.Millisecond
}

// MaxClients is maxclients: the most connections, replicas included.
func (s *Settings) MaxClients() int64 { return s.maxClients.Load() }

// ClientMemory is maxmemory-clients: the most bytes that all clients together may use; 0: no limit.
func (s *Settings) ClientMemory() int64 { return s.clientMemory.Load() }

// MinReplicas is min-replicas-to-write; 0: writing waits for no replica.
func (s *Settings) MinReplicas() int64 { return s.minReplicas.Load() }

// Priority is replica-priority, which INFO shows.
func (s *Settings) Priority() int64 { return s.priority.Load() }

// pingPeriod is repl-ping-replica-period.
func (s *Settings) pingPeriod() time.Duration {
	return time.Duration(s.pingMS.Load()) * time.Millisecond
}

// slack is full-sync-slack: the time that a full resync may take beyond that at full-sync-min-rate.
func (s *Settings) slack() time.Duration {
	return time.Duration(s.slackMS.Load()) * time.Millisecond
}
