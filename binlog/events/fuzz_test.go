package events

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"

	"rowfall/binlog"
)

// corpus is a stream of hand-made events of most types.
func corpus() []byte {
	m := &eventBuilder{}
	m.head(4)
	m.transaction(1, 3)
	m.add(queryEvent, 0, queryBody("CREATE TABLE x (id INT)"))
	m.add(heartbeatLogEventV2, flagArtificial, []byte{1, 13}, []byte("binlog.000007"),
		[]byte{2, 4, 253, 0, 1, 0, 0})
	m.add(heartbeatLogEvent, 0, []byte("binlog.000007"))
	m.add(previousGTIDsLogEvent, 0, make([]byte, 8))
	m.add(gtidListEvent, 0, make([]byte, 4))
	m.add(xaPrepareLogEvent, 0, make([]byte, 13))
	encoder, _ := zstd.NewWriter(nil)
	inner := &eventBuilder{}
	inner.add(queryEvent, 0, queryBody("BEGIN"))
	inner.add(tableMapEvent, 0, mapBody(1, "t"))
	inner.add(writeRowsEvent, 0, rowsBody(1, 4))
	inner.add(xidEvent, 0, make([]byte, 8))
	m.add(anonymousGTIDLogEvent, 0, gtidBody(0))
	m.add(transactionPayloadEvent, 0, []byte{2, 1, 0, 0},
		encoder.EncodeAll(bytes.Join(inner.events, nil), nil))
	return bytes.Join(m.events, nil)
}

// taggedAndMariaDB returns transactions as MySQL 8.3 begins them with tags, and as MariaDB begins
// them.
func taggedAndMariaDB() (tagged, maria []byte) {
	m := &eventBuilder{}
	m.head(4)
	m.add(
		gtidTaggedLogEvent, 0,
		append(append([]byte{0x02, 0x76, 0x00, 0x00, 0x02, 0x02}, make([]byte, 16)...), 0x04, 24,
			0x06, 6, 't', 'a', 'g', 0x0c, 4),
	)
	m.add(queryEvent, 0, queryBody("BEGIN"))
	m.add(tableMapEvent, 0, mapBody(1, "t"))
	m.add(partialUpdateRowsEvent, 0, rowsBody(1, 1))
	tagged = bytes.Join(m.events, nil)
	m = &eventBuilder{}
	m.head(4)
	m.add(mariaGTIDEvent, 0, append(binary.LittleEndian.AppendUint64(nil, 7), make([]byte, 11)...))
	m.add(annotateRowsEvent, 0, []byte("INSERT INTO t VALUES (1)"))
	m.add(tableMapEvent, 0, mapBody(1, "t"))
	m.add(writeRowsCompressedEventV1, 0, rowsBody(1, 2))
	return tagged, bytes.Join(m.events, nil)
}

// FuzzParser parses arbitrary bytes. The parser must neither panic nor allocate without bound.
func FuzzParser(f *testing.F) {
	f.Add(corpus(), false)
	f.Add(corpus(), true)
	tagged, maria := taggedAndMariaDB()
	f.Add(tagged, false)
	f.Add(maria, true)
	xa := newXAScript()
	xa.prepare('a', "t", "other")
	xa.commit('a')
	f.Add(bytes.Join(xa.events, nil), false)
	f.Fuzz(func(t *testing.T, b []byte, maria bool) {
		k := newKeeper()
		p := NewParser(Options{GTIDs: true, Tables: k})
		p.Start(binlog.Position{})
		p.mariaDB, p.verifyChecksums = maria, false
		for len(b) >= HeaderSize {
			// Sizes are corrected, or few inputs would get past the first check.
			n := int(binary.LittleEndian.Uint32(b[9:]))
			if n < HeaderSize || n > len(b) {
				n = len(b)
			}
			raw := slices.Clone(b[:n])
			b = b[n:]
			binary.LittleEndian.PutUint32(raw[9:], uint32(n))
			if feed(p, [][]byte{raw}, k.handle) != nil {
				return
			}
		}
	})
}

// FuzzPreviousGTIDs parses arbitrary bytes as a PREVIOUS_GTIDS_LOG_EVENT. A set that is parsed must
// be parsed from its own binary form as the same set.
func FuzzPreviousGTIDs(f *testing.F) {
	const uuid = "00112233-4455-6677-8899-aabbccddeeff"
	for _, s := range []string{
		"", uuid + ":1-5:7",
		uuid + ":1-5:tag:3-4,ff112233-4455-6677-8899-aabbccddeeff:9",
	} {
		set, err := binlog.ParseGTIDSet(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(set.AppendBinary(nil))
	}
	f.Add(binary.LittleEndian.AppendUint64(nil, 1<<40))
	read := func(b []byte) (binlog.GTIDSet, error) {
		text, err := previousGTIDsText(b)
		if err != nil {
			return binlog.GTIDSet{}, err
		}
		return binlog.ParseGTIDSet(text)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := read(b)
		if err != nil {
			return
		}
		if again, err := read(set.AppendBinary(nil)); err != nil || !again.Equal(set) {
			t.Errorf("%s is read again as %s, %v", set, again, err)
		}
	})
}

// FuzzInflate decompresses arbitrary bytes as MariaDB's.
func FuzzInflate(f *testing.F) {
	f.Add([]byte{0x81, 5, 0x78, 0x9c, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 7, 0, 6, 0x2c, 2, 0x15})
	f.Fuzz(func(t *testing.T, b []byte) {
		var i inflater
		_, _ = i.inflate(b)
	})
}
