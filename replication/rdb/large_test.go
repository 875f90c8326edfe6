package rdb_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
	"rowfall/replication/resp"
)

const large = 65 << 20 // more than a packed collection may be

// What a unit can hold a snapshot can, too: a stream's entry stands in one node, however
// long it is. The node's own file could not be read at the next start.
func TestLargeEntry(t *testing.T) {
	k := keyspace.New(keyspace.Options{})
	v := bytes.Repeat([]byte("x"), large)
	must(t, k.Stage(resp.AppendCommand(nil, "XADD", "s", "1-1", "f", string(v))))
	k.Publish()
	snapshot := k.Snapshot()
	defer snapshot.Close()
	var file, plain bytes.Buffer
	must(t, rdb.Write(&file, rdb.Aux{}, snapshot))
	must(t, rdb.Transcode(&plain, bytes.NewReader(file.Bytes())))
	for what, b := range map[string]*bytes.Buffer{"the file": &file, "the plain form": &plain} {
		again := keyspace.New(keyspace.Options{})
		if _, err := rdb.Read(b, again.Loader()); err != nil || again.Memory().Live < large {
			t.Errorf("%s: %v, %d bytes", what, err, again.Memory().Live)
		}
	}
}

// An element of a list that is longer than the fill limit stands in a packed node of its
// own, as servers up to Redis 7.0 write it.
func TestLargeElement(t *testing.T) {
	pack := []byte{0, 0, 0, 0, 1, 0, 0xf0}
	pack = binary.LittleEndian.AppendUint32(pack, large)
	pack = append(pack, bytes.Repeat([]byte("x"), large)...)
	entry := uint64(5 + large) // its length again, backwards, seven bits at a time
	back := []byte{byte(entry >> 28), byte(entry>>21) | 0x80, byte(entry>>14) | 0x80, byte(entry>>7) | 0x80, byte(entry) | 0x80}
	for back[0] == 0 {
		back = back[1:]
	}
	back[0] &= 0x7f
	pack = append(append(pack, back...), 0xff)
	binary.LittleEndian.PutUint32(pack, uint32(len(pack)))

	file := []byte("REDIS0010\xfe\x00\x12\x01l\x01\x02\x80")
	file = binary.BigEndian.AppendUint32(file, uint32(len(pack)))
	file = append(append(file, pack...), 0xff, 0, 0, 0, 0, 0, 0, 0, 0)
	k := keyspace.New(keyspace.Options{})
	if _, err := rdb.Read(bytes.NewReader(file), k.Loader()); err != nil || k.Memory().Live < large {
		t.Errorf("%v, %d bytes", err, k.Memory().Live)
	}
}
