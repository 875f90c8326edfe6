package replog

import (
	"fmt"
	"time"

	"rowfall/replication/disk"
)

// Config holds the settings of a log. Zero values select the defaults.
type Config struct {
	// Memory is the most bytes that the memory window holds for readers that lag behind the log's
	// end. Without such readers it holds an eighth of that, at most 1 MiB. Default 64 MiB.
	Memory int64
	// Keep is how many bytes of segment files to keep. 0 means DefaultKeep; a negative number keeps
	// everything. Segments that Retain or a pin needs are kept in addition. SetKeep changes the
	// limit while the log is open.
	Keep int64
	// KeepAge is how long to keep a segment after it was completed; 0 means no limit by age.
	// Segments that Retain or a pin needs are kept longer.
	KeepAge time.Duration
	// Reserve is the room in bytes that is allocated behind the newest segment for records other
	// than units, so that these can still be written for a long time when the disk is full. Default
	// 1 MiB. A negative number, or a file system that cannot allocate, means no reserve.
	Reserve int64
	// SegmentSize is the size in bytes at which a segment file is completed. A record that is
	// larger gets a segment of its own. Default 64 MiB. With a small Keep the limit is a quarter of
	// Keep, but at least 1 MiB, because only whole segments are removed, and never the newest.
	SegmentSize int64
	Fsync       Fsync
	// FS is the file system; nil means the operating system's. Tests set it.
	FS disk.FS
}

// DefaultKeep is how many bytes of log are kept if Config.Keep is 0.
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

// Fsync is the policy for making appended records durable.
type Fsync uint8

// The policies. The zero value is EverySecond.
const (
	// EverySecond syncs in the background once a second.
	EverySecond Fsync = iota
	// Always syncs in Append, before readers see the record.
	Always
	// Never leaves syncing the newest segment to the operating system. A completed segment is still
	// synced in the background.
	Never
)

// ParseFsync parses "always", "everysec" or "no".
func ParseFsync(s string) (Fsync, error) {
	for _, f := range []Fsync{EverySecond, Always, Never} {
		if s == f.String() {
			return f, nil
		}
	}
	return 0, fmt.Errorf("parse fsync: %q is not always, everysec or no", s)
}

// String returns the policy's word in pipeline files.
func (f Fsync) String() string {
	switch f {
	case Always:
		return "always"
	case Never:
		return "no"
	}
	return "everysec"
}
