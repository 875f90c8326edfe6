// Package files reads the binlog files of a MySQL or MariaDB from disk, without a server.
//
// A file is four magic bytes and then the events that a server also sends to a replica, so package
// events parses them. Open opens several files of one server as one Log. Log.Find reads the files
// once, without rows, and returns the Stretch between two POSITIONs, which contains only whole
// transactions. Log.Stream yields the changes of a stretch, as package dump does for a connection.
//
// A file may be cut off, as after a crash, or if it was copied while the server wrote it. Then the
// stretch ends after the last whole transaction, and Stretch.Broken is the reason. If a file other
// than the last one is cut off between two transactions, the GTIDs at the beginning of the next
// file show which transactions are missing. Without GTIDs, each of these files must end in the
// event with which a server closes a file, except those that Log.AfterCrash was called with.
//
// Encrypted files and relay logs are rejected.
//
//   - log.go: Log, several files of one server
//   - find.go: Stretch and Log.Find, which also looks for missing transactions
//   - stream.go: Stream, the changes of a stretch
//   - reader.go: events as bytes, from one file after the other; events.go: parsed events
//   - rotate.go: the event with which a server closes a file
package files
