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
// rejected, log that only replicas need is trimmed. Only the appender's goroutine uses room.
type room struct {
	log      *replog.Log
	snaps    *snapshots.Store
	replicas *replicas
	logger   zerolog.Logger
	dir      string // of the node

	spareReleased bool // units may use the spare room, too, because a snapshot does not help
	tooSmall      bool // the volume has no room for another snapshot

	trimmed  int64     // bytes of log that were trimmed since reported
	reported time.Time // when trimmed log was last logged
}

// update sets the spare room to what the next snapshot needs now.
func (m *room) update() {
	f, ok := m.snaps.Forecast()
	if !ok {
		return // the store is busy; the next tick retries
	}
	spare := f.Spare(f.Running, f.Written, logRoom)
	useless := f.Failed || spare == 0 || f.Logged < leastGain
	if m.spareReleased = m.spareReleased && useless && !f.Running; m.spareReleased {
		spare = 0
	}
	m.log.SetSpare(spare)
	if !f.Running {
		m.reportTooSmall(f, f.Free >= 0 && f.Known && spare == 0 && !m.spareReleased)
	}
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

// makeRoom is called when the log lacks room for a record. It reports whether to retry at once. If
// not, a running snapshot may make room later. hasData is false if no snapshot can be taken.
func (m *room) makeRoom(hasData bool) (again bool) {
	if m.trimOldest() {
		return true
	}
	f, ok := m.snaps.Forecast()
	gains := f.Logged >= leastGain && hasData
	switch {
	case !ok || f.Running:
	case gains && !f.Failed && f.Fits():
		m.snaps.RequestForRoom()
	case m.log.Spare() > 0:
		m.spareReleased = true
		m.log.SetSpare(0)
		m.logger.Warn().Int64("snapshot", f.Next).Int64("log", f.Logged).Int64("free", f.Free).
			Bool("failed", f.Failed).
			Msg("the volume is nearly full, and a snapshot does not help: " +
				"the log uses the room that was reserved for a snapshot; free some space")
		return true
	case gains && !f.Hopeless():
		m.snaps.RequestForRoom()
	}
	return false
}

// prepare is called when a snapshot's point is fixed. On a nearly full volume it trims log that is
// not needed, to make room for the snapshot, and completes the log's newest segment, so that the
// log up to the point can be trimmed after the snapshot.
func (m *room) prepare() error {
	for {
		f, ok := m.snaps.Forecast()
		switch {
		case !ok || f.Free < 0:
			return nil
		case f.Free < f.Next && f.Free+f.Trimmable >= f.Next && m.trimOldest():
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
