package replog_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rowfall/replication/replog"
)

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{64, 256, 4096, 65536} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l := open(b, b.TempDir(), replog.Config{Fsync: replog.EverySecond, Keep: 1 << 30})
			payload := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Append(replog.Unit, payload); err != nil {
					b.Fatal(err)
				}
				if l.End()%(64<<20) < replog.Offset(size) {
					if err := l.Retain(l.End()); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkNext reads a log of 256-byte records to its end, repeatedly.
func BenchmarkNext(b *testing.B) {
	for name, memory := range map[string]int64{"memory": 64 << 20, "disk": 1 << 10} {
		b.Run(name, func(b *testing.B) {
			l := open(b, b.TempDir(), replog.Config{Memory: memory, Fsync: replog.Never})
			const total = 32 << 20
			first, err := l.NewReader(0) // so that the window keeps everything
			if err != nil {
				b.Fatal(err)
			}
			defer first.Close()
			payload := make([]byte, 256)
			for l.End() < total {
				if _, err := l.Append(replog.Unit, payload); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(total)
			b.ReportAllocs()
			for b.Loop() {
				r, err := l.NewReader(0)
				if err != nil {
					b.Fatal(err)
				}
				for r.Offset() < total {
					if _, err := r.Next(b.Context(), 0); err != nil {
						b.Fatal(err)
					}
				}
				_ = r.Close()
			}
		})
	}
}

// BenchmarkFollowed appends small records at a rate while 20 readers follow over TCP, as replicas
// do. The result is cpu-ns/op: the CPU time of one unit, including all its 20 readers.
func BenchmarkFollowed(b *testing.B) {
	for _, followers := range []int{1, 3, 20} {
		for _, every := range []time.Duration{
			50 * time.Microsecond, 200 * time.Microsecond, 2 * time.Millisecond,
		} {
			b.Run(fmt.Sprintf("%d/%v", followers, every),
				func(b *testing.B) { followed(b, followers, every) })
		}
	}
}

func followed(b *testing.B, followers int, every time.Duration) {
	b.Helper()
	l := open(b, b.TempDir(), replog.Config{Fsync: replog.Never})
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	var reads, arrived atomic.Int64
	ctx, cancel := context.WithCancel(b.Context())
	for range followers {
		to, err := net.Dial("tcp", server.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		from, err := server.Accept()
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() {
			buf := make([]byte, 64<<10)
			for {
				n, err := to.Read(buf)
				if err != nil {
					return
				}
				arrived.Add(int64(n))
			}
		})
		wg.Go(func() {
			defer func() { _ = from.Close() }()
			r, err := l.NewReader(0)
			if err != nil {
				b.Error(err)
				return
			}
			for {
				p, err := r.Next(ctx, 0)
				if err != nil {
					return
				}
				reads.Add(1)
				if _, err := from.Write(p); err != nil {
					return
				}
			}
		})
	}
	payload := make([]byte, 120)
	// The system's sleep is finer than the runtime's.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pause := syscall.NsecToTimespec(every.Nanoseconds())
	cpu := cpuTime(b)
	for b.Loop() {
		_ = syscall.Nanosleep(&pause, nil)
		if _, err := l.Append(replog.Unit, payload); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(reads.Load())/float64(b.N), "reads/op")
	cancel()
	wg.Wait()
	_ = server.Close()
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
