package events

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/klauspost/compress/zstd"

	"rowfall/binlog"
)

// eventBuilder builds the events of a binlog file.
type eventBuilder struct {
	checksum bool
	// offset is the end of the last event in the file.
	offset uint64
	events [][]byte
}

func (m *eventBuilder) add(k eventType, flags uint16, body ...[]byte) {
	b := m.raw(k, flags, m.checksum, body...)
	m.events = append(m.events, b)
}

func (m *eventBuilder) raw(k eventType, flags uint16, checksum bool, body ...[]byte) []byte {
	b := make([]byte, HeaderSize)
	b = append(b, bytes.Join(body, nil)...)
	size := len(b)
	if checksum {
		size += checksumSize
	}
	binary.LittleEndian.PutUint32(b[0:], 1_700_000_000)
	b[4] = byte(k)
	binary.LittleEndian.PutUint32(b[5:], 1)
	binary.LittleEndian.PutUint32(b[9:], uint32(size))
	if flags&flagArtificial == 0 {
		m.offset += uint64(size)
		binary.LittleEndian.PutUint32(b[13:], uint32(m.offset))
	}
	binary.LittleEndian.PutUint16(b[17:], flags)
	if checksum {
		b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	}
	return b
}

// head adds the first events of a file that is sent from an offset.
func (m *eventBuilder) head(offset uint64) {
	m.offset = offset
	m.add(rotateEvent, flagArtificial, binary.LittleEndian.AppendUint64(nil, offset),
		[]byte("binlog.000007"))
	body := make([]byte, 2+50+4)
	binary.LittleEndian.PutUint16(body, 4)
	copy(body[2:], "9.7.4")
	lengths := bytes.Repeat([]byte{8}, 42)
	lengths[queryEvent-1], lengths[executeLoadQueryEvent-1] = 13, 26
	lengths[writeRowsEvent-1], lengths[updateRowsEvent-1], lengths[deleteRowsEvent-1] = 10, 10, 10
	algorithm := byte(0)
	if m.checksum {
		algorithm = 1
	}
	raw := m.raw(formatDescriptionEvent, flagArtificial, true, body, []byte{HeaderSize}, lengths,
		[]byte{algorithm})
	m.events = append(m.events, raw)
}

// transaction adds a transaction of one table in the form in which MySQL writes it.
func (m *eventBuilder) transaction(sequence uint64, rows int) {
	m.add(gtidLogEvent, 0, gtidBody(sequence))
	m.add(queryEvent, 0, queryBody("BEGIN"))
	m.add(tableMapEvent, 0, mapBody(byte(sequence), "t"))
	m.add(writeRowsEvent, 0, rowsBody(byte(sequence), rows))
	m.add(xidEvent, 0, make([]byte, 8))
}

// compressedTransaction is transaction with the events in a TRANSACTION_PAYLOAD_EVENT.
func (m *eventBuilder) compressedTransaction(sequence uint64, rows int) {
	inner := &eventBuilder{}
	inner.add(queryEvent, 0, queryBody("BEGIN"))
	inner.add(tableMapEvent, 0, mapBody(byte(sequence), "t"))
	inner.add(writeRowsEvent, 0, rowsBody(byte(sequence), rows))
	inner.add(xidEvent, 0, make([]byte, 8))
	m.add(gtidLogEvent, 0, gtidBody(sequence))
	m.add(transactionPayloadEvent, 0, []byte{2, 1, 0, 0}, compress(bytes.Join(inner.events, nil)))
}

// compress compresses bytes as MySQL does those of a transaction.
func compress(b []byte) []byte {
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return encoder.EncodeAll(b, nil)
}

// renumber raises the sequence number of every transaction by n.
func (m *eventBuilder) renumber(n uint64) {
	for _, raw := range m.events {
		if eventType(raw[4]) != gtidLogEvent {
			continue
		}
		sequence := raw[HeaderSize+1+16:]
		binary.LittleEndian.PutUint64(sequence, binary.LittleEndian.Uint64(sequence)+n)
		if m.checksum {
			end := len(raw) - checksumSize
			binary.LittleEndian.PutUint32(raw[end:], crc32.ChecksumIEEE(raw[:end]))
		}
	}
}

func gtidBody(sequence uint64) []byte {
	b := append([]byte{1}, bytes.Repeat([]byte{0xab}, 16)...)
	b = binary.LittleEndian.AppendUint64(b, sequence)
	b = append(b, 2)
	b = append(b, make([]byte, 16)...)
	time := binary.LittleEndian.AppendUint64(nil, 1_700_000_000_123_456)
	return append(b, time[:7]...)
}

func queryBody(sql string) []byte {
	b := make([]byte, 13)
	b[8] = 4
	return append(append(b, "shop\x00"...), sql...)
}

// clientBody is the body of a statement of a client whose character set has the collation.
func clientBody(collation uint16, sql string) []byte {
	vars := append([]byte{0, 1, 2, 3, 4, 1, 1, 2, 3, 4, 5, 6, 7, 8, 6, 3}, "std\x04"...)
	vars = append(binary.LittleEndian.AppendUint16(vars, collation), 8, 0, 8, 0)
	b := queryBody(sql)
	b[11] = byte(len(vars))
	return slices.Concat(b[:13], vars, b[13:])
}

func mapBody(id byte, name string) []byte {
	b := []byte{id, 0, 0, 0, 0, 0, 1, 0}
	b = append(append(append(b, 4), "shop"...), 0)
	b = append(append(append(b, byte(len(name))), name...), 0)
	b = append(b, 2, 3, 15, 2, 44, 1, 0) // INT, VARCHAR of 300 bytes
	return append(b, metaSignedness, 1, 0x80)
}

// rowsBody is the body of a rows event with n rows.
func rowsBody(id byte, n int) []byte {
	b := []byte{id, 0, 0, 0, 0, 0, 1, 0, 2, 0, 2, 3}
	for i := range n {
		b = append(b, 0, byte(i), 1, 0, 0, 5, 0)
		b = append(b, "hello"...)
	}
	return b
}

// damagedRowsBody is rowsBody with another number of columns than the table map.
func damagedRowsBody(id byte) []byte {
	b := rowsBody(id, 1)
	b[10]++
	return b
}

type oneTable struct {
	table   *binlog.Table
	lookups int
	skipped []string // the calls of RowsSkipped
}

// Mismatch ends the parsing.
func (o *oneTable) Mismatch(_ *binlog.Table, reason error) error { return reason }

func (o *oneTable) RowsSkipped(_, name string, op binlog.Op, foreignKeysOff bool) {
	o.skipped = append(o.skipped, fmt.Sprint(name, " ", op, " ", foreignKeysOff))
}

func (o *oneTable) Table(_, name string) (*binlog.Table, error) {
	o.lookups++
	if name != o.table.Name {
		return nil, nil
	}
	return o.table, nil
}

func newOneTable() *oneTable {
	return &oneTable{
		table: &binlog.Table{
			Database: "shop",
			Name:     "t",
			Primary:  []int{0},
			Columns: []binlog.Column{
				{Name: "id", SQLType: "int unsigned", Type: binlog.TypeInt, Unsigned: true},
				{
					Name: "v", SQLType: "varchar(75)", Type: binlog.TypeVarchar, Length: 75,
					Charset: "utf8mb4",
				},
			},
		},
	}
}

func newParser(o *oneTable) *Parser {
	p := NewParser(Options{GTIDs: true, Tables: o})
	p.Start(binlog.Position{})
	return p
}

// feed parses events and calls f for every event that the parser yields.
func feed(p *Parser, events [][]byte, f func(*binlog.Event)) error {
	for _, raw := range events {
		for ev, err := p.Next(raw); ; ev, err = p.Pending() {
			if err != nil {
				return err
			}
			if ev == nil {
				break
			}
			f(ev)
			if ev.Kind == binlog.Changes {
				for ev.Rows.Next() {
				}
				if err := ev.Rows.Err(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
