package node

import (
	"cmp"
	"context"
	"crypto/tls"
	"time"

	"github.com/rs/zerolog"

	"rowfall/replication/disk"
	"rowfall/replication/replog"
)

// RedisVersion is the version that clients and snapshots name: the oldest version of Redis that has
// the same commands and replies.
const RedisVersion = "7.0.15"

// Config configures a node. Dir and Listen are required; the zero value of any other field means
// its default. The struct is long and flat, because each field is one setting of the operator.
// Only package replication uses Password, Commands, AdminSubcommands and Info; its doc.go says why
// both packages share the struct.
type Config struct {
	Listen   string // host:port; port 0 chooses a free one
	Dir      string // snapshots, log and identity; created if absent
	Password string // what AUTH must give; empty: no AUTH needed

	// ReplicaOf is the host:port of an upstream. It is used at the first start of a directory;
	// later the saved role wins.
	ReplicaOf      string
	MasterUser     string // user name for the upstream, empty: the default user
	MasterPassword string // password for the upstream; empty: no password is sent
	// ReadMasterPassword returns the password for one link; nil: MasterPassword. CONFIG SET
	// masterauth overrides it.
	ReadMasterPassword func() (string, error)

	TLS *tls.Config // for connections to the node; nil: plain TCP
	// UpstreamTLS is for the link to the upstream; nil: plain TCP. Without a ServerName the
	// upstream's host is verified.
	UpstreamTLS *tls.Config

	Log replog.Config // the log's memory, retention and fsync policy
	// file system of Dir, for tests; nil: the operating system's. It is also Log.FS unless that is
	// set
	FS disk.FS

	HiddenPrefix string // prefix of keys that SCAN, KEYS, RANDOMKEY and DBSIZE leave out

	PingPeriod time.Duration // between PINGs in the stream; 0: 10 s
	// silence after which a replica, upstream or blocked peer is disconnected; 0: 60 s
	Timeout    time.Duration
	MaxClients int // connections, replicas included; 0: 10,000

	// MinReplicas makes Apply wait while fewer replicas have acknowledged what is older than
	// MinReplicasMaxLag; 0: it does not wait.
	MinReplicas       int
	MinReplicasMaxLag time.Duration // 0: 10 s

	RejectStaleData bool // as a replica without its upstream: reply MASTERDOWN instead of old data
	// DropBeforeResync frees the old data before a full resync from the upstream. It halves the
	// memory, but reads get LOADING until the new data are loaded.
	DropBeforeResync bool

	// SnapshotEvery is the bytes of log after which a new snapshot is taken, or the last snapshot's
	// size, if that is larger. A snapshot is also taken when the log reaches Log.Keep, and when the
	// volume gets full. 0: 256 MiB.
	SnapshotEvery int64
	// SnapshotMemory is how many bytes of replaced data a snapshot that is being written may keep
	// in memory. Beyond it Apply is slowed, by at most 10 ms a unit. Beyond twice as much the
	// snapshot is aborted and retried later. 0: 1 GiB or a quarter of the data, whichever is more.
	SnapshotMemory int64
	// SnapshotReuse is the bytes of log since a snapshot up to which it serves further replicas. 0:
	// the snapshot's size, at least 64 MiB and at most 2 GiB, which a replica replays in about a
	// minute.
	SnapshotReuse int64

	MaxFullSyncs int   // full resyncs at once, others wait; 0: 16
	FullSyncRate int64 // bytes a second for all full resyncs together; 0: no limit
	// SyncDelay is how long a new snapshot waits for more replicas to join; 0: not at all, since
	// late replicas join the running one anyway.
	SyncDelay time.Duration
	// FullSyncMinRate is the least rate of a full resync in bytes a second, on average over
	// FullSyncSlack. A replica that reads the snapshot more slowly is disconnected. So is one that
	// has not loaded the snapshot after its size divided by this rate, and FullSyncSlack more. 0: 1
	// MiB a second, 5 minutes.
	FullSyncMinRate int64
	FullSyncSlack   time.Duration
	// FullSyncLog is how many bytes of log one full resync may keep beyond Log.Keep; a replica that
	// needs more is disconnected. 0: Log.Keep, twice the data in memory, or 64 MiB, whichever is
	// most.
	FullSyncLog int64
	// AssumeReplicas is the lowest version of replicas whose version the node cannot find out, such
	// as "7.0". Empty: 6.2, which needs a slower encoding of snapshots.
	AssumeReplicas string

	Commands map[string]Handler // extra commands by upper-case name
	// AdminSubcommands are the subcommands of Commands, by the command's upper-case name, that
	// change what the node holds. Without a password, only clients of this host may send them.
	AdminSubcommands map[string][]string
	// Info appends extra INFO sections, each of "# Name\r\n" and "field:value\r\n" lines.
	Info   func(dst []byte) []byte
	Logger zerolog.Logger // one event per state change
	Now    func() int64   // milliseconds since 1970; nil: the wall clock
}

// withDefaults returns c with its zero values replaced by the defaults.
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

// Handler executes one extra command. It appends the reply to dst in protocol 2 or 3 and returns
// it. args[0] is the command's name as sent; args are valid during the call only. ctx ends with the
// session and with the node. Inside EXEC it has ended before the call, so that a command that waits
// replies at once.
type Handler func(ctx context.Context, dst []byte, proto int, args [][]byte) []byte
