// Package snapshots writes, keeps and opens the RDB snapshots of a node's directory.
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
// The package depends on the replication log, the keyspace and the RDB format, and on no role,
// replica or socket. The interface Node has the methods of the node that the package needs.
//
// # Logs
//
// The store logs events that it reports to no caller: the result of each attempt of Run; a file
// that Acquire or Load skips, because another one serves instead; and collections that Load leaves
// out. An error that a method returns is not logged here. Run logs a failed attempt once; callers
// that wait for the attempt get the same error for their replies.
package snapshots
