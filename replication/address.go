package replication

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode"
)

// CheckAddr says what is wrong with an upstream's address. It goes into the
// identity file, a line of text that a restart must be able to read.
func CheckAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	number, bad := strconv.ParseUint(port, 10, 16)
	odd := func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar }
	if err != nil || bad != nil || number == 0 || host == "" || len(host) > 255 || strings.ContainsFunc(host, odd) {
		return fmt.Errorf("%q: want host:port", addr)
	}
	return nil
}

// CheckUpstream returns what is wrong with the address of an upstream for a node that listens where
// it says.
func CheckUpstream(listen, addr string) error {
	if err := CheckAddr(addr); err != nil {
		return err
	}
	if isOwn(listen, addr) {
		return fmt.Errorf("%q is this node itself; give the address of another", addr)
	}
	return nil
}

// CheckHostPort returns what is wrong with host:port, as far as its text shows: the host
// may be empty, the port may be 0 or the name of a service.
func CheckHostPort(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" {
		return fmt.Errorf("%q: want host:port", addr)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return fmt.Errorf("%q: want host:port, with a port from 0 to 65535", addr)
	}
	return nil
}

// isOwn says whether addr is where a node listens, as far as literal addresses and
// localhost tell: what a name means is known when it is dialled.
func isOwn(listen, addr string) bool {
	here, port, _ := net.SplitHostPort(listen)
	host, own, _ := net.SplitHostPort(addr)
	if port != own || port == "0" {
		return false
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	ip, local := net.ParseIP(host), net.ParseIP(here)
	return host == here || ip != nil && (ip.Equal(local) || ip.IsLoopback() && (here == "" || local.IsUnspecified()))
}
