//go:build !linux

package blocking

import (
	"errors"
	"net"
)

// Conn is a connection of the net package, because only Linux has another implementation.
type Conn struct{ net.Conn }

// Take returns errors.ErrUnsupported.
func Take(net.Conn) (*Conn, error) { return nil, errors.ErrUnsupported }

// SetImmediate has no effect.
func (c *Conn) SetImmediate(bool) {}
