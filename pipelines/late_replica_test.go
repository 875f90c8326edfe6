package pipelines_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rowfall/binlog/mysql"
)

// lateReplica is a semi-synchronous replica that acknowledges late. With the wait point
// AFTER_SYNC, a transaction is in the binlog, where every replica receives it, before the
// acknowledgement makes it visible.
type lateReplica struct {
	delay time.Duration
	acks  atomic.Int64
	done  sync.WaitGroup
	conn  *mysql.Conn
}

// startLateReplica starts a replica at the end of d's binlog. It ends with the test.
func startLateReplica(t *testing.T, d *database, delay time.Duration) *lateReplica {
	t.Helper()
	r := &lateReplica{delay: delay, conn: d.dial()}
	for _, sql := range []string{
		"SET @rpl_semi_sync_replica = 1, @rpl_semi_sync_slave = 1",
		"SET @source_binlog_checksum = @@global.binlog_checksum, @master_binlog_checksum = " +
			"@@global.binlog_checksum",
		"SET @mariadb_slave_capability = 4",
	} {
		if err := r.conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	from := d.end()
	request := binary.LittleEndian.AppendUint32(nil, uint32(from.Offset))
	request = binary.LittleEndian.AppendUint16(request, 0)
	request = binary.LittleEndian.AppendUint32(request, 77)
	const commandDump = 0x12
	if err := r.conn.Command(commandDump, append(request, from.File...)); err != nil {
		t.Fatal(err)
	}
	r.done.Go(func() { r.follow(from.File) })
	t.Cleanup(r.stop)
	return r
}

// stop ends the replica. Transactions that wait for it continue when the server notices.
func (r *lateReplica) stop() {
	_ = r.conn.Close()
	r.done.Wait()
}

func (r *lateReplica) follow(file string) {
	c := r.conn.NetConn()
	var head [4]byte
	for {
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		packet := make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)
		if _, err := io.ReadFull(c, packet); err != nil {
			return
		}
		// 0, 0xef, whether an acknowledgement is wanted, the event.
		if len(packet) < 3+19 || packet[0] != 0 || packet[1] != 0xef {
			continue
		}
		event := packet[3:]
		const rotate = 4
		if event[4] == rotate {
			name := event[19+8:]
			if i := bytes.IndexByte(name, 0); i >= 0 {
				name = name[:i]
			}
			file = string(
				name[:min(len(name), len(file))],
			) // less the checksum: names are of one length here
			continue
		}
		if packet[2] == 0 {
			continue
		}
		time.Sleep(r.delay) // the fault that this is made for
		ack := append([]byte{0, 0, 0, 0, 0xef}, make([]byte, 8)...)
		binary.LittleEndian.PutUint64(ack[5:], uint64(binary.LittleEndian.Uint32(event[13:])))
		ack = append(ack, file...)
		ack[0] = byte(len(ack) - 4)
		if _, err := c.Write(ack); err != nil {
			return
		}
		r.acks.Add(1)
	}
}
