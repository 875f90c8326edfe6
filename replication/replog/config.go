package replog

import (
	"fmt"
	"time"

	"rowfall/replication/disk"
)

// Config is what a log is opened with. Every zero means the default.
type Config struct {
	// Memory is the size of the window of newest bytes that readers get without touching the disk. Default 64 MiB.
	Memory int64
	// Keep is how many bytes of segment files to keep. 0 means DefaultKeep; negative: all. What
	// Retain or a pin needs stays beyond it. SetKeep changes it while the log is open.
	Keep int64
	// KeepAge is how long to keep a segment after it was completed; 0: as long as Keep allows. Retain and pins go before it.
	KeepAge time.Duration
	// Reserve is the room that the newest segment has set aside on the disk for records other than units, so that these go on
	// for long when the disk is full. Default 1 MiB; negative: none, as where the file system cannot do it.
	Reserve int64
	// SegmentSize is the size of a segment file; one larger record still is one segment. Default 64
	// MiB. With a small Keep segments are smaller, a quarter of Keep down to 1 MiB: the log is
	// dropped by whole segments, and never the newest.
	SegmentSize int64
	Fsync       Fsync
	// FS is the file system; nil is the operating system's. For tests.
	FS disk.FS
}

// DefaultKeep is how many bytes of log are kept unless Config.Keep says otherwise.
const DefaultKeep = 10 << 30

const (
	defaultMemory      = 64 << 20
	defaultSegmentSize = 64 << 20
)

func (c Config) withDefaults() Config {
	if c.Memory <= 0 {
		c.Memory = defaultMemory
	}
	if c.Keep == 0 {
		c.Keep = DefaultKeep
	}
	if c.SegmentSize <= 0 {
		c.SegmentSize = defaultSegmentSize
	}
	if c.Reserve == 0 {
		c.Reserve = defaultReserve
	}
	c.Reserve = max(c.Reserve, 0)
	if c.FS == nil {
		c.FS = disk.SystemFS{}
	}
	return c
}

// Fsync says when appended records are made durable.
type Fsync uint8

// The policies. The zero value is EverySecond.
const (
	// EverySecond syncs in the background once a second.
	EverySecond Fsync = iota
	// Always syncs in Append, before readers see the record.
	Always
	// Never leaves the newest segment to the operating system; a full segment is still synced, in the background.
	Never
)

// ParseFsync reads "always", "everysec" or "no".
func ParseFsync(s string) (Fsync, error) {
	for _, f := range []Fsync{EverySecond, Always, Never} {
		if s == f.String() {
			return f, nil
		}
	}
	return 0, fmt.Errorf("parse fsync: %q is none of always, everysec, no", s)
}

// String returns the policy's word in a pipeline file.
func (f Fsync) String() string {
	switch f {
	case Always:
		return "always"
	case Never:
		return "no"
	}
	return "everysec"
}
