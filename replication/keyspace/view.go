package keyspace

import (
	"sync/atomic"

	"rowfall/replication/keyspace/value"
	"rowfall/replication/resp"
)

// View is the published state of one moment, as far as its commands can read it. It holds no lock:
// the writer continues, and the data that it replaces stays in memory until Close.
type View struct {
	source *readState // of the keyspace
	state  *readState // of the view's moment
	pinned pinned
	shards []*shard // the shards that are pinned
}

// frozenRecord is a key's record at the moment of a view.
type frozenRecord struct {
	rec record
	big *value.Big
}

// View pins what the commands can read. It takes every argument for a key, because looking up
// too many keys is cheaper than parsing the commands. For many arguments, or a command that is
// declared readsOthers, it pins all shards; a shard holds some thousand keys.
func (k *Keyspace) View(commands [][][]byte) *View {
	args, all := 0, false
	for _, c := range commands {
		args += len(c)
		r := readCommand(c)
		all = all || r != nil && r.flags.has(readsOthers)
	}
	if all || args > maxLookups {
		return k.viewAll()
	}
	v := k.newView()
	k.mu.RLock()
	defer k.mu.RUnlock()
	v.state.published = k.published
	v.state.frozenKeys = make(map[string]frozenRecord, args)
	for _, c := range commands {
		for _, key := range c[1:] {
			if rec, _, big := k.table.find(hashOf(key), key); rec != "" {
				v.state.frozenKeys[rec.key()] = frozenRecord{rec, big}
			}
		}
	}
	return v
}

// viewAll pins all shards.
func (k *readState) viewAll() *View {
	v := k.newView()
	k.mu.RLock()
	defer k.mu.RUnlock()
	v.state.published = k.published
	v.pinAllLocked()
	return v
}

func (k *readState) newView() *View {
	return &View{source: k, pinned: k.pin(), state: &readState{
		hiddenPrefix: k.hiddenPrefix, now: k.now, arena: k.arena, trees: k.trees, shapes: k.shapes,
	}}
}

// pinAllLocked pins all shards and gives the view a directory of its own.
func (v *View) pinAllLocked() {
	d := v.source.table.dir.Load()
	own := &directory{depth: d.depth, shards: make([]atomic.Pointer[shard], len(d.shards))}
	i := 0
	d.each(func(s *shard) bool {
		s.pins.Add(1)
		v.shards = append(v.shards, s)
		for end := i + d.span(s); i < end; i++ {
			own.shards[i].Store(s)
		}
		return true
	})
	v.state.table = &table{arena: v.source.arena}
	v.state.table.dir.Store(own)
}

// Execute is Keyspace.Execute at the view's moment, for the commands that the view was made for.
func (v *View) Execute(w *resp.Writer, args [][]byte) (handled bool) {
	return v.state.reply(w, args)
}

// Run is Keyspace.Run at the view's moment, for the commands it was made for.
func (v *View) Run(w *resp.Writer, r Row, args [][]byte) { v.state.run(w, r.read, args) }

// Close releases the data that the view holds. It must be called exactly once.
func (v *View) Close() {
	for _, s := range v.shards {
		s.pins.Add(-1)
	}
	v.pinned.unpin()
}
