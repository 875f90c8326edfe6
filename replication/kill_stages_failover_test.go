package replication_test

import (
	"net"
	"strings"
	"syscall"
)

func promotionNotOnDisk(c *cluster) {
	g := c.node.gateFile(identityFile)
	done := c.background(c.node, "REPLICAOF", "NO", "ONE")
	g.waitHeld()
	c.node.kill()
	done()
	g.open()
	c.node.start()
	if got := field(c.node.c, "replication", "role"); got != "slave" {
		c.t.Errorf("the role is %s", got)
	}
}

func promoted(c *cluster) {
	c.node.follow(nil)
	c.node.kill()
	c.node.start()
	c.swap()
}

func promotedAndWriting(c *cluster) {
	c.node.follow(nil)
	c.node.gate.close(c.t, "write")
	done := c.background(c.node, "PUT", "n", "never written")
	c.node.gate.waitHeld(c.t, "write")
	c.node.kill()
	done()
	c.node.gate.open("write")
	c.node.start()
	c.swap()
}

// failover makes the master hand its role over to an address.
func (c *cluster) failover(addr string) {
	c.t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	c.master.do("FAILOVER", "TO", host, port)
}

// waitFailover waits for a failover state of the master.
func (c *cluster) waitFailover(state string) {
	c.t.Helper()
	eventually(c.t, "the failover state is "+state,
		func() bool { return field(c.master.c, "replication", "master_failover_state") == state })
}

func masterWaitsForReplica(c *cluster) {
	signal(c.node, syscall.SIGSTOP)
	c.put()
	c.failover(c.node.addr)
	c.waitFailover("waiting-for-sync")
	c.master.kill()
	signal(c.node, syscall.SIGCONT)
	c.master.start()
	c.waitMaster(c.master)
}

// signal sends a signal to a node's process.
func signal(p *member, s syscall.Signal) {
	p.cmd.Process.Signal(s) //nolint:errcheck // an error fails the test later
}

// replicaWaitedFor kills the replica for which FAILOVER waits. The restarted replica does not end
// the wait, so an operator aborts the failover.
func replicaWaitedFor(c *cluster) {
	before := c.node.fullSyncs()
	signal(c.node, syscall.SIGSTOP)
	c.put()
	c.failover(c.node.addr)
	c.waitFailover("waiting-for-sync")
	c.node.full += before
	c.node.end()
	c.node.start()
	c.waitFailover("waiting-for-sync")
	c.master.do("FAILOVER", "ABORT")
	c.waitFailover("no-failover")
}

// handingOver kills the master when the replica has acknowledged the last byte, and the named file
// is not written yet. The master keeps its role.
func handingOver(c *cluster, file string) {
	g := c.master.gateFile(file)
	c.failover(c.node.addr)
	g.waitHeld()
	c.master.kill()
	g.open()
	c.master.start()
	c.waitMaster(c.master)
	c.waitFailover("no-failover")
}

// viaProxy makes the master reach the node through a proxy.
func (c *cluster) viaProxy() *proxy {
	c.t.Helper()
	p := newProxy(c.t, c.node.addr, 0)
	_, port, _ := net.SplitHostPort(p.addr())
	c.node.do("CONFIG", "SET", "replica-announce-port", port)
	c.node.do("CLIENT", "KILL", "TYPE", "master")
	eventually(c.t, "the node is online at the proxy's address", func() bool {
		return strings.Contains(c.master.c.Info(c.t.Context(), "replication").Val(),
			",port="+port+",state=online,")
	})
	return p
}

// endProxy waits for the end of the failover and makes the node announce its own address again.
func (c *cluster) endProxy() {
	c.t.Helper()
	c.waitFailover("no-failover")
	c.waitMaster(c.node)
	c.node.do("CONFIG", "SET", "replica-announce-port", "0")
	c.swap()
}

func masterWaitsForReply(c *cluster) {
	p := c.viaProxy()
	p.limit.Store(0)
	c.failover(p.addr())
	eventually(c.t, "the master's new role is on disk",
		func() bool { return field(c.master.c, "replication", "role") == "slave" })
	c.master.kill()
	c.master.start()
	c.waitFailover("failover-in-progress")
	if got := field(c.node.c, "replication", "role"); got != "slave" {
		c.t.Errorf("the replica is a %s already", got)
	}
	p.limit.Store(1 << 40)
	c.endProxy()
}

// tookOver kills a member when the proxy has cut the reply to the takeover. The handshake before
// that reply is PING and three REPLCONF (port, version, capabilities).
func tookOver(c *cluster, killed *member) {
	p := c.viaProxy()
	p.limit.Store(int64(len("+PONG\r\n+OK\r\n+OK\r\n+OK\r\n+CON")))
	c.failover(p.addr())
	c.waitMaster(c.node)
	c.waitFailover("failover-in-progress")
	killed.kill()
	if killed == c.master {
		p.limit.Store(1 << 40)
	}
	killed.start()
	p.limit.Store(1 << 40)
	c.endProxy()
}

func replicaTakesOver(c *cluster) {
	g := c.node.gateFile(identityFile)
	c.failover(c.node.addr)
	g.waitHeld()
	c.waitFailover("failover-in-progress")
	c.node.kill()
	g.open()
	c.node.start()
	c.waitFailover("no-failover")
	c.swap()
}
