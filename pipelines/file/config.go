package file

import (
	"time"

	"rowfall/binlog/mysql"
	"rowfall/transform"
)

// Config is one pipeline file, read strictly and validated.
type Config struct {
	// Path is the file that the Config was read from. Errors begin with it.
	Path string
	// Name is the pipeline's name: [a-z0-9-]+.
	Name string
	// Revision is free text, which status shows.
	Revision string
	Source   SourceConfig
	Mapping  transform.Mapping
	Sink     SinkConfig
	Limits   Limits
	Log      LogConfig
	// Warnings are about keys that still work and that should be written in another way.
	Warnings []*Error

	lines map[string]int // the line of each path that the file has
}

// SourceConfig configures the source of a pipeline.
type SourceConfig struct {
	MySQL mysql.Config
	// ReadFrom are the addresses of servers of the source's history that rows are read from; empty
	// means the source itself. User, password and TLS are those of MySQL.
	ReadFrom []string
	// ServerID is the server id under which the pipeline reads the binlog. It must differ from the
	// ids of the server's replicas. 0 derives it from pipeline, directory, host and purpose.
	ServerID uint32
	// Start is where a pipeline starts whose sink holds no position: snapshot, now, gtid:SET,
	// FILE:OFFSET or time:2026-11-28T10:00:00Z.
	Start    string
	Backfill BackfillConfig
	// StopAtReset stops the pipeline if the server has another history than the data, and
	// StopAtPurge if the server has purged the binlog at the data's position. Otherwise every table
	// is read again while the data serve.
	StopAtReset, StopAtPurge bool
}

// BackfillConfig bounds how fast rows are read by SELECT.
type BackfillConfig struct {
	ChunkRows     int // rows of one SELECT, 1 to 1,000,000
	Parallel      int // tables that are read at the same time, 1 to 64
	RowsPerSecond int // 0: no limit
	PauseAbove    PauseAbove
}

// PauseAbove has the limits of load above which no rows are read. 0 is no limit.
type PauseAbove struct {
	// ThreadsRunning limits Threads_running of the server that rows are read from.
	ThreadsRunning int
	// ReplicaLag limits how far the stream may be behind the source, and how far the replicas of
	// the node may be behind the node. It is 1 s at least, because replicas report once per second.
	ReplicaLag time.Duration
}

// SinkConfig configures the sink of a pipeline. Node is the only kind of sink so far.
type SinkConfig struct {
	Node NodeConfig
}

// Limits bound one atomic unit of a sink. A larger MySQL transaction is split into several units.
type Limits struct {
	MaxAtomicRows  int // from 1
	MaxAtomicBytes int // 1 byte to 512 MiB, since a unit is one record of the replication log
}

// LogConfig configures the log messages of a pipeline.
type LogConfig struct {
	Level  string // trace, debug, info, warn, error
	Format string // console, json
}

// Defaults returns the values of the settings that a file or a command line does not set.
func Defaults() Config {
	return Config{
		Source: SourceConfig{
			Start:    "snapshot",
			Backfill: BackfillConfig{ChunkRows: 10_000, Parallel: 2},
		},
		Sink:   SinkConfig{Node: defaultNode()},
		Limits: Limits{MaxAtomicRows: 10_000, MaxAtomicBytes: 64 << 20},
		Log:    LogConfig{Level: "info", Format: "console"},
	}
}
