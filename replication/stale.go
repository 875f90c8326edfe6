package replication

const (
	loadingError    = "LOADING Redis is loading the dataset in memory"
	masterDownError = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
)

// judge decides anew whether commands that need the data are answered. A replica
// refuses them while it has none (its first full resync is under way, or the old
// data were dropped for a new one), and, if it is told so, without its upstream.
func (n *Node) judge() {
	n.judging.Lock() // the newest judgement must not be overtaken by an older one
	defer n.judging.Unlock()
	why := ""
	link, dropped := n.upstream.linkState()
	role, _ := n.Role()
	switch {
	case role == Master:
	case dropped, link == LinkTransfer && !n.isComplete() && n.Offset() == 0:
		why = loadingError
	case link != LinkConnected && n.settings.refuseStale.Load():
		why = masterDownError
	}
	if why == "" {
		n.refusal.Store(nil)
		return
	}
	n.refusal.Store(&why)
}
