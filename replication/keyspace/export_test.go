package keyspace

import (
	"fmt"

	"rowfall/replication/keyspace/arena"
	"rowfall/replication/resp"
)

// NewWith returns a keyspace whose arena of records has the given options. The arena of trees is
// not limited.
func NewWith(o Options, a arena.Options) *Keyspace {
	trees := a
	trees.MaxChunks = 0
	return newKeyspace(o, a, trees)
}

// NewWithTrees returns a keyspace whose arena of trees has the given options.
func NewWithTrees(trees arena.Options) *Keyspace {
	return newKeyspace(Options{}, arena.Options{}, trees)
}

// Shapes returns the number of shapes.
func (k *Keyspace) Shapes() int { return k.shapes.Len() }

// Stray compares the trees of all keys with the contents of their arena. A node without a tree is
// lost memory. A tree's node that is not allocated would be overwritten.
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

// Trees returns the memory of the arena of trees.
func (k *Keyspace) Trees() arena.Stats { return k.trees.Stats() }

// Moved returns the number of defragmentation rounds.
func (k *Keyspace) Moved() int { return k.defrag.rounds }

// Defragmenting reports whether nodes of trees are being moved.
func (k *Keyspace) Defragmenting() bool { return k.defrag.active }

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
