package node

import (
	"rowfall/replication/disk"
	"rowfall/replication/identity"
)

// Role is the replication role of a node.
type Role uint8

// The roles of a node.
const (
	Master  Role = iota // its log comes from Apply
	Replica             // its log is its upstream's, byte for byte
)

// String returns "master" or "replica".
func (r Role) String() string {
	if r == Replica {
		return "replica"
	}
	return "master"
}

// Term counts the changes of role of a directory. Apply rejects an old term, so that a writer that
// has not noticed a demotion yet cannot write.
type Term = identity.Term

// Role returns the current role and the term in which it began.
func (n *Node) Role() (Role, Term) { return roleOf(n.identity()) }

func roleOf(id identity.State) (Role, Term) {
	if id.Upstream != "" {
		return Replica, id.Term
	}
	return Master, id.Term
}

// RoleChanged returns a channel that is closed at the next change of role or term. Call it before
// Role, so that no change is missed.
func (n *Node) RoleChanged() <-chan struct{} {
	return n.state.changed.Next()
}

// setIdentity saves id, then publishes it to readers. Complete and CompleteAt keep their values,
// which only SetComplete changes.
func (a *appender) setIdentity(id identity.State) error {
	a.n.identityMu.Lock()
	was, err := a.saveIdentityLocked(id)
	a.n.identityMu.Unlock()
	if err != nil {
		return err
	}
	id = a.n.identity()
	a.n.updateReadGate()
	a.n.logger.Info().Stringer("role", a.role).Uint64("term", uint64(id.Term)).
		Str("upstream", id.Upstream).Stringer("offset", a.log.End()).
		Str("replid", string(id.History.ID())).Str("was_replid", string(was.History.ID())).
		Msg("identity changed")
	if was.History.ID() != id.History.ID() {
		// The replicas send PSYNC again, and the reply names the new id.
		a.n.replicas.disconnectAll("the replication id changed")
	}
	return nil
}

// saveIdentityLocked is the part of setIdentity under n.identityMu. It returns the former identity.
func (a *appender) saveIdentityLocked(id identity.State) (was identity.State, err error) {
	was = a.n.identity()
	id.Boot = identity.BootID()
	id.Complete, id.CompleteAt = was.Complete, was.CompleteAt
	if err := id.Save(a.n.c.FS, a.n.c.Dir); disk.IsFull(err) {
		return was, err // the old file is unchanged
	} else if err != nil {
		return was, a.fail(err)
	}
	a.n.state.Lock()
	a.n.state.id = id
	a.role, a.term = roleOf(id)
	if was.Term != id.Term {
		a.n.state.changed.Notify()
	}
	a.n.state.Unlock()
	return was, nil
}

// replicaOf changes the role. A promotion begins a new replication id, because the former master
// may continue to write under the old one. A demotion keeps the id, so that the new upstream can
// grant a partial resync if it has the same bytes.
func (a *appender) replicaOf(addr string) error {
	id := a.n.identity()
	switch {
	case addr == "" && id.Upstream == "":
		return nil
	case addr == id.Upstream && !a.n.upstream.requestFullIfStopped():
		return nil
	case addr == "" && a.missing != nil:
		return a.missing
	case addr == "":
		id.History = id.History.Begin(identity.NewID(), a.log.End())
		a.needSelect = true
	default:
		// A file of an earlier failover may name the same address.
		if err := a.n.failover.removeFile(); err != nil {
			return err
		}
	}
	id.Upstream = addr
	id.Term++
	if err := a.setIdentity(id); err != nil || a.role == Replica {
		return err
	}
	a.n.upstream.promoted()
	// Keys that expired on the replica are deleted before the first unit. With a full disk the
	// next tick deletes them.
	if err := a.expire(a.n.c.Now()); err != nil && a.err != nil {
		return err
	}
	return nil
}

// adoptReplID begins the new replication id under which the upstream continues at this offset.
func (a *appender) adoptReplID(t Term, newID identity.ID) error {
	if a.role != Replica || t != a.term {
		return ErrDemoted
	}
	id := a.n.identity()
	if id.History.ID() == newID {
		return nil
	}
	id.History = id.History.Begin(newID, a.log.End())
	return a.setIdentity(id)
}

// roleName returns the role of an identity.
func roleName(id identity.State) Role {
	role, _ := roleOf(id)
	return role
}
