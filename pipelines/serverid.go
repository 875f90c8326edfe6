package pipelines

import (
	"bytes"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"

	"rowfall/pipelines/file"
)

// serverID returns the id that the pipeline shows to MySQL among its replicas. MySQL ends the older
// of two connections with one id, so the derived id differs between nodes, and is the same after a
// restart.
func serverID(c *file.Config) uint32 {
	if c.Source.ServerID != 0 {
		return c.Source.ServerID
	}
	return deriveServerID(c.Name, c.Sink.Node.Dir, hostIdentity())
}

func deriveServerID(pipeline, dir, host string) uint32 {
	if absolute, err := filepath.Abs(dir); err == nil {
		dir = absolute
	}
	identity := strings.Join([]string{pipeline, dir, host, "stream"}, "\x00")
	// The upper half of the range stays clear of ids that people choose.
	return 1<<31 | crc32.ChecksumIEEE([]byte(identity))>>1
}

// hostIdentity names this host the same way after every restart. It takes the host's name and the
// machine's id together: containers of one image may share the id, and hosts of two networks the
// name.
func hostIdentity() string {
	name, err := os.Hostname()
	if err != nil {
		name = ""
	}
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil { // not on Linux, or in a small container
		id = nil
	}
	return name + "\x00" + string(bytes.TrimSpace(id))
}
