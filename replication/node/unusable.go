package node

import (
	"errors"
	"fmt"
	"path/filepath"

	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
)

// unusableError reports that the data cannot be loaded from the directory's snapshot and log. A
// master then needs an operator. A replica gets all data from its upstream.
type unusableError struct {
	err error
	at  replog.Offset // of the newest snapshot file
}

func (e *unusableError) Error() string { return e.err.Error() }
func (e *unusableError) Unwrap() error { return e.err }

// startEmpty starts a replica without the data of its directory. As after freeDataset, reads and
// PSYNC get LOADING, and the upstream sends a full resync. Snapshot and log stay unchanged until
// the upstream's data are on disk: if an operator repairs them before, the next start loads them.
func (n *Node) startEmpty(why *unusableError) (*keyspace.Keyspace, error) {
	if n.log == nil {
		dir := filepath.Join(n.c.Dir, logDir)
		log, err := replog.Open(dir, n.c.Log)
		if errors.As(err, new(*replog.CorruptError)) {
			log, err = replog.Repair(dir, min(why.at, replog.MaxBegin), n.c.Log)
		}
		if err != nil {
			return nil, fmt.Errorf("%w; open log: %w", why, err)
		}
		n.log = log
	}
	n.snaps.Forget()
	n.state.unusable = why
	n.state.advice = fmt.Sprintf(
		"this replica started without data and requests a full resync from its upstream: %v", why)
	n.upstream.startWithoutData()
	n.logger.Error().Err(why).Msg("the data in the directory cannot be used: this replica starts " +
		"without them and requests a full resync from its upstream")
	return n.newKeyspace(), nil
}

// missingData returns why the appender starts without the data of the log; nil: it starts with
// them.
func (n *Node) missingData() error {
	if n.state.unusable == nil {
		return nil
	}
	return fmt.Errorf("the data in the directory cannot be used, and the full resync from the "+
		"upstream is not complete yet; wait until it is complete, or repair the directory and "+
		"restart the node: %w", n.state.unusable)
}
