package node

import (
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"rowfall/replication/replog"
	"rowfall/replication/snapshots"
)

const (
	// logRoom is the part of the spare room, in bytes, for a new segment and for records other than
	// units.
	logRoom = 2 << 20
	// leastGain is the least bytes of log that can be trimmed after a snapshot that is taken for
	// room.
	leastGain = 64 << 10
	// reportEvery is the least time between two warnings of the same kind.
	reportEvery = 10 * time.Second
)

// room prevents that the volume fills up. Log that a restart needs can be trimmed only after a new
// snapshot, and a snapshot needs room itself: so units leave that room free. Before a unit is
// rejected, log that only replicas need is trimmed. Only the holder of the appender's turn uses
// room.
type room struct {
	log      *replog.Log
	snaps    *snapshots.Store
	replicas *replicas
	logger   zerolog.Logger
	dir      string // of the node

	released released // part of the spare room that units may use
	tooSmall bool     // the volume has no room for another snapshot

	trimmed  int64     // bytes of log that were trimmed since reported
	reported time.Time // when trimmed log was last logged
}

// released is a part of the room that is kept for the next snapshot.
type released uint8

const (
	releasedNothing released = iota
	// releasedMargin is what the snapshot may need beyond its expected size. It is released if the
	// snapshot would let too little log go.
	releasedMargin
	// releasedAll is all of the room, because no snapshot can be taken.
	releasedAll
)

// update sets the spare room to what the next snapshot needs now.
func (m *room) update() {
	f, ok := m.snaps.Forecast()
	if !ok {
		return // the store is busy; the next tick retries
	}
	spare := f.Spare(f.Running, logRoom)
	if f.Running || spare > 0 && f.Logged >= leastGain {
		m.released = releasedNothing
	}
	m.setSpare(f, spare)
	if !f.Running {
		m.reportTooSmall(f, f.Free >= 0 && f.Known && spare == 0)
	}
}

// setSpare makes units leave the spare room, without the released part of it.
func (m *room) setSpare(f snapshots.Forecast, spare int64) {
	switch m.released {
	case releasedNothing:
	case releasedMargin:
		spare = min(spare, f.Next)
	case releasedAll:
		spare = 0
	}
	m.log.SetSpare(spare, m.snaps.Writing)
}

// reportTooSmall reports when the volume becomes too small for another snapshot, and when that
// ends.
func (m *room) reportTooSmall(f snapshots.Forecast, tooSmall bool) {
	if tooSmall == m.tooSmall {
		return
	}
	m.tooSmall = tooSmall
	if !tooSmall {
		m.snaps.SetTooSmall("")
		return
	}
	why := fmt.Sprintf(
		"write next snapshot: it needs about %d bytes of room and %s has %d, so the "+
			"log cannot be trimmed; free some space there, or enlarge the volume",
		f.Next,
		m.dir,
		f.Free+f.Trimmable,
	)
	m.logger.Warn().Str("why", why).Msg("the volume is too small for another snapshot")
	m.snaps.SetTooSmall(why)
}

// makeRoom is called when the log lacks room for a record. It reports whether to retry at once.
// Otherwise a running snapshot, or the one that follows a failed one, may make room later. hasData
// is false if no snapshot can be taken.
//
// While a snapshot would find room and let log be trimmed, units wait for it, also after one has
// failed: the log that they could add meanwhile can take the room without which no snapshot could
// ever be taken again.
func (m *room) makeRoom(hasData bool) (again bool) {
	f, ok := m.snaps.Forecast()
	if !ok {
		return false // soon the room of an older snapshot may be free
	}
	if m.trimOldest() {
		return true
	}
	fits := hasData && f.Fits()
	switch {
	case f.Running:
	case fits && f.Logged >= leastGain:
		m.snaps.RequestForRoom()
	case fits && m.log.Spare() > f.Next:
		m.released = releasedMargin
		m.setSpare(f, m.log.Spare())
		return true
	case !fits && m.log.Spare() > 0:
		m.released = releasedAll
		m.setSpare(f, 0)
		m.logger.Warn().Int64("snapshot", f.Next).Int64("log", f.Logged).Int64("free", f.Free).
			Bool("failed", f.Failed).
			Msg("the volume is nearly full, and a snapshot does not help: " +
				"the log uses the room that was reserved for a snapshot; free some space")
		return true
	case hasData && f.Logged >= leastGain && !f.Hopeless():
		m.snaps.RequestForRoom()
	}
	return false
}

// prepare is called when a snapshot's point is fixed. On a nearly full volume it trims log that is
// not needed, to make room for the snapshot, with a margin for a file that is larger than expected.
// It completes the log's newest segment, so that the log up to the point can be trimmed after the
// snapshot.
func (m *room) prepare() error {
	for {
		f, ok := m.snaps.Forecast()
		switch {
		case !ok || f.Free < 0:
			return nil
		case f.Free < f.Spare(true, logRoom) && f.Trimmable > 0 && f.Fits() && m.trimOldest():
		case f.Scarce():
			return m.log.CompleteSegment()
		default:
			return nil
		}
	}
}

// trimOldest removes the log's oldest segment if a restart does not need it. Replicas that still
// need that segment are disconnected and get a full resync; otherwise no more units could be
// written.
func (m *room) trimOldest() bool {
	log := m.log
	end, ok, err := log.Trimmable()
	if err != nil || !ok {
		return false // the next append returns the error of a failed log
	}
	before := log.Size()
	m.replicas.disconnectBefore(end, fmt.Sprintf("the volume is full: the log up to offset %d, "+
		"which this replica needs, is removed so that writing can continue", end))
	if log.Trim(end) != nil {
		return false
	}
	trimmed := before - log.Size()
	m.trimmed += trimmed
	if now := time.Now(); m.trimmed > 0 && now.Sub(m.reported) >= reportEvery {
		m.logger.Warn().Int64("bytes", m.trimmed).Stringer("log_start", log.Start()).
			Msg("the volume is full: the oldest log is removed, although log.keep may allow more")
		m.trimmed, m.reported = 0, now
	}
	return trimmed > 0
}
