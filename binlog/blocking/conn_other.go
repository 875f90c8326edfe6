//go:build !linux

package blocking

import (
	"errors"
	"net"
)

// Conn is never made: only Linux has an implementation.
type Conn struct{ net.Conn }

// Take returns errors.ErrUnsupported.
func Take(net.Conn) (*Conn, error) { return nil, errors.ErrUnsupported }

// SetImmediate has no effect.
func (c *Conn) SetImmediate(bool) {}
