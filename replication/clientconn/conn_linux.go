package clientconn

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// isEdgeTriggered is true where Go's network poller reports each arrival of bytes once, whether or
// not earlier bytes were read. Conn relies on this when it waits without another read.
const isEdgeTriggered = true

// read reads from a socket without waiting.
func read(fd int, p []byte) (int, error) {
	for {
		n, err := rawRead(fd, p)
		switch {
		case err == nil && n == 0 && len(p) > 0:
			return 0, io.EOF
		case err == nil:
			return n, nil
		case errors.Is(err, syscall.EAGAIN):
			return 0, ErrWait
		case errors.Is(err, syscall.EINTR):
			continue
		}
		return 0, os.NewSyscallError("read", err)
	}
}

// write writes to a socket without waiting. n is less than len(p) if the socket's buffer is full.
func write(fd int, p []byte) (n int, err error) {
	for {
		n, err := rawWrite(fd, p)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		case errors.Is(err, syscall.EINTR):
			continue
		}
		return 0, os.NewSyscallError("write", err)
	}
}

// atEnd reports whether the peer has closed its side, and every byte before that has been read.
func atEnd(fd int) bool {
	var b [1]byte
	n, _, err := syscall.Recvfrom(fd, b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err == nil && n == 0
}
