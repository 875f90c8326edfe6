package replication_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"rowfall/replication"
)

// installs kills the master at a stage of the installation of a replacement; empty: before the
// installation. The next such stage continues a replacement that is not installed.
func installs(c *cluster, at string) {
	m := c.master
	m.do("BUILD", c.n)
	full := m.full + m.fullSyncs() // INFO may block at the stage
	before := c.id()
	if at != "" {
		// Another snapshot would pass the same stage.
		eventually(c.t, "no snapshot is running", func() bool {
			return field(m.c, "persistence", "rdb_bgsave_in_progress") == "0"
		})
		m.gate.close(c.t, at)
		defer c.background(m, "INSTALL")()
		m.gate.waitHeld(c.t, at)
	}
	if at == "remove" { // the node serves the new data already
		eventually(c.t, "the replicas have the new data", func() bool {
			id := c.id()
			return id != before &&
				field(c.node.c, "replication", "master_replid") == id &&
				field(c.server.c, "replication", "master_replid") == id &&
				field(c.node.c, "replication", "master_link_status") == "up" &&
				field(c.server.c, "replication", "master_link_status") == "up"
		})
		full = m.full + m.fullSyncs()
	}
	m.full = full
	m.end()
	if at != "" {
		m.gate.open(at)
	}
	m.start()
	dir := filepath.Join(m.dir, "replacement")
	if isNew := at == "create" || at == "remove"; exists(dir) == isNew {
		c.t.Errorf("the replacement is there: %v", exists(dir))
	}
}

// replaceInMember executes BUILD n, which builds a replacement with the keys of a cluster, and
// INSTALL.
func replaceInMember(ctx context.Context, n *replication.Node, args [][]byte) error {
	if string(args[0]) == "INSTALL" {
		return n.InstallReplacement(ctx)
	}
	r, err := n.OpenReplacement(ctx)
	if err != nil {
		return err
	}
	_, term := r.Role()
	units := [][]byte{unit("SET", "n", string(args[1]))}
	for i := range 3 {
		units = append(units, unit("SET", fmt.Sprint("big", i), strings.Repeat("x", 1<<20)))
	}
	for _, u := range units {
		if _, err := r.Apply(ctx, term, u); err != nil {
			return err
		}
	}
	r.SetComplete(true)
	return nil
}
