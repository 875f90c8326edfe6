package node

// SetComplete sets whether the data are complete. Until they are, PSYNC gets LOADING. A fresh
// directory is incomplete. A full or partial resync from the upstream completes it. A restart keeps
// the value of the stop, so that a replica whose upstream is lost can be promoted.
func (n *Node) SetComplete(complete bool) {
	n.identityMu.Lock()
	defer n.identityMu.Unlock()
	n.saveComplete(complete)
	n.setCompleteVolatile(complete)
}

func (n *Node) isComplete() bool {
	n.state.Lock()
	defer n.state.Unlock()
	return n.state.complete
}

// saveComplete saves completeness for the next start. The caller holds n.identityMu. If the save
// fails, the next start has the old value.
func (n *Node) saveComplete(complete bool) {
	n.state.Lock()
	id, frozen := n.state.id, n.state.identityFrozen
	n.state.Unlock()
	if frozen || id.Complete == complete {
		return
	}
	id.Complete, id.CompleteAt = complete, 0
	if complete {
		id.CompleteAt = n.log.End()
	}
	if err := id.Save(n.c.FS, n.c.Dir); err != nil {
		n.logger.Error().Err(err).Bool("complete", complete).
			Msg("cannot save for the next start whether the data are complete")
		return
	}
	n.state.Lock()
	n.state.id = id
	n.state.Unlock()
}

// setCompleteVolatile changes completeness for this run without saving it.
func (n *Node) setCompleteVolatile(complete bool) {
	n.state.Lock()
	was := n.state.complete
	n.state.complete = complete
	if complete && n.Keyspace().Len() > 0 {
		n.state.advice = ""
	}
	n.state.Unlock()
	n.updateReadGate()
	if was != complete {
		n.logger.Info().Bool("complete", complete).Stringer("offset", n.Offset()).
			Msg("completeness changed")
	}
}
