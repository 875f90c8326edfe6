// Package btree is a counted, copy-on-write B+tree of byte strings: keys in
// byte order, each with a value, every position known by its rank. Its nodes lie
// in an arena, so that the garbage collector sees nothing of them.
//
// A Tree is a value: a copy of it shows the same entries for as long as it is
// kept, whatever becomes of the original. All trees of one Nodes are changed in
// units: Begin, any changes of any trees, then Commit or Rollback. Nodes that the
// unit has made are changed in place; all others are copied first, along one
// path. What a unit has replaced is given back by Commit, so:
//
//   - of a tree that a unit has changed, the last copy is kept after Commit and
//     the one from before the unit after Rollback; the other is not used again,
//     but by those who have pinned or held the arena since before Commit;
//   - a tree that goes as a whole is told to Drop, and two trees never share nodes
//     for longer than a unit: see Clone.
//
// Changing needs one goroutine; any number may read a Tree that nobody changes.
//
// # Node
//
//	owner   u64  the unit that has made it
//	slot    u32  its number among the nodes of that unit
//	count   u16  of entries
//	level   u8   0: a leaf
//	wide    u8   1: ends have 4 bytes; always in an inner node
//	ends    count times u16, or u32: where each entry ends behind the ends
//	entries
//
// Numbers are little-endian. An entry of a leaf is a uvarint key length, the key,
// the value; one of an inner node
//
//	child   u64  its address
//	count   u64  entries under it
//	low          keys under the child are not smaller, and smaller than the next
//	             child's low; of the first child it is not looked at
package btree
