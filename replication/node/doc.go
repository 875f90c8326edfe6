// Package node is the core of a node: everything of a Redis-protocol master and replica but the
// clients' side.
//
// A Node owns a directory. It keeps a keyspace in memory, the replication log on disk, and a
// snapshot file to start from. Only the appender writes. Work for the appender runs on the
// goroutine that submits the work, while that goroutine holds the appender's turn, a lock. Replicas
// are served on connections that the clients' side hands over. To its upstream the node opens a
// link of its own. The node knows no session and no client: package replication, its only user,
// accepts connections, executes commands and calls the node.
//
// The promises, the files in the directory, and the order of all locks are described in DESIGN.md
// of package replication.
//
// # What the clients' side uses
//
//	Open, Run, Close          Run executes the clients' side as a function of its own
//	ServeReplica              a connection that sent PSYNC becomes a replica's
//	TakeOver, Failover, ...   changes of role; RoleChanged wakes goroutines that wait for a change
//	WaitAcked, WaitDurable    WAIT and WAITAOF
//	ReadRejection             whether commands that need the data are executed
//	Settings, FindSettings,   CONFIG
//	ChangeSettings, ...
//	Link, CutLink,            CLIENT
//	NextConnectionID
//	Status, Keyspace, ...     INFO, ROLE and read commands
//	OpenReplacement, ...      a second dataset, which takes the place of the node's data
//
// # Parts
//
// Several parts hold the *Node, to reach the other parts. Through it a part calls methods of
// another part, and uses what belongs to no part: configuration, settings, counters, log, keyspace,
// identityMu and, under its lock, state. The fields of a part are for the part itself and for
// methods of Node.
//
// # Files
//
//	the node          node.go, config.go, status.go, complete.go, stalls.go, address.go
//	start             recovery.go, log_check.go (do log and snapshot belong together), unusable.go
//	writer            appender.go, apply.go (Apply waits), expiry.go, room.go (a full volume),
//	                  quorum.go (MinReplicas), acked.go (WAIT)
//	snapshots         snapshot_source.go; the files are package snapshots
//	replicas          admit.go (PSYNC), replica_conn.go (what is handed over), replica.go,
//	                  direct.go (small units, sent by the appender),
//	                  replicas.go, replica_limits.go, fullsync.go, encoding.go
//	upstream          follow.go (the link), resync.go (PSYNC to the upstream), following.go (its
//	                  log); the wire is package upstream
//	other data        dataset.go (what takes the place of the data: of a full resync, or of a
//	                  replacement), replacement.go (a second core, for new data)
//	change of master  role.go, failover.go, failover_reply.go, takeover.go (the other side)
//	clients' reads    readgate.go
//	settings          settings.go (values), settings_table.go (names and ranges),
//	                  settings_change.go (CONFIG SET), settings_file.go (CONFIG REWRITE)
//	small parts       waiting.go, testing.go (for tests)
//
// Most tests of this package are in package replication, because they need the clients' side:
// replicas attach by PSYNC on its connections, and commands change roles and settings. Here are
// only the tests of parts that need no running node.
//
// The package is larger than 2,500 lines because appender, recovery, role, PSYNC, replicas and the
// link change the same identity, log and role, under the locks that DESIGN.md orders.
package node
