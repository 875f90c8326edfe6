// Package keyspace holds the keys and values of one node: strings, hashes,
// lists, sets, sorted sets and streams of database 0, with expiry. It does no
// I/O and starts no goroutine.
//
// # The writer
//
// One goroutine, the node's appender, changes a keyspace:
//
//	if err := k.Stage(unit); err != nil { ... }   // nothing has happened
//	write unit to the log
//	k.Publish()                                   // all of it is visible at once
//
// Stage parses and executes the unit against what is stored plus what the unit
// itself did before, into an overlay that nobody else sees. Publish flips the
// changed keys under the write lock. Discard drops the overlay. Snapshot fixes
// the published state at this point.
//
// Stored keys count as present until something deletes them, expired or not:
// only the node's own expiry, as units of DEL, makes them go. So the same units
// give the same keys on every node whatever its clock says.
//
// # What can be staged
//
// Units come from our own pipelines, or from a Redis or Valkey that the node
// follows. Such a master has executed a command before it sends it to replicas,
// and rewrites what would come out differently there: what is relative to the
// clock (EXPIRE, SETEX, GETEX become PEXPIREAT or SET with PXAT), random (SPOP
// becomes SREM), inexact (INCRBYFLOAT becomes SET, HINCRBYFLOAT becomes HSET,
// XADD and XTRIM with "~" get "="), made by the server (the "*" of XADD), a
// wait (BLPOP becomes LPOP, BLMOVE becomes LMOVE) or a script (its effects, in
// MULTI). The rest it sends as the client wrote it. The tables of writers hold
// what arrives then, for redis 7.0 and 8.0 and valkey 9.1; TestFollowRedis
// compares all keys with those.
//
// Every other command is an error that names it, and so the end of the link to
// such a master, never something skipped: above all consumer groups (XGROUP,
// XREADGROUP, XCLAIM, XACK), expiry of hash fields (HPEXPIREAT, HSETEX with a
// time), PFADD, PFMERGE and PFCOUNT, SORT and GEOSEARCHSTORE that store, RESTORE,
// MOVE, SWAPDB, FUNCTION, and any SELECT but of database 0. So is a range by
// members (ZREMRANGEBYLEX) where scores differ, which Redis leaves open. PUBLISH
// changes no key and is taken for what it is.
//
// # Readers
//
// Any goroutine reads by Execute and the small conveniences. A reader takes the
// read lock only to look up its keys; records, values and trees never change
// once published, so it renders them unlocked. All the while it has the arenas
// pinned: what it found stays in place, though it may have been replaced. What a
// reader sees is expired as soon as its time has passed.
//
// A reply goes to a resp.Writer, which sends it in pieces while it is rendered. A command whose
// reply begins with the number of its elements goes through them twice rather than keeping them.
//
// # Memory
//
// A key takes, in bytes:
//
//	slot    8          24 bits of the key's hash, 40 of the record's address;
//	                   with the empty slots between them some 11
//	record  1 or more  length of what follows
//	        1          kind and flags
//	        1 or more  length of the key
//	                   key
//	        8          expiry, if it has one
//	                   packed value (see package value)
//	        0 to 3     to a multiple of 4
//
// Slots lie in small shards, records in the chunks of package arena; the
// garbage collector looks into neither. A hash whose field names were seen
// before holds the number of a shape in their place, so that a row takes its
// values and a byte for each.
//
// A large collection lies in trees (see package btree) whose nodes are in an arena
// of their own, so that the garbage collector sees of it some words beside its record;
// so does the order of expiry. A member of 16 bytes takes some 27 in a set and 62 in a
// sorted set. If a quarter of the nodes' memory is garbage, Publish moves nodes, some at a
// time, out of the chunks that have most of it. A large collection that goes is freed a
// little at each Publish.
//
// Slots are in the order of their keys' 64-bit hashes and shards divide that
// order, so a SCAN cursor is simply a place in it and survives growth. The tag
// in a slot is the 24 bits behind the shard's prefix, or up to 8 bits earlier:
// it orders the slots, and where two are equal the keys' hashes do.
//
// A shard that a snapshot holds is copied before its first change; the copying
// happens in Stage, outside of the lock. Shards hold some thousand slots, so such
// a pause is microseconds. Each Publish compacts in proportion to what it has
// written, if a twelfth of the arena is garbage: hundreds of microseconds at most,
// in holds of the lock of some microseconds.
//
// # What is slow
//
// A string is one record, and a change of a part of it (SETBIT, SETRANGE, APPEND,
// BITFIELD) copies it as a whole: some 3 ms for 1 MiB, 80 ms for 16 MiB. That is
// what a few such commands a second may cost, not what a Redis with large bitmaps
// under steady change can be followed with. Large collections change in place, but
// COPY of one copies all of it.
//
// The package is longer than most here since it is one command table after
// another, a file for the commands of each kind; values and trees have packages
// of their own below it.
package keyspace
