//go:build linux

package clientconn

import (
	"io"
	"net"
	"syscall"
	"testing"
)

// BenchmarkExchange sends requests of 36 bytes one at a time, on a Conn and on a Conn that uses
// net.Conn alone. Both ends are in this process: cpu-ns/op includes the client's CPU time.
func BenchmarkExchange(b *testing.B) {
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"Conn": plain, "net.Conn": hidden,
	} {
		b.Run(name, func(b *testing.B) {
			c, peer := pair(b, wrap)
			serve(b, c)
			request := make([]byte, 36)
			before := cpuTime()
			for b.Loop() {
				if _, err := peer.Write(request); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(peer, request); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpuTime returns the CPU time, in nanoseconds, that this process has used.
func cpuTime() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail for this process
	return u.Utime.Nano() + u.Stime.Nano()
}
