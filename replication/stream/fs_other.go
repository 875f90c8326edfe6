//go:build !linux

package stream

import "errors"

// Allocate is not known how to do here.
func (systemFile) Allocate(int64, int64) error { return errors.ErrUnsupported }

// Free is not known here.
func (SystemFS) Free(string) (int64, error) { return 0, errors.ErrUnsupported }
