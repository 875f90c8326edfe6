package replication

import (
	"errors"
	"fmt"
	"path/filepath"

	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
)

// restore loads the newest snapshot and the log behind it. If the log is damaged
// where it had been whole, it goes on with what is whole before the damage, once:
//
//   - As a replica: the upstream sends the rest again, under the same id.
//   - As a master: a new id begins, the old one right up to what survived. Where
//     the data stand is in the data, so whoever writes reads its source again from
//     there; replicas that are ahead resync fully.
//
// Where nothing survived at all, a human decides.
func (n *Node) restore(b *startState) (*keyspace.Keyspace, error) {
	keys, err := n.loadWith(b, replog.Open)
	var bad *replog.CorruptError
	if !errors.As(err, &bad) {
		return keys, err
	}
	if n.log != nil {
		if err := n.log.Close(); err != nil {
			return nil, fmt.Errorf("close damaged log: %w", err)
		}
		n.log = nil
	}
	if foreign := n.checkHistory(b); foreign != nil {
		return nil, fmt.Errorf("%w; %w", foreign, err)
	}
	snapshot := n.snaps.Newest().At
	if snapshot.IsZero() && b.Upstream == "" && n.snaps.Newest().IsZero() {
		return nil, fmt.Errorf("%w, or, since there is no snapshot to go on from, make this node a replica of the one that has most "+
			"(empty %s and start it with that one as its upstream) and promote it when it has everything", err, n.c.Dir)
	}
	if err := n.markUnclean(b.State); err != nil {
		return nil, err
	}
	b.repaired = true
	keys, err = n.loadWith(b, func(dir string, c replog.Config) (*replog.Log, error) { return replog.Repair(dir, snapshot, c) })
	if err != nil {
		return nil, fmt.Errorf("%w; repairing the log gives: %w", bad, err)
	}
	n.logger.Error().Err(bad).Stringer("snapshot", snapshot).Stringer("survived_to", n.log.End()).Stringer("role", roleName(b.State)).
		Msg("the log was damaged: what was behind the damage is gone here; a replica gets it again from its upstream, a master's writer must read its source again from the position in the data")
	return keys, nil
}

// markUnclean has every start from now on find that bytes were lost, until one has
// settled the identity: what comes next removes some of the log.
func (n *Node) markUnclean(id identity.State) error {
	id.Boot, id.Durable, id.Clean, id.CleanEnd, id.Log = "", false, false, 0, identity.LogName{}
	return id.Save(n.c.FS, n.c.Dir)
}

func roleName(id identity.State) Role {
	role, _ := roleOf(id)
	return role
}

// loadWith loads the newest snapshot, opens the log and replays it.
func (n *Node) loadWith(b *startState, open func(dir string, c replog.Config) (*replog.Log, error)) (*keyspace.Keyspace, error) {
	keys, err := n.loadSnapshot()
	if err != nil {
		return nil, err
	}
	if b.fresh {
		n.rebaseOnSnapshot(b)
	}
	if n.log, err = open(filepath.Join(n.c.Dir, logDir), n.c.Log); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if err := n.checkLogMeetsSnapshot(b, keys); err != nil {
		return nil, err
	}
	return keys, n.replay(keys)
}
