package mysqlsource

import (
	"bytes"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"

	"rowfall/pipelines/file"
)

// serverID returns the pipeline's server id as a replica of MySQL. MySQL ends the older of two
// connections with one id. Therefore the derived id differs between nodes, and stays the same after
// a restart.
func serverID(c *file.Config) uint32 {
	if c.Source.ServerID != 0 {
		return c.Source.ServerID
	}
	return deriveServerID(c.Name, c.Sink.Node.Dir, hostIdentity())
}

// replayID returns the server id for the stream of a replay. It differs from that of the pipeline's
// stream, because a server ends the older of two streams with the same id.
func replayID(c *file.Config) uint32 {
	return deriveServerID(c.Name+"\x00replay", c.Sink.Node.Dir, hostIdentity())
}

func deriveServerID(pipeline, dir, host string) uint32 {
	if absolute, err := filepath.Abs(dir); err == nil {
		dir = absolute
	}
	identity := strings.Join([]string{pipeline, dir, host, "stream"}, "\x00")
	// In the upper half of the range, which avoids ids that people choose.
	return 1<<31 | crc32.ChecksumIEEE([]byte(identity))>>1
}

// hostIdentity returns a text that identifies this host and stays the same after a restart. It
// combines the host's name and the machine's id, because containers of one image may share the id,
// and hosts of two networks the name.
func hostIdentity() string {
	name, err := os.Hostname()
	if err != nil {
		name = ""
	}
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil { // missing outside Linux and in small containers
		id = nil
	}
	return name + "\x00" + string(bytes.TrimSpace(id))
}
