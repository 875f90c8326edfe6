package rdb_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
)

const large = 65 << 20 // more than a packed collection may be

// A snapshot can hold everything that a unit can: an entry of a stream is in one node, however long
// it is. A node must be able to read its own file at the next start.
func TestLargeEntry(t *testing.T) {
	k := keyspace.New(keyspace.Options{})
	must(
		t,
		k.Loader().
			Stream([]byte("s"), 0, func(
				add func(keyspace.StreamID, [][]byte) error,
			) (keyspace.StreamInfo, error) {
				id := keyspace.StreamID{Ms: 1}
				return keyspace.StreamInfo{
					Last:  id,
					Added: 1,
				}, add(id, [][]byte{[]byte("f"), bytes.Repeat([]byte("x"), large)})
			}),
	)
	snapshot := k.Snapshot()
	defer snapshot.Close()
	var file bytes.Buffer
	must(t, rdb.Write(&file, rdb.Aux{}, snapshot))
	must(t, copyPlain(io.Discard, bytes.NewReader(file.Bytes())))
	again := keyspace.New(keyspace.Options{})
	if _, err := rdb.Read(&file, again.Loader()); err != nil || again.Memory().Live < large {
		t.Errorf("%v, %d bytes", err, again.Memory().Live)
	}
}

// A list element longer than the fill limit is in a packed node of its own, as servers up to Redis
// 7.0 write it.
func TestLargeElement(t *testing.T) {
	pack := []byte{0, 0, 0, 0, 1, 0, 0xf0}
	pack = binary.LittleEndian.AppendUint32(pack, large)
	pack = append(pack, bytes.Repeat([]byte("x"), large)...)
	entry := uint64(5 + large) // its length again, backwards, seven bits at a time
	back := []byte{
		byte(entry >> 28), byte(entry>>21) | 0x80, byte(entry>>14) | 0x80,
		byte(entry>>7) | 0x80, byte(entry) | 0x80,
	}
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
	if _, err := rdb.Read(bytes.NewReader(file), k.Loader()); err != nil ||
		k.Memory().Live < large {
		t.Errorf("%v, %d bytes", err, k.Memory().Live)
	}
}

// A compressed node may be long because of a long element, but not because of many elements.
func TestCrowdedNode(t *testing.T) {
	const size = 6 + 2 + 260_000*264 + 1
	pack := binary.LittleEndian.AppendUint32(nil, size)
	pack = append(pack, 0xff, 0xff, 1, 1) // an unknown number of elements, all of them 1
	lzf := append([]byte{byte(len(pack) - 1)}, pack...)
	lzf = append(append(lzf, bytes.Repeat([]byte{0xe0, 0xff, 0x01}, 260_000)...), 0, 0xff)

	file := []byte("REDIS0010\xfe\x00\x12\x01l\x01\x02\xc3\x80")
	file = append(binary.BigEndian.AppendUint32(file, uint32(len(lzf))), 0x80)
	file = append(binary.BigEndian.AppendUint32(file, size), lzf...)
	file = append(file, 0xff, 0, 0, 0, 0, 0, 0, 0, 0)
	_, err := rdb.Read(bytes.NewReader(file), keyspace.New(keyspace.Options{}).Loader())
	if err == nil || !strings.Contains(err.Error(), "more than 33554432 elements") {
		t.Errorf("got %v", err)
	}
}
