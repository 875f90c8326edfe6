// Package identity says who a node's directory is: its replication ids, its role
// and term, and whether it stopped cleanly; and it locks the directory against a
// second owner.
//
// It decides the two questions on which a wrong answer loses data silently: what
// to answer a PSYNC (History.Answer) and whether bytes that replicas hold may
// have been lost over a restart (State.Lost). Both are pure. It does not know
// the log or the snapshots beyond their offsets. The node is its only user.
//
// The file's format is in ../DESIGN.md.
package identity
