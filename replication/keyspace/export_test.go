package keyspace

import "rowfall/replication/keyspace/arena"

// NewWith returns a keyspace with an arena of its own making.
func NewWith(o Options, a arena.Options) *Keyspace { return newKeyspace(o, a) }

// Shapes returns the number of shapes.
func (k *Keyspace) Shapes() int { return k.shapes.Len() }
