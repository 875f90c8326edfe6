// Package snapshots writes, keeps and hands out the RDB snapshots of a node's directory.
//
// A Store keeps the newest snapshot file and writes at most one new file at a time. A restart
// loads the newest file and replays the replication log after its offset. A full resync of a
// replica sends the newest file, or the one that is being written, which a Reader follows
// while it grows.
//
//	store.go         Store: requests, Run, when a snapshot is due, status
//	write.go         one snapshot from its point to its place in the directory
//	files.go         names of the files; load, install and remove them
//	writer.go        the file that is being written, with readers behind the writer
//	reader.go        a file opened for one replica, and the choice of the file
//	pressure.go      the rule that decides when the next snapshot is due
//	memory_limit.go  the bound on replaced data that a snapshot keeps in memory
//	fortest.go       what only tests of the node change
//
// The package knows the replication log, the keyspace and the RDB format, and nothing of
// roles, replicas or sockets. What it needs of the node is the interface Node.
//
// # Logs
//
// The store has a logger for what no caller learns: the end of each attempt of Run, which nobody
// may have requested; a file that Acquire or Load passes over because another one serves; and
// collections that Load leaves out. An error that a method returns is not logged here. An attempt
// that fails is logged once by Run; those who wait for it get the error for their reply.
package snapshots
