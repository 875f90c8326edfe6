package node

import (
	"errors"
	"fmt"
	"path/filepath"

	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
)

// unusableError reports that the directory's snapshot and log do not give the data. A master needs
// an operator then. A replica gets everything from its upstream.
type unusableError struct {
	err error
	at  replog.Offset // of the newest snapshot file
}

func (e *unusableError) Error() string { return e.err.Error() }
func (e *unusableError) Unwrap() error { return e.err }

// startEmpty starts a replica without the data of its directory. As after freeDataset, reads and
// PSYNC get LOADING, and the upstream sends everything. Snapshot and log stay as they are until the
// upstream's data are on disk: a start after an earlier repair loads them again.
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
		"this replica started without data and asks its upstream for a full resync: %v", why)
	n.upstream.missing, n.upstream.forceFull = true, true
	n.logger.Error().Err(why).Msg("the data in the directory cannot be used: this replica starts " +
		"without them and asks its upstream for a full resync")
	return n.newKeyspace(), nil
}

// missingData returns why the appender starts without the data of the log; nil: it has them.
func (n *Node) missingData() error {
	if n.state.unusable == nil {
		return nil
	}
	return fmt.Errorf("the data in the directory cannot be used, and the full resync from the "+
		"upstream is not complete yet; let it complete, or repair the directory and restart "+
		"the node: %w",
		n.state.unusable)
}
