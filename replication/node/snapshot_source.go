package node

import (
	"context"

	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
	"rowfall/replication/snapshots"
)

// snapshotSource is the node as the snapshot store uses it.
type snapshotSource struct{ n *Node }

var _ snapshots.Node = snapshotSource{}

// Point fixes a snapshot between two units, on the appender.
func (s snapshotSource) Point(
	ctx context.Context, fixed func(*keyspace.Keyspace),
) (p snapshots.Point, err error) {
	a := s.n.appender
	err = a.do(ctx, func() (err error) {
		if p, err = a.snapshotPoint(); err == nil {
			fixed(a.keys)
		}
		return err
	})
	return p, err
}

func (s snapshotSource) Live() int64 { return s.n.Keyspace().Memory().Live }

func (s snapshotSource) Log() *replog.Log { return s.n.log }

func (s snapshotSource) Stall(reason string) (release func()) { return s.n.stall(reason) }

// newSnapshots returns the store of the node's directory.
func newSnapshots(n *Node) *snapshots.Store {
	return snapshots.New(snapshots.Config{
		FS: n.c.FS, Dir: n.c.Dir, Version: RedisVersion, Keep: n.settings.keep.Load,
		Every: n.c.SnapshotEvery, Reuse: n.c.SnapshotReuse, Memory: n.c.SnapshotMemory,
		Delay: n.c.SyncDelay, Logger: n.logger,
	}, snapshotSource{n})
}

// pointOf returns the present point of the data. Nothing may be appended meanwhile.
func (n *Node) pointOf(keys *keyspace.Keyspace) snapshots.Point {
	return snapshots.Point{
		Keys: keys.Snapshot(), At: n.log.End(), Live: keys.Memory().Live,
		ID: n.identity().History.ID(), Generation: n.log.Generation(),
	}
}
