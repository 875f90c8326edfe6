package replication

// SetComplete says whether the data are all there. Until they are, PSYNC is
// answered LOADING. A fresh directory is incomplete, a full or partial resync
// with its upstream completes it, and a restart begins with what was true at the
// stop: a replica whose upstream is gone for good can then be promoted.
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

// saveComplete makes the next start begin with it. The caller holds n.identityMu. If
// it cannot be kept, the next start asks the owner, as for a fresh directory.
func (n *Node) saveComplete(complete bool) {
	n.state.Lock()
	id, over := n.state.id, n.state.identityFrozen
	n.state.Unlock()
	if over || id.Complete == complete {
		return
	}
	id.Complete, id.CompleteAt = complete, 0
	if complete {
		id.CompleteAt = n.log.End()
	}
	if err := id.Save(n.c.FS, n.c.Dir); err != nil {
		n.logger.Error().Err(err).Bool("complete", complete).Msg("cannot keep for the next start whether the data are complete")
		return
	}
	n.state.Lock()
	n.state.id = id
	n.state.Unlock()
}

// setCompleteVolatile makes it true for this run only.
func (n *Node) setCompleteVolatile(complete bool) {
	n.state.Lock()
	was := n.state.complete
	n.state.complete = complete
	if complete && n.Keyspace().Len() > 0 {
		n.state.advice = ""
	}
	n.state.Unlock()
	n.judge()
	if was != complete {
		n.logger.Info().Bool("complete", complete).Stringer("offset", n.Offset()).Msg("completeness changed")
	}
}
