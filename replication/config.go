package replication

import (
	"cmp"
	"context"
	"crypto/tls"
	"time"

	"github.com/rs/zerolog"

	"rowfall/replication/disk"
	"rowfall/replication/replog"
)

// Config is everything a node is told. Dir and Listen are required; zero values
// of the others mean the defaults given with each. It is one flat struct, however
// long, since each field is one setting of whoever runs a node.
type Config struct {
	Listen   string // host:port; port 0 chooses a free one
	Dir      string // snapshots, log and identity; created if absent
	Password string // what AUTH must give; empty: no AUTH needed

	ReplicaOf      string // host:port of an upstream, used at the first start of a directory; then the role kept there wins
	MasterUser     string // user name for the upstream, empty: the default user
	MasterPassword string // password for the upstream, empty: none

	TLS         *tls.Config // for those who connect to us; nil: plain
	UpstreamTLS *tls.Config // for the upstream; nil: plain; without a ServerName the upstream's host is verified

	Log replog.Config // the log's memory, retention and fsync policy
	FS  disk.FS       // what Dir is on, for tests; nil: the operating system's. Log has it, too, unless it names another

	HiddenPrefix string // keys that SCAN, KEYS, RANDOMKEY and DBSIZE do not show

	PingPeriod time.Duration // between PINGs in the stream; 0: 10 s
	Timeout    time.Duration // a silent replica or upstream, or a peer that takes nothing, is cut off after it; 0: 60 s
	MaxClients int           // connections at once, replicas included; 0: 10,000

	MinReplicas       int           // Apply blocks while fewer replicas have acknowledged what is older than MinReplicasMaxLag; 0: it does not
	MinReplicasMaxLag time.Duration // 0: 10 s

	RefuseStaleData  bool // as a replica without its upstream: answer MASTERDOWN instead of what it has
	DropBeforeResync bool // at a full resync free the old data first: half the memory, but no answers until the new are loaded

	// SnapshotEvery is the bytes of log after which a new snapshot is taken (or the last one's
	// size, if that is more). One is also taken when the log reaches Log.Keep, and when the volume
	// gets full. 0: 256 MiB.
	SnapshotEvery int64
	// SnapshotMemory is how many bytes of replaced data a snapshot that is being
	// written may keep. Past it Apply is slowed, to 10 ms a unit at most, and past
	// twice as much the snapshot is given up, to be tried again. 0: 1 GiB or a
	// quarter of the data, whichever is more.
	SnapshotMemory int64
	SnapshotReuse  int64 // a snapshot serves late joiners while the log since it is shorter (bytes); 0: its own size, but 64 MiB to 2 GiB, about a minute of replay

	MaxFullSyncs int           // full resyncs at once, the others wait; 0: 16
	FullSyncRate int64         // bytes a second that all full resyncs may take together; 0: no limit
	SyncDelay    time.Duration // how long a new snapshot waits for more replicas to join; 0: not at all, since late ones join it anyway
	// A replica that a full resync does not bring online is given up: one that takes the snapshot
	// at less than FullSyncMinRate bytes a second, on average over FullSyncSlack, and one that has
	// not loaded it after the time that its size takes at that rate and FullSyncSlack more. 0: 1
	// MiB a second, 5 minutes.
	FullSyncMinRate int64
	FullSyncSlack   time.Duration
	// FullSyncLog is how many bytes of log may stay beyond Log.Keep for one replica that does a
	// full resync; a replica that needs more is given up. 0: Log.Keep, twice the data in memory, or
	// 64 MiB, whichever is most.
	FullSyncLog    int64
	AssumeReplicas string // lowest version of the replicas whose version the node cannot find out, such as "7.0"; empty: 6.2, which needs a slower form of snapshots

	Commands map[string]Handler      // extra commands by upper-case name
	Info     func(dst []byte) []byte // appends extra INFO sections, each "# Name\r\n" and "field:value\r\n" lines
	Logger   zerolog.Logger          // one event per state change
	Now      func() int64            // milliseconds since 1970; nil: the wall clock
}

// withDefaults returns c with its zero values replaced.
func (c Config) withDefaults() Config {
	c.PingPeriod = cmp.Or(c.PingPeriod, 10*time.Second)
	c.Timeout = cmp.Or(c.Timeout, 60*time.Second)
	c.MaxClients = cmp.Or(c.MaxClients, 10_000)
	c.MinReplicasMaxLag = cmp.Or(c.MinReplicasMaxLag, 10*time.Second)
	c.SnapshotEvery = cmp.Or(c.SnapshotEvery, 256<<20)
	c.MaxFullSyncs = cmp.Or(c.MaxFullSyncs, 16)
	c.FullSyncMinRate = cmp.Or(c.FullSyncMinRate, 1<<20)
	c.FullSyncSlack = cmp.Or(c.FullSyncSlack, 5*time.Minute)
	c.Log.Keep = cmp.Or(c.Log.Keep, replog.DefaultKeep)
	if c.FS == nil {
		c.FS = disk.SystemFS{}
	}
	if c.Log.FS == nil {
		c.Log.FS = c.FS
	}
	if c.Now == nil {
		c.Now = func() int64 { return time.Now().UnixMilli() }
	}
	return c
}

// Handler answers one extra command. It appends the reply to dst in the given
// protocol (2 or 3) and returns it. args[0] is the command's name as sent; args
// are valid during the call only. ctx ends with the session and with the node;
// inside EXEC it has ended before, so that a command that waits answers at once.
type Handler func(ctx context.Context, dst []byte, proto int, args [][]byte) []byte
