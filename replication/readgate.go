package replication

import "rowfall/replication/node"

const (
	loadingError    = "LOADING Redis is loading the dataset in memory"
	masterDownError = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data " +
		"is set to 'no'."
)

// unreadable returns the error reply to commands that need the data, or "" if they execute.
func (s *session) unreadable() string {
	switch s.n.ReadRejection() {
	case node.ReadsLoading:
		return loadingError
	case node.ReadsStale:
		return masterDownError
	}
	return ""
}
