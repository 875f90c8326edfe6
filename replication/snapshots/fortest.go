package snapshots

import (
	"io"
	"time"

	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
)

// SetEncodeForTest replaces rdb.Write for the snapshots that Run writes, so that a test of the node
// can delay one or make it fail. It must be called before Run.
func (s *Store) SetEncodeForTest(
	encode func(w io.Writer, a rdb.Aux, k *keyspace.Snapshot) error,
) {
	s.encode = encode
}

// SetEveryForTest replaces Config.Every, and lets the store start no snapshot on its own before
// pause has passed, so that a test of the node can choose the moment at which a snapshot is due.
func (s *Store) SetEveryForTest(bytes int64, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.c.Every, s.pause = bytes, time.Now().Add(pause)
}
