//go:build !linux

package disk

import "errors"

// Allocate reports that this system has no way to reserve room.
func (systemFile) Allocate(int64, int64) error { return errors.ErrUnsupported }

// Free reports that this system has no way to find the room.
func (SystemFS) Free(string) (int64, error) { return 0, errors.ErrUnsupported }
