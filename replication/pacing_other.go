//go:build !linux

package replication

import "net"

// unpace does nothing: only Linux paces connections.
func unpace(*net.TCPConn) {}
