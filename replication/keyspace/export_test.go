package keyspace

import (
	"fmt"

	"rowfall/replication/keyspace/arena"
	"rowfall/replication/resp"
)

// NewWith returns a keyspace with arenas of its own making; that of trees is not limited.
func NewWith(o Options, a arena.Options) *Keyspace {
	trees := a
	trees.MaxChunks = 0
	return newKeyspace(o, a, trees)
}

// NewWithTrees returns a keyspace whose trees lie in such an arena.
func NewWithTrees(trees arena.Options) *Keyspace {
	return newKeyspace(Options{}, arena.Options{}, trees)
}

// Shapes returns the number of shapes.
func (k *Keyspace) Shapes() int { return k.shapes.Len() }

// Stray compares the trees of all keys with what their arena holds: a node that no tree has is lost
// memory, and one of a tree that is not held a place that is used again under it.
func (k *Keyspace) Stray() error {
	for k.nodes.Reap(1 << 20) {
	}
	want := k.expiryIndex.Size()
	k.table.dir.Load().each(func(s *shard) bool {
		for _, big := range s.bigs {
			want += big.Size()
		}
		return true
	})
	if got := k.trees.Stats().Live; got != want {
		return fmt.Errorf("the arena of trees holds %d bytes, the trees are %d", got, want)
	}
	return nil
}

// Trees returns what the arena of trees needs.
func (k *Keyspace) Trees() arena.Stats { return k.trees.Stats() }

// Moved returns how often sparse chunks of the arena of trees have been emptied.
func (k *Keyspace) Moved() int { return k.defrag.rounds }

// Settling says whether nodes of trees are being moved.
func (k *Keyspace) Settling() bool { return k.defrag.active }

// executor is a Keyspace or a View.
type executor interface {
	Execute(w *resp.Writer, args [][]byte) bool
}

// Reply appends the reply to a command to dst.
func Reply(e executor, dst []byte, proto int, args [][]byte) (out []byte, handled bool) {
	var w resp.Writer
	w.Reset(dst, proto)
	handled = e.Execute(&w, args)
	return w.Bytes(), handled
}

// ReadsOthers reports whether the read command of that name, in any case, is declared to read keys
// that are not among its arguments.
func ReadsOthers(name string) bool {
	return readCommand([][]byte{[]byte(name)}).flags.has(readsOthers)
}
