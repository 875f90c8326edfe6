// Package identity holds what identifies a node's directory: its replication ids, its role and
// term, and whether the last stop was clean. It also locks the directory against a second process.
//
// It answers the two questions for which a wrong answer silently loses data: what to reply to a
// PSYNC (History.Answer), and whether a restart may have lost bytes that replicas hold
// (State.Lost). Both are pure functions. Of the log and the snapshots the package uses only
// offsets. Its users are the packages node, snapshots and upstream.
//
// ../DESIGN.md describes the file's format.
package identity
