package replication_test

import (
	"os"
	"path/filepath"
)

// transfer starts a full resync of p whose snapshot stops in the middle until resume is called.
func (c *cluster) transfer(p *member) (resume func()) {
	c.t.Helper()
	c.diverge(p)
	c.master.gate.close(c.t, "snapshot")
	c.master.do("BGSAVE")
	c.master.gate.waitHeld(c.t, "snapshot")
	p.follow(c.master)
	c.sending(p.addr)
	return func() { c.master.gate.open("snapshot") }
}

func replicaReceives(c *cluster) {
	resume := c.transfer(c.node)
	c.node.kill()
	c.node.start()
	if got := c.node.c.Get(c.t.Context(), "of my own").Val(); got != "1" {
		c.t.Errorf("the old data are gone: %q", got)
	}
	resume()
}

func replicaWrites(c *cluster) {
	resume := c.transfer(c.node)
	g := c.node.gateFile("resync.new")
	resume()
	g.waitHeld()
	c.node.kill()
	g.open()
	c.node.start()
}

// replicaInstalls kills the node at a stage of installing the received data. It reads the count of
// full resyncs first, because a gate of the log may block INFO, too.
func replicaInstalls(c *cluster, at string) {
	before := c.node.fullSyncs()
	resume := c.transfer(c.node)
	var g *fileGate
	if at == identityFile {
		g = c.node.gateFile(at)
	} else {
		c.node.gate.close(c.t, at)
	}
	resume()
	if g != nil {
		g.waitHeld()
	} else {
		c.node.gate.waitHeld(c.t, at)
	}
	_, err := os.Stat(filepath.Join(c.node.dir, "resync.new"))
	if (err == nil) != (at == identityFile) {
		c.t.Errorf("the received file has its final name: %v", err != nil)
	}
	c.node.full += before
	c.node.end()
	if g != nil {
		g.open()
	}
	c.node.gate.open(at)
	c.node.start()
}

func replicaInstallsTwice(c *cluster) {
	before := c.node.fullSyncs()
	resume := c.transfer(c.node)
	c.node.gate.close(c.t, "create")
	resume()
	c.node.gate.waitHeld(c.t, "create")
	c.node.full += before
	c.node.end()
	c.node.gate.open("create")
	c.node.gate.close(c.t, "create")
	c.node.spawn()
	c.node.gate.waitHeld(c.t, "create")
	c.node.end()
	c.node.gate.open("create")
	c.node.start()
}

func serverReceives(c *cluster) {
	resume := c.transfer(c.server)
	c.server.kill()
	c.server.start()
	resume()
}

func serverLoads(c *cluster) {
	c.diverge(c.server)
	c.server.do("CONFIG", "SET", "key-load-delay", "500000",
		"loading-process-events-interval-bytes", "1024")
	c.server.follow(c.master)
	eventually(c.t, "the server loads",
		func() bool { return field(c.server.c, "persistence", "loading") == "1" })
	c.server.kill()
	c.server.start()
}
