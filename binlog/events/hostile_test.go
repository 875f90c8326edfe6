package events

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/klauspost/compress/zlib"

	"rowfall/binlog"
)

// The memory that an event may take: allocationFactor times its size, decompressed if the event is
// compressed, and allocationBase. A zstd frame of more than oneStep bytes may also take a window.
const (
	allocationFactor = 32
	allocationBase   = 256 << 10
)

// allocated returns the bytes that f allocates, including those that are freed meanwhile.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// hostileEvents returns streams of events, each of which ends with the event to damage.
func hostileEvents(t testing.TB) map[string][][]byte {
	t.Helper()
	streams := make(map[string][][]byte)
	add := func(name string, k eventType, body []byte, before func(m *eventBuilder)) {
		m := &eventBuilder{}
		m.head(4)
		before(m)
		m.add(k, 0, body)
		streams[name] = m.events
	}
	idle := func(*eventBuilder) {}
	begun := func(m *eventBuilder) {
		m.add(gtidLogEvent, 0, gtidBody(1))
		m.add(queryEvent, 0, queryBody("BEGIN"))
	}
	mapped := func(m *eventBuilder) {
		begun(m)
		m.add(tableMapEvent, 0, mapBody(1, "t"))
	}
	head := &eventBuilder{checksum: true}
	head.head(4)
	description := head.events[1]
	add("format description", formatDescriptionEvent, description[HeaderSize:], idle)
	add("rotate", rotateEvent, append(make([]byte, 8), "binlog.000008"...), idle)
	add("heartbeat", heartbeatLogEvent, []byte("binlog.000007"), idle)
	add("heartbeat v2", heartbeatLogEventV2,
		append(append([]byte{1, 13}, "binlog.000007"...), 2, 4, 253, 0, 1, 0, 0), idle)
	set, err := binlog.ParseGTIDSet("00112233-4455-6677-8899-aabbccddeeff:1-5:tag:3-4," +
		"ff112233-4455-6677-8899-aabbccddeeff:9")
	if err != nil {
		t.Fatal(err)
	}
	add("previous GTIDs", previousGTIDsLogEvent, set.AppendBinary(nil), idle)
	add("GTID", gtidLogEvent, gtidBody(1), idle)
	tagged := append([]byte{0x02, 0x76, 0x00, 0x00, 0x02, 0x02}, make([]byte, 16)...)
	add("tagged GTID", gtidTaggedLogEvent,
		append(tagged, 0x04, 24, 0x06, 6, 't', 'a', 'g', 0x0c, 4), idle)
	add("MariaDB GTID", mariaGTIDEvent,
		append(binary.LittleEndian.AppendUint64(nil, 7), make([]byte, 11)...), idle)
	add("query", queryEvent, clientBody(45, "CREATE TABLE x (id INT)"), idle)
	add("table map", tableMapEvent, mapBody(1, "t"), begun)
	for _, k := range []eventType{
		writeRowsEvent, updateRowsEvent, deleteRowsEvent, writeRowsEventV1, updateRowsEventV1,
		deleteRowsEventV1, writeRowsCompressedEvent, updateRowsCompressedEvent,
		writeRowsCompressedEventV1, partialUpdateRowsEvent,
	} {
		add(k.String(), k, rowsBodyOf(t, k), mapped)
	}
	sql := queryBody("")
	add("compressed query", queryCompressedEvent,
		append(append(sql, 0x81, 23), deflate(t, []byte("CREATE TABLE x (id INT)"))...), idle)
	m := &eventBuilder{}
	m.compressedTransaction(1, 20)
	add("payload", transactionPayloadEvent, m.events[1][HeaderSize:], func(m *eventBuilder) {
		m.add(gtidLogEvent, 0, gtidBody(1))
	})
	add("XA prepare", xaPrepareLogEvent, append(make([]byte, 13), "xid"...), mapped)
	return streams
}

// rowsBodyOf is the body of a rows event of any type. It has a few row images.
func rowsBodyOf(t testing.TB, k eventType) []byte {
	t.Helper()
	const withoutExtra = 6 + 2
	b := rowsBody(1, 6)
	images := b[withoutExtra+2+2:]
	body := bytes.Clone(b[:withoutExtra])
	f := k.rowsFormat()
	if f.hasExtraData {
		body = append(body, 2, 0)
	}
	body = append(body, 2, 3) // columns, and the bitmap of those present
	if f.op == binlog.Update {
		body = append(body, 3)
	}
	if !f.compressed {
		return append(body, images...)
	}
	body = binary.BigEndian.AppendUint16(append(body, 0x82), uint16(len(images)))
	return append(body, deflate(t, images)...)
}

func deflate(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	_, err := w.Write(b)
	if e := w.Close(); err != nil || e != nil {
		t.Fatal(err, e)
	}
	return out.Bytes()
}

// hostileNumbers replace bytes of an event, as lengths and counts that are too large.
var hostileNumbers = [][]byte{
	{250},
	{252, 0xff, 0xff},
	{253, 0xff, 0xff, 0xff},
	{254, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	{254, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	{254, 0, 0, 0, 0x40, 0, 0, 0, 0},
	{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	{0xff, 0xff, 0xff, 0x3f},
	{0, 0, 0, 0x40},
	{0x7f, 0xff, 0xff, 0xff},
	{0},
}

// Wrong lengths at any place of an event neither panic nor allocate more than a multiple of the
// event's size.
func TestHostileLengths(t *testing.T) {
	for name, stream := range hostileEvents(t) {
		t.Run(name, func(t *testing.T) {
			whole := checkAllocation(t, stream, "the whole event")
			if whole != nil && name != partialUpdateRowsEvent.String() {
				t.Errorf("the event is not correct: %v", whole)
			}
			last := stream[len(stream)-1]
			damaged := slices.Clone(stream)
			for at := HeaderSize; at < len(last); at++ {
				for _, number := range hostileNumbers {
					raw := bytes.Clone(last)
					copy(raw[at:], number)
					damaged[len(damaged)-1] = raw
					_ = checkAllocation(t, damaged, fmt.Sprintf("%x at %d", number, at-HeaderSize))
				}
			}
		})
	}
}

// checkAllocation parses the last event of a stream, and checks what is allocated for it.
func checkAllocation(t *testing.T, stream [][]byte, what string) error {
	t.Helper()
	raw := stream[len(stream)-1]
	p := newParser(newOneTable())
	p.mariaDB = eventType(raw[4]) >= annotateRowsEvent
	p.verifyChecksums = false
	nothing := func(*binlog.Event) {}
	if err := feed(p, stream[:len(stream)-1], nothing); err != nil {
		t.Fatal(err)
	}
	var err error
	took := allocated(func() { err = feed(p, [][]byte{raw}, nothing) })
	size := len(raw) + p.payload.total + len(p.inflater.out)
	most := uint64(allocationFactor*size + allocationBase)
	if eventType(raw[4]) == transactionPayloadEvent && len(raw) > oneStep {
		most += maxWindow
	}
	if took > most {
		t.Errorf("%s: %d bytes were allocated for an event of %d (%d decompressed)", what, took,
			len(raw), size-len(raw))
	}
	return err
}

// A compressed event whose sizes are wrong allocates in proportion to the bytes that it really has.
func TestBombs(t *testing.T) {
	begin := func() *eventBuilder {
		m := &eventBuilder{}
		m.head(4)
		m.add(gtidLogEvent, 0, gtidBody(1))
		return m
	}
	const claimed, real = 1 << 30, 4 << 20
	event := make([]byte, real)
	binary.LittleEndian.PutUint32(event[9:], claimed)
	for _, declared := range []uint64{0, real, claimed} {
		m := begin()
		body := []byte{2, 1, payloadZstd, 3, 9, 254}
		body = append(binary.LittleEndian.AppendUint64(body, declared), 0)
		m.add(transactionPayloadEvent, 0, append(body, compress(event)...))
		if checkAllocation(t, m.events, fmt.Sprintf("zstd, %d declared", declared)) == nil {
			t.Error("an event that ends too early is accepted")
		}
	}
	// An empty zstd frame that claims to need the largest window.
	window := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 17 << 3, 1, 0, 0}
	m := begin()
	body := append([]byte{2, 1, payloadZstd, 3, 9, 254}, 0, 0, 0, 0x40, 0, 0, 0, 0, 0)
	m.add(transactionPayloadEvent, 0, append(body, window...))
	if checkAllocation(t, m.events, "zstd window") == nil {
		t.Error("a transaction without events is accepted")
	}
	m = begin()
	m.add(queryEvent, 0, queryBody("BEGIN"))
	m.add(tableMapEvent, 0, mapBody(1, "t"))
	body = append(rowsBody(1, 0)[:8], 2, 3, 0x84)
	body = append(binary.BigEndian.AppendUint32(body, claimed), deflate(t, event)...)
	m.add(writeRowsCompressedEventV1, 0, body)
	if checkAllocation(t, m.events, "zlib") == nil {
		t.Error("rows that end too early are accepted")
	}
}

// FuzzEvents parses arbitrary bytes as the body of the events of hostileEvents. The parser must
// allocate in proportion to the event's size.
func FuzzEvents(f *testing.F) {
	streams := hostileEvents(f)
	for name, stream := range streams {
		f.Add(name, stream[len(stream)-1][HeaderSize:])
	}
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		stream := slices.Clone(streams[name])
		if stream == nil {
			t.Skip()
		}
		last := stream[len(stream)-1]
		raw := append(bytes.Clone(last[:HeaderSize]), body...)
		binary.LittleEndian.PutUint32(raw[9:], uint32(len(raw)))
		stream[len(stream)-1] = raw
		_ = checkAllocation(t, stream, name)
	})
}
