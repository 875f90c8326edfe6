package servers

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// FreePort finds a TCP port of 127.0.0.1 that nothing listens on. It takes one below the range that systems give to
// outgoing connections: a client that dials a stopped server's port again and again would otherwise sooner or later be
// given that very port as its own, connect to itself, and keep the server from coming back.
func FreePort() (int, error) {
	for range 100 {
		port := 12000 + rand.IntN(18000)
		l, err := net.Listen("tcp", address(port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return 0, fmt.Errorf("find free port: %w", err)
		}
		return port, nil
	}
	return 0, fmt.Errorf("find free port: 100 of 18000 are taken")
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
