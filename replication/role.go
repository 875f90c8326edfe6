package replication

import (
	"rowfall/replication/disk"
	"rowfall/replication/identity"
)

// Role says whether a node writes its own stream or follows another's.
type Role uint8

// The roles of a node.
const (
	Master  Role = iota // its stream comes from Apply
	Replica             // its stream is its upstream's, byte for byte
)

// String returns "master" or "replica".
func (r Role) String() string {
	if r == Replica {
		return "replica"
	}
	return "master"
}

// Term counts the role changes of a node's directory. An Apply with an old term
// is refused, so a writer that was not told of a demotion yet cannot write.
type Term uint64

// Role returns the node's role and the term in which it took it.
func (n *Node) Role() (Role, Term) { return roleOf(n.identity()) }

func roleOf(id identity.State) (Role, Term) {
	if id.Upstream != "" {
		return Replica, Term(id.Term)
	}
	return Master, Term(id.Term)
}

// RoleChanged returns a channel that is closed at the next change of role or
// term. Ask for it before Role, so that no change is missed.
func (n *Node) RoleChanged() <-chan struct{} {
	n.state.Lock()
	defer n.state.Unlock()
	return n.state.changed
}

// setIdentity makes id durable and then true, but for its completeness, which is SetComplete's.
func (a *appender) setIdentity(id identity.State) error {
	a.n.identityMu.Lock()
	was, err := a.saveIdentityLocked(id)
	a.n.identityMu.Unlock()
	if err != nil {
		return err
	}
	id = a.n.identity()
	a.n.judge()
	a.n.logger.Info().Stringer("role", a.role).Uint64("term", id.Term).Str("upstream", id.Upstream).Stringer("offset", a.log.End()).
		Str("replid", string(id.History.ID())).Str("was_replid", string(was.History.ID())).Msg("identity changed")
	if was.History.ID() != id.History.ID() {
		// They must ask again, to learn the id under which the bytes now come.
		a.n.replicas.dropAll("the replication id changed")
	}
	return nil
}

// saveIdentityLocked is become's part under n.identityMu.
func (a *appender) saveIdentityLocked(id identity.State) (was identity.State, err error) {
	was = a.n.identity()
	id.Boot = identity.BootID()
	id.Complete, id.CompleteAt = was.Complete, was.CompleteAt
	if err := id.Save(a.n.c.FS, a.n.c.Dir); disk.IsFull(err) {
		return was, err // nothing is changed
	} else if err != nil {
		return was, a.fail(err)
	}
	a.n.state.Lock()
	a.n.state.id = id
	a.role, a.term = roleOf(id)
	if was.Term != id.Term {
		close(a.n.state.changed)
		a.n.state.changed = make(chan struct{})
	}
	a.n.state.Unlock()
	return was, nil
}

// replicaOf changes the role. A promotion begins a new id: the former master
// may go on writing under the old one. A demotion keeps it, so that the new
// upstream can continue us if it has the same bytes.
func (a *appender) replicaOf(addr string) error {
	id := a.n.identity()
	switch {
	case addr == "" && id.Upstream == "":
		return nil
	case addr == id.Upstream && !a.n.upstream.requestFullIfStopped():
		return nil
	case addr == "" && a.dropped != nil:
		return a.dropped
	case addr == "":
		id.History = id.History.Begin(identity.NewID(), a.log.End())
		a.needSelect = true
	default: // a mark that was left is of another time, and of this very address, perhaps
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
	// What ran out meanwhile goes before anything is written. A full disk leaves it to later.
	if err := a.expire(a.n.c.Now()); err != nil && a.err != nil {
		return err
	}
	return nil
}

// adoptReplID takes the new id under which the upstream goes on at our very offset.
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

func roleName(id identity.State) Role {
	role, _ := roleOf(id)
	return role
}
