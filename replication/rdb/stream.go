package rdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"rowfall/replication/keyspace"
)

// A stream is the number of its nodes, and for each node a key and a listpack. The lengths below
// follow, and then the number of consumer groups, which must be 0.
//
//	entries, ms and seq of the last id                                      all types
//	ms and seq of the first id, ms and seq of the greatest deleted, added   types 19 and 21
//
// A node's key is the id of its first entry: ms and seq, u64 big-endian. The elements of its
// listpack are the counts of live and deleted entries, the count and names of the first entry's
// fields, and 0. The entries follow. Each has flags, ms and seq relative to the key, its fields,
// and the number of all these elements. With nodeSameFields the fields are only the values;
// otherwise they are their count and then each field and value.
const (
	nodeDeleted    = 1
	nodeSameFields = 2
)

const (
	// maxNodeEntries and maxNodeBytes limit a node, with the defaults of Redis and Valkey.
	maxNodeEntries = 100
	maxNodeBytes   = 4096
)

var errNode = errors.New("node of a stream is damaged")

// stream reads one stream and loads it.
func (d *decoder) stream(kind byte, expireAt int64) error {
	read := func(add func(keyspace.StreamID, [][]byte) error) (keyspace.StreamInfo, error) {
		entries := uint64(0)
		nodes, err := d.count()
		if err != nil {
			return keyspace.StreamInfo{}, err
		}
		for range nodes {
			n, err := d.node(add)
			if err != nil {
				return keyspace.StreamInfo{}, err
			}
			entries += n
		}
		info, length, err := d.streamInfo(kind)
		if err == nil && length != entries {
			err = fmt.Errorf("it has %d entries, but its length is %d", entries, length)
		}
		if err == nil {
			err = d.noGroups()
		}
		return info, err
	}
	return d.load.Stream(d.key, expireAt, read)
}

// streamInfo reads the numbers after the nodes. Type 15 does not record entries-added, so the
// length is used.
func (d *decoder) streamInfo(kind byte) (info keyspace.StreamInfo, length uint64, err error) {
	numbers := []*uint64{&length, &info.Last.Ms, &info.Last.Seq}
	if kind != typeStream {
		var first keyspace.StreamID
		numbers = append(numbers, &first.Ms, &first.Seq,
			&info.MaxDeleted.Ms, &info.MaxDeleted.Seq, &info.Added)
	}
	for _, n := range numbers {
		if *n, err = d.count(); err != nil {
			return info, 0, err
		}
	}
	if kind == typeStream {
		info.Added = length
	}
	return info, length, nil
}

// noGroups rejects consumer groups. Even an idle group has a position in the stream, which nothing
// would advance.
func (d *decoder) noGroups() error {
	n, err := d.count()
	if err != nil || n == 0 {
		return err
	}
	name, err := d.text(nil)
	if err != nil {
		return err
	}
	return fmt.Errorf("it has the consumer group %.64q, and groups are not supported: "+
		"remove it with XGROUP DESTROY", name)
}

// node reads one node, adds its entries, and returns how many it added.
func (d *decoder) node(add func(keyspace.StreamID, [][]byte) error) (entries uint64, err error) {
	if d.blob, err = d.text(d.blob[:0]); err != nil {
		return 0, err
	}
	if len(d.blob) != 16 {
		return 0, errNode
	}
	base := keyspace.StreamID{
		Ms: binary.BigEndian.Uint64(d.blob), Seq: binary.BigEndian.Uint64(d.blob[8:]),
	}
	if d.blob, err = d.textUpTo(d.blob[:0], maxNode); err != nil {
		return 0, err
	}
	d.elements.reset()
	if err := d.unpackNode(unpack); err != nil {
		return 0, err
	}
	d.list = d.elements.list(d.list[:0])
	c := nodeCursor{rest: d.list}
	total := uint64(c.int()) + uint64(c.int())
	names := c.take(c.int())
	if c.int() != 0 || c.failed {
		return 0, errNode
	}
	for range total {
		id, pairs, flags := c.entry(base, names)
		if c.failed {
			return 0, errNode
		}
		if flags&nodeDeleted != 0 {
			continue
		}
		entries++
		if err := add(id, pairs); err != nil {
			return 0, err
		}
	}
	if len(c.rest) > 0 {
		return 0, errNode
	}
	return entries, nil
}

// nodeCursor reads the elements of a node in order. failed is set once an element is missing or
// invalid.
type nodeCursor struct {
	rest   [][]byte
	pairs  [][]byte
	failed bool
}

func (c *nodeCursor) take(n int64) (taken [][]byte) {
	if c.failed || n < 0 || n > int64(len(c.rest)) {
		c.failed = true
		return nil
	}
	taken, c.rest = c.rest[:n:n], c.rest[n:]
	return taken
}

func (c *nodeCursor) int() int64 {
	b := c.take(1)
	if c.failed {
		return 0
	}
	n, ok := keyspace.ParseInt(b[0])
	c.failed = !ok
	return n
}

// entry reads one entry. pairs are valid until the next call.
func (c *nodeCursor) entry(base keyspace.StreamID, names [][]byte) (
	id keyspace.StreamID, pairs [][]byte, flags int64,
) {
	before := len(c.rest)
	flags = c.int()
	id = keyspace.StreamID{Ms: base.Ms + uint64(c.int()), Seq: base.Seq + uint64(c.int())}
	if flags&nodeSameFields != 0 {
		c.pairs = c.pairs[:0]
		for i, v := range c.take(int64(len(names))) {
			c.pairs = append(c.pairs, names[i], v)
		}
		pairs = c.pairs
	} else if n := c.int(); n <= int64(len(c.rest)) {
		pairs = c.take(2 * n)
	} else {
		c.failed = true
	}
	size := before - len(c.rest)
	c.failed = c.int() != int64(size) || c.failed
	return id, pairs, flags
}

// stream writes one stream.
func (e *encoder) stream(n keyspace.Entry) {
	// The number of nodes is written before them, so the nodes are packed twice.
	nodes, first := uint64(0), keyspace.StreamID{}
	e.eachNode(n.Value, func(base keyspace.StreamID) {
		if nodes == 0 {
			first = base
		}
		nodes++
	})
	e.key(typeStream2, n.Key)
	e.length(nodes)
	e.eachNode(n.Value, func(base keyspace.StreamID) {
		e.length(16)
		e.buf = binary.BigEndian.AppendUint64(e.buf, base.Ms)
		e.buf = binary.BigEndian.AppendUint64(e.buf, base.Seq)
		e.rawString(e.node.pack)
	})
	info := n.Value.Stream()
	for _, v := range []uint64{
		uint64(n.Value.Len()), info.Last.Ms, info.Last.Seq, first.Ms, first.Seq,
		info.MaxDeleted.Ms, info.MaxDeleted.Seq, info.Added, 0,
	} {
		e.length(v)
	}
}

// eachNode packs the entries of a stream into nodes. For each node it calls do with the node's
// first id while e.node.pack holds the node.
func (e *encoder) eachNode(v keyspace.Value, do func(base keyspace.StreamID)) {
	b := &e.node
	v.Entries(func(s keyspace.StreamEntry) bool {
		if b.entries == maxNodeEntries || len(b.entriesPack) >= maxNodeBytes {
			b.finish()
			do(b.base)
		}
		b.add(s)
		return e.err == nil
	})
	if b.entries > 0 {
		b.finish()
		do(b.base)
	}
	if cap(b.pack) > 1<<20 {
		*b = nodeBuilder{}
	}
}

// nodeBuilder packs entries into a node. The entries are packed separately, because the node starts
// with their number.
type nodeBuilder struct {
	base        keyspace.StreamID
	names       [][]byte
	entries     int
	elements    int // number of elements in entriesPack
	entriesPack []byte
	pack        []byte // the finished node
}

func (b *nodeBuilder) add(s keyspace.StreamEntry) {
	if b.entries == 0 {
		b.base, b.names = s.ID, b.names[:0]
		for f := range s.Pairs {
			b.names = append(b.names, f)
		}
	}
	same, fields := true, 0
	for f := range s.Pairs {
		same = same && fields < len(b.names) && string(b.names[fields]) == string(f)
		fields++
	}
	same = same && fields == len(b.names)
	flags, size := int64(0), 3+1+2*fields
	if same {
		flags, size = nodeSameFields, 3+fields
	}
	b.int(flags)
	b.int(int64(s.ID.Ms - b.base.Ms))
	b.int(int64(s.ID.Seq - b.base.Seq))
	if !same {
		b.int(int64(fields))
	}
	for f, v := range s.Pairs {
		if !same {
			b.entriesPack = appendPack(b.entriesPack, f)
		}
		b.entriesPack = appendPack(b.entriesPack, v)
	}
	b.int(int64(size))
	b.entries++
	b.elements += size + 1
}

func (b *nodeBuilder) int(n int64) { b.entriesPack = appendPackNumber(b.entriesPack, n) }

// finish stores the node of the entries added so far in pack, and starts the next node.
func (b *nodeBuilder) finish() {
	b.pack = beginPack(b.pack[:0])
	for _, n := range []int64{int64(b.entries), 0, int64(len(b.names))} {
		b.pack = appendPackNumber(b.pack, n)
	}
	for _, f := range b.names {
		b.pack = appendPack(b.pack, f)
	}
	b.pack = append(appendPackNumber(b.pack, 0), b.entriesPack...)
	b.pack = endPack(b.pack, min(4+len(b.names)+b.elements, math.MaxUint16))
	b.entries, b.elements, b.entriesPack = 0, 0, b.entriesPack[:0]
}
