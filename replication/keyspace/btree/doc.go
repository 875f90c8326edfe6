// Package btree implements counted, copy-on-write B+trees of byte strings. A tree
// maps keys, in byte order, to values, and finds an entry by key or by rank. The
// nodes lie in an arena (package arena), so the garbage collector does not scan
// them.
//
// # Units
//
// A Tree is a value: a copy of it keeps showing the same entries, whatever
// happens to the original. All trees that share one Nodes are changed in units:
// Begin, then any changes of any of these trees, then Commit or Rollback. Nodes
// that the unit itself has created are changed in place. Other nodes are copied
// first, along one path from the root. Commit frees the nodes that the unit has
// replaced. The caller must follow these rules:
//
//   - Of a tree that a unit has changed, use only the new copy after Commit, and
//     only the old copy after Rollback. Readers that pinned or held the arena
//     before Commit may continue with the old copy.
//   - If the arena is full, the unit fails: Nodes.Err returns the error, and the
//     unit must end with Rollback.
//   - Pass a tree that is deleted as a whole to FreeTree. Two trees may share
//     nodes only within one unit; Clone makes a tree that shares no nodes.
//
// One goroutine makes all changes. Any number of goroutines may read a Tree that
// is not being changed.
//
// # Node format
//
//	owner   u64  the number of the unit that created the node
//	slot    u32  the node's index among the nodes of that unit
//	count   u16  number of entries
//	level   u8   0 in a leaf
//	wide    u8   1 if ends have 4 bytes, as always in an inner node
//	ends    count times u16 or u32: where each entry ends, counted from the first entry
//	entries
//
// Numbers are little-endian. An entry of a leaf is a uvarint key length, the key
// and the value. An entry of an inner node is
//
//	child   u64  the address of the child
//	count   u64  number of entries under the child
//	low          a lower bound of the keys under the child, greater than all keys
//	             under the child before it; not used for the first child
package btree
