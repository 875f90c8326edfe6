package replication

const (
	// leastBetween is the log that there is at least between two snapshots that are taken to
	// shorten it, in bytes.
	leastBetween = 1 << 20
	// A snapshot is taken for log.keep's sake when the log since the last one is at least half as
	// long as that one: so the bytes written for snapshots stay within twice those of the log,
	// however small log.keep is.
	keepShare = 2
	// A snapshot is taken ahead for the room's sake when the log since the last one is a quarter of
	// that one.
	roomShare = 4
	// roomAhead is how much more than the next snapshot's room is free when it is begun ahead.
	roomAhead = 16 << 20
)

// pressure is what decides when the next snapshot is taken, all in bytes.
type pressure struct {
	logged    int64 // log since the newest snapshot: a restart replays it, and only another snapshot lets it go
	last      int64 // size of the newest snapshot; 0: there is none
	next      int64 // about the size of the next one
	known     bool  // next is derived from the size of the newest one, else it is a guess from the data
	lacked    int64 // an attempt with no more data than now failed for want of room after so many; 0: none did
	every     int64 // Config.SnapshotEvery
	keep      int64 // log.keep; negative: all
	free      int64 // free room on the volume; negative: not known
	droppable int64 // log before the newest snapshot, which can be dropped to make room
}

// due reports whether a snapshot is to be taken: because a restart would replay much, because the
// log that only another snapshot lets go has reached log.keep, or because the volume is about to
// lack the room for another snapshot.
func (p pressure) due() bool {
	switch {
	case p.hopeless():
		return false
	case p.logged > max(p.every, p.last):
		return true
	case p.keep >= 0 && p.logged >= max(p.keep, p.last/keepShare, leastBetween):
		return true
	case p.free < 0 || !p.fits():
		return false
	}
	return p.scarce() && p.logged >= max(p.last/roomShare, leastBetween)
}

// scarce reports whether the volume has hardly more room than the next snapshot needs.
func (p pressure) scarce() bool { return p.free+p.droppable < p.next+p.next/8+roomAhead }

// fits reports whether the next snapshot finds room on the volume, as far as can be known.
func (p pressure) fits() bool {
	return p.free < 0 || !p.hopeless() && (!p.known || p.free+p.droppable >= p.next-p.next/8)
}

// hopeless reports whether the next snapshot certainly lacks room. An attempt would only take room
// from the log meanwhile.
func (p pressure) hopeless() bool {
	room := p.free + p.droppable
	return p.free >= 0 && (p.lacked > 0 && room <= p.lacked || p.known && room < p.next/2)
}

// spare is the room that units are to leave free: that of the next snapshot and extra bytes, less
// what a running snapshot has written already. 0 where the snapshot's room cannot be had even if
// log is dropped.
func (p pressure) spare(running bool, written, extra int64) int64 {
	want := p.next + p.next/16 + extra
	switch {
	case p.free < 0:
		return 0
	case running:
		return max(want-written, 0)
	case p.free+p.droppable < p.next-p.next/8:
		return 0
	}
	return want
}
