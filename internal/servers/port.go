package servers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// FreePort returns a TCP port of 127.0.0.1 that nothing listens on. The port is below the range
// that systems use for outgoing connections. Otherwise a client that keeps dialling the port of a
// stopped server could be given that very port as its local port. It would then connect to itself,
// and the server could not listen again.
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
	return 0, errors.New(
		"find free port: 100 random ports are in use; stop servers that are not needed",
	)
}

// address returns the address of a port of 127.0.0.1.
func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
