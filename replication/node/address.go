package node

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"unicode"
)

// CheckAddr returns an error if addr cannot be an upstream's address: host:port with a port from 1
// to 65535. The identity file stores the address in a line of text, so white space and control
// characters are errors, too.
func CheckAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	number, portErr := strconv.ParseUint(port, 10, 16)
	invalid := func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar
	}
	if err != nil || portErr != nil || number == 0 || host == "" || len(host) > 255 ||
		strings.ContainsFunc(host, invalid) {
		return fmt.Errorf("%q: want host:port", addr)
	}
	return nil
}

// CheckUpstream returns an error if addr cannot be the upstream of a node that listens on listen.
func CheckUpstream(listen, addr string) error {
	if err := CheckAddr(addr); err != nil {
		return err
	}
	if isOwn(listen, addr) {
		return fmt.Errorf("%q is this node itself; give the address of another", addr)
	}
	return nil
}

// CheckHostPort returns an error if addr is not the text of a host:port. The host may be empty; the
// port may be 0 or the name of a service. No name is resolved.
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

// isOwn reports whether addr is an address on which the node listens. It compares literal addresses
// and localhost only: other names are resolved when the node connects.
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
	if ip == nil {
		return host == here
	}
	everywhere := here == "" || local.IsUnspecified()
	return host == here || ip.Equal(local) || ip.IsLoopback() && everywhere
}
