package events

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"

	"rowfall/binlog"
)

// corpus is a stream of all that MySQL and MariaDB write by hand.
func corpus() []byte {
	m := &maker{}
	m.head(4)
	m.transaction(1, 3)
	m.add(kindQuery, 0, queryBody("CREATE TABLE x (id INT)"))
	m.add(kindHeartbeatV2, flagArtificial, []byte{1, 13}, []byte("binlog.000007"), []byte{2, 3, 253, 0, 1, 0, 0})
	m.add(kindHeartbeat, 0, []byte("binlog.000007"))
	m.add(kindPreviousGTIDs, 0, make([]byte, 8))
	m.add(kindMariaGTIDList, 0, make([]byte, 4))
	m.add(kindXAPrepare, 0, make([]byte, 13))
	encoder, _ := zstd.NewWriter(nil)
	inner := &maker{}
	inner.add(kindQuery, 0, queryBody("BEGIN"))
	inner.add(kindTableMap, 0, mapBody(1, "t"))
	inner.add(kindWriteRows, 0, rowsBody(1, 4))
	inner.add(kindXID, 0, make([]byte, 8))
	m.add(kindAnonymousGTID, 0, gtidBody(0))
	m.add(kindPayload, 0, []byte{2, 1, 0, 0}, encoder.EncodeAll(bytes.Join(inner.events, nil), nil))
	return bytes.Join(m.events, nil)
}

// FuzzParser takes any bytes for a file's events. It must neither panic nor
// allocate without bound.
func FuzzParser(f *testing.F) {
	f.Add(corpus(), false)
	f.Add(corpus(), true)
	f.Fuzz(func(t *testing.T, b []byte, maria bool) {
		p := newParser(newOne())
		p.maria, p.verify = maria, false
		for len(b) >= HeaderSize {
			// Sizes and checksums are made right, or little would get far.
			n := int(binary.LittleEndian.Uint32(b[9:]))
			if n < HeaderSize || n > len(b) {
				n = len(b)
			}
			raw := slices.Clone(b[:n])
			b = b[n:]
			binary.LittleEndian.PutUint32(raw[9:], uint32(n))
			if feed(p, [][]byte{raw}, func(*binlog.Event) {}) != nil {
				return
			}
		}
	})
}

// FuzzInflate takes any bytes for MariaDB's compressed ones.
func FuzzInflate(f *testing.F) {
	f.Add([]byte{0x81, 5, 0x78, 0x9c, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 7, 0, 6, 0x2c, 2, 0x15})
	f.Fuzz(func(t *testing.T, b []byte) {
		var i inflater
		_, _ = i.inflate(b)
	})
}
