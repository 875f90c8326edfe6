package main

import (
	"errors"
	"io/fs"
	"net"
	"strings"
	"syscall"

	"rowfall/pipelines/file"
)

// openKey returns the setting that made it impossible to open a node, and a remedy. It returns ""
// if no other value of a setting would help.
func openKey(err error) (key, remedy string) {
	var network *net.OpError
	switch {
	case errors.As(err, &network) && network.Op == "listen":
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			remedy = "stop the program that uses the address, or choose another address"
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			remedy = "use an address of this host, such as 127.0.0.1, or 0.0.0.0 for all"
		default:
			remedy = "choose another address"
		}
		return "listen", remedy
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOTDIR),
		errors.Is(err, syscall.EROFS):
		return "dir", "choose a directory in which this user may create files"
	}
	return "", ""
}

// openFault returns err, an error of pipelines.Open, as a fault of the setting that caused it. An
// error with another cause is returned as it is.
func openFault(c *file.Config, err error) error {
	key, remedy := openKey(err)
	if key == "" {
		return err
	}
	what := strings.TrimPrefix(err.Error(), c.Path+": ") // the fault names the file itself
	return c.Fault("sink.node."+key, "%s; %s", what, remedy)
}
