package replog_test

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"rowfall/internal/memfs"
	"rowfall/replication/replog"
)

// volume is a memfs that has little room, and the log of an ordinary node on it.
type volume struct {
	*memfs.FS
	l *replog.Log
}

func newVolume(t *testing.T, free, reserve, segment int64) volume {
	t.Helper()
	fs := memfs.New()
	l := open(t, "log", replog.Config{
		FS: fs, Keep: -1, Fsync: replog.Never, Memory: 1 << 20,
		Reserve: reserve, SegmentSize: segment,
	})
	fs.Leave(free)
	return volume{fs, l}
}

// fill appends units of size bytes until one is rejected.
func (v volume) fill(t *testing.T, size int) {
	t.Helper()
	unit := make([]byte, size)
	for {
		if _, err := v.l.Append(replog.Unit, unit); err != nil {
			if wantFull(t, err); !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			return
		}
	}
}

// fillWith does what a node does: it sets the spare room again when a unit is rejected, and goes on
// until that makes no difference.
func (v volume) fillWith(t *testing.T, size int, spare int64) {
	t.Helper()
	for end := replog.Offset(-1); v.l.End() > end; {
		end = v.l.End()
		v.l.SetSpare(spare, nil)
		v.fill(t, size)
	}
}

func (v volume) free(t *testing.T) int64 {
	t.Helper()
	free, err := v.Free("log")
	if err != nil {
		t.Fatal(err)
	}
	return free
}

// Units leave the spare room of the volume unused and report that as the cause. The reserve for
// other records may still be used. Without spare room units take the rest.
func TestSpareRoom(t *testing.T) {
	for _, reserve := range []int64{3000, -1} {
		v := newVolume(t, 100_000, reserve, 400)
		v.fillWith(t, 40, 60_000)
		if free := v.free(t); free < 60_000-reserve || free > 61_000 {
			t.Errorf("reserve %d: %d bytes are free, want about 60,000", reserve, free)
		}
		if _, err := v.l.Append(replog.Ping, content(v.l.End(), 14)); err != nil {
			t.Errorf("reserve %d: a PING: %v", reserve, err)
		}
		v.l.SetSpare(0, nil)
		end := v.l.End()
		v.fill(t, 40)
		if v.l.End() < end+30_000 {
			t.Errorf("reserve %d: the log took only %d bytes of the spare room", reserve,
				v.l.End()-end)
		}
	}
}

// The first record after a snapshot's point is SELECT. On a nearly full volume the log allocated
// room for 4 MiB of units with it, which was the room for the snapshot. The snapshot failed, and
// no log could be let go any more.
func TestOtherKindsDoNotAllocateSpareRoomForUnits(t *testing.T) {
	const spare = 3 << 20
	for _, kind := range []replog.Kind{
		replog.Expiry, replog.Ping, replog.GetAck, replog.Select,
	} {
		v := newVolume(t, 32<<20, 1<<20, 64<<20)
		v.fillWith(t, 64<<10, spare)
		if err := v.l.CompleteSegment(); err != nil {
			t.Fatal(err)
		}
		was := v.free(t)
		if _, err := v.l.Append(kind, content(v.l.End(), 23)); err != nil {
			t.Fatalf("%v: %v", kind, err)
		}
		v.fillWith(t, 64<<10, spare)
		if free := v.free(t); free < spare {
			t.Errorf("%v: %d bytes are free, want the %d that are kept; it was %d", kind, free,
				spare, was)
		}
	}
}

// The keys of a large data set can expire while the volume is full. Their DELs use the log's
// reserve, but not the room for the next snapshot, also if they need new segments.
func TestExpiriesLeaveSpareRoom(t *testing.T) {
	for _, segment := range []int64{1 << 20, 64 << 20} {
		const spare = 5 << 20
		v := newVolume(t, 16<<20, 1<<20, segment)
		v.fillWith(t, 64<<10, spare)
		was, err := v.free(t), error(nil)
		for err == nil {
			_, err = v.l.Append(replog.Expiry, make([]byte, 32<<10))
		}
		wantFull(t, err)
		if free := v.free(t); free < min(was, spare) {
			t.Errorf("segments of %d: %d bytes are free, want %d", segment, free, min(was, spare))
		}
		for range 10_000 {
			if _, err := v.l.Append(replog.Ping, content(v.l.End(), 14)); err != nil {
				t.Fatalf("segments of %d: a PING: %v", segment, err)
			}
		}
		if free := v.free(t); free < spare-1<<20 {
			t.Errorf("segments of %d: PINGs left %d bytes free", segment, free)
		}
	}
}

// A unit's bytes can become data, and so make the next snapshot larger: room is kept for as many
// bytes more. If 16 MiB of new keys arrived before the node set the spare room again, the log had
// taken the room that the larger snapshot needed.
func TestSpareRoomGrowsWithTheLog(t *testing.T) {
	const spare = 3 << 20
	v := newVolume(t, 32<<20, 1<<20, 64<<20)
	v.l.SetSpare(spare, nil)
	start := v.l.End()
	v.fill(t, 64<<10)
	grown := int64(v.l.End() - start)
	if free := v.free(t); free < spare+grown || grown < 12<<20 {
		t.Errorf("%d bytes are free after %d of log, want %d more", free, grown, spare)
	}
}

// What a running snapshot has written counts as used spare room. When it replaces the older one,
// whose room becomes free, the log must not take that: it is the room for the next snapshot. It
// took it if the spare room was not set again at that moment.
func TestSpareRoomOfARunningSnapshot(t *testing.T) {
	const snapshot, spare = 20 << 20, 22 << 20
	v := newVolume(t, 64<<20, 1<<20, 64<<20)
	older, err := v.Open("older", os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := older.WriteAt(make([]byte, snapshot), 0); err != nil {
		t.Fatal(err)
	}
	newer, err := v.Open("newer", os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newer.WriteAt(make([]byte, snapshot), 0); err != nil {
		t.Fatal(err)
	}
	var used atomic.Int64
	used.Store(snapshot)
	v.l.SetSpare(spare, used.Load)
	v.fill(t, 64<<10)
	if free := v.free(t); free > 16<<20 {
		t.Errorf("%d bytes are free while the snapshot is nearly complete", free)
	}
	used.Store(0)
	if err := v.Remove("older"); err != nil {
		t.Fatal(err)
	}
	v.fill(t, 64<<10)
	if free := v.free(t); free < spare {
		t.Errorf("%d bytes are free, want %d for the next snapshot", free, spare)
	}
}
