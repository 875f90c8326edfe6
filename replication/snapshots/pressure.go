package snapshots

const (
	// LeastBetween is the least log, in bytes, between two snapshots that are taken to shorten
	// the log.
	LeastBetween = 1 << 20
	// keepShare limits the bytes that are written for snapshots to about twice those of the log,
	// even if log.keep is small: a snapshot is due for log.keep when the log since the last
	// snapshot reaches the size of that snapshot divided by keepShare.
	keepShare = 2
	// roomShare is keepShare for a snapshot that is taken because the volume gets full.
	roomShare = 4
	// roomAhead is added to the next snapshot's size to decide that the volume gets full.
	roomAhead = 16 << 20
)

// Pressure is what decides when the next snapshot is due. All sizes are in bytes.
type Pressure struct {
	// log since the newest snapshot: a restart replays it, and it can be trimmed only after another
	// snapshot
	Logged    int64
	Last      int64 // size of the newest snapshot; 0: no snapshot
	Next      int64 // expected size of the next one
	Known     bool  // Next is derived from the newest one's size, else it is a guess
	Lacked    int64 // room in which an attempt with no more data than now failed; 0: none did
	Every     int64 // Config.Every
	Keep      int64 // log.keep; negative: all
	Free      int64 // free room on the volume; negative: not known
	Trimmable int64 // log before the newest snapshot, which can be removed to make room
}

// Due reports whether a snapshot is due: because a restart would replay much, because the log since
// the newest snapshot has reached log.keep, or because the volume will soon lack the room for
// another snapshot.
func (p Pressure) Due() bool {
	switch {
	case p.Hopeless():
		return false
	case p.Logged > max(p.Every, p.Last):
		return true
	case p.Keep >= 0 && p.Logged >= max(p.Keep, p.Last/keepShare, LeastBetween):
		return true
	case p.Free < 0 || !p.Fits():
		return false
	}
	return p.Scarce() && p.Logged >= max(p.Last/roomShare, LeastBetween)
}

// Scarce reports whether the volume has hardly more room than the next snapshot needs.
func (p Pressure) Scarce() bool { return p.Free+p.Trimmable < p.Next+p.Next/8+roomAhead }

// Fits reports whether the next snapshot finds room on the volume, as far as can be known.
func (p Pressure) Fits() bool {
	return p.Free < 0 || !p.Hopeless() && (!p.Known || p.Free+p.Trimmable >= p.Next-p.Next/8)
}

// Hopeless reports whether the next snapshot certainly lacks room. An attempt would only take
// room from the log meanwhile.
func (p Pressure) Hopeless() bool {
	room := p.Free + p.Trimmable
	return p.Free >= 0 && (p.Lacked > 0 && room <= p.Lacked || p.Known && room < p.Next/2)
}

// Spare returns the room to reserve for the next snapshot, or for the running one, and extra bytes.
// It returns 0 if the volume has no room for the snapshot even after log is trimmed.
func (p Pressure) Spare(running bool, extra int64) int64 {
	if p.Free < 0 || !running && !p.Fits() {
		return 0
	}
	return p.Next + p.Next/16 + extra
}
