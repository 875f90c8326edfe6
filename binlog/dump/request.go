package dump

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/events"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
)

// The commands of the client/server protocol that a replica sends.
const (
	comBinlogDump     = 0x12
	comRegisterSlave  = 0x15
	comBinlogDumpGTID = 0x1e
)

// flagHeartbeatV2 is a flag of the dump commands: the server sends heartbeats with an offset of 64
// bits (USE_HEARTBEAT_EVENT_V2, MySQL 8.0.26).
const flagHeartbeatV2 = 0x02

// firstEvent is the offset of a file's first event, after the four magic bytes.
const firstEvent = 4

// prepare sets up the session and registers as a replica.
func (s *Stream) prepare(ctx context.Context, c Config) error {
	if c.ServerID == 0 {
		return errors.New("the server id must not be 0")
	}
	keepAlive(s.net)
	server := s.conn.Server()
	s.parser = events.NewParser(events.Options{
		MariaDB: server.Flavor == mysql.MariaDB, GTIDs: hasGTIDs(server),
		SkipChecksum: c.SkipChecksum, Tables: c.Tables,
		TimesOnly: c.TimesOnly, PreparedOnly: c.PreparedOnly,
	})
	if err := s.prepareSession(ctx, c, server); err != nil {
		return err
	}
	if err := s.register(ctx, c.ServerID); err != nil {
		return fmt.Errorf("register as a replica: %w", err)
	}
	return nil
}

// request requests the binlog after from.
func (s *Stream) request(ctx context.Context, c Config, from binlog.Position) error {
	server := s.conn.Server()
	byGTID := hasGTIDs(server) && !from.GTID.IsZero()
	if byGTID && server.Flavor == mysql.MariaDB {
		same, err := s.matchesGTIDs(ctx, from)
		if err != nil {
			return err
		}
		byGTID = !same
	}
	if byGTID {
		return s.requestGTID(ctx, c, server, from)
	}
	return s.requestFile(ctx, c, server, from)
}

// matchesGTIDs reports whether the GTIDs before file and offset of a position are, on this MariaDB,
// the position's GTID set. They may differ on another server of the same history, and where a
// stream that began at a GTID set has its domains in another order.
func (s *Stream) matchesGTIDs(ctx context.Context, p binlog.Position) (bool, error) {
	if p.File == "" {
		return false, nil
	}
	set, found, err := query.GTIDsAt(ctx, s.conn, p)
	return found && set.Equal(p.GTID), err
}

// hasGTIDs reports whether a server's transactions have GTIDs.
func hasGTIDs(server mysql.Server) bool { return server.GTIDMode || server.Flavor == mysql.MariaDB }

// keepAlive makes the kernel detect a dead peer even while nothing is read.
func keepAlive(c net.Conn) {
	for { // unwrap TLS
		t, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = t.NetConn()
	}
	if t, ok := c.(*net.TCPConn); ok {
		// An error is ignored, because the read deadline detects a dead peer, too.
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{
			Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 4,
		})
	}
}

// prepareSession sets the session variables of a dump, under both their names: servers before
// 8.0.26 read the old one, later servers either.
func (s *Stream) prepareSession(ctx context.Context, c Config, server mysql.Server) error {
	period := c.Heartbeat.Nanoseconds()
	sql := fmt.Sprintf("SET @source_binlog_checksum = @@global.binlog_checksum, "+
		"@master_binlog_checksum = @@global.binlog_checksum, "+
		"@source_heartbeat_period = %d, @master_heartbeat_period = %d, @replica_uuid = '%[3]s', "+
		"@slave_uuid = '%[3]s'", period, period, newUUID())
	if server.Flavor == mysql.MariaDB {
		sql += ", @mariadb_slave_capability = 4" // MARIA_SLAVE_CAPABILITY_GTID
	}
	if err := s.conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("prepare session: %w", err)
	}
	return nil
}

// newUUID returns a random UUID, because a server ends the dump of another replica that announces
// the same UUID.
func newUUID() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // it never fails
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// register registers as a replica, so that SHOW REPLICAS lists the connection.
func (s *Stream) register(ctx context.Context, id uint32) error {
	const host = "rowfall"
	b := binary.LittleEndian.AppendUint32(nil, id)
	b = append(append(b, byte(len(host))), host...)
	b = append(b, 0, 0)                        // user, password
	b = binary.LittleEndian.AppendUint16(b, 0) // port
	b = append(b, make([]byte, 4+4)...)        // rank, source id
	if err := s.conn.Command(comRegisterSlave, b); err != nil {
		return err
	}
	for {
		if reply, ok := s.packets.next(); ok {
			if len(reply) > 0 && reply[0] == 0 {
				return nil
			}
			return mysql.ParseError(reply)
		}
		if _, err := s.wait(ctx); err != nil {
			return err
		}
	}
}

// requestGTID requests all transactions outside a GTID set. The server chooses the file to begin
// with.
func (s *Stream) requestGTID(
	ctx context.Context, c Config, server mysql.Server, from binlog.Position,
) error {
	text := from.GTID.AppendBinary(nil)
	from.File, from.Offset = "", 0
	s.parser.Start(from)
	if server.Flavor == mysql.MariaDB {
		sql := fmt.Sprintf("SET @slave_connect_state = '%s'", from.GTID.String())
		if err := s.conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("set the GTID position: %w", err)
		}
		return s.conn.Command(comBinlogDump, dumpRequest(0, firstEvent, c.ServerID, ""))
	}
	b := binary.LittleEndian.AppendUint16(nil, dumpFlags(server))
	b = binary.LittleEndian.AppendUint32(b, c.ServerID)
	b = binary.LittleEndian.AppendUint32(b, 0) // length of the file's name
	b = binary.LittleEndian.AppendUint64(b, firstEvent)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	return s.conn.Command(comBinlogDumpGTID, append(b, text...))
}

// requestFile requests the events after an offset. It requests the whole file if the beginning is
// needed, for the GTID set, or if the offset has more than the command's 32 bits.
func (s *Stream) requestFile(
	ctx context.Context, c Config, server mysql.Server, from binlog.Position,
) error {
	if from.File == "" {
		return reject(from, "the position has no file and offset, and the server has no GTIDs; "+
			"give FILE:OFFSET, or --from snapshot")
	}
	from.Offset = max(from.Offset, firstEvent)
	if !hasGTIDs(server) {
		from.GTID = binlog.GTIDSet{}
	}
	at := from.Offset
	if learn := server.GTIDMode && server.Flavor == mysql.MySQL; learn || at > math.MaxUint32 {
		at = firstEvent
		s.parser.StartSkipping(from, learn)
	} else {
		if err := s.checkOffset(ctx, from); err != nil {
			return err
		}
		s.parser.Start(from)
	}
	payload := dumpRequest(dumpFlags(server), uint32(at), c.ServerID, from.File)
	return s.conn.Command(comBinlogDump, payload)
}

// checkOffset rejects an offset at which no event begins. From such an offset the server might wait
// without an error for the rest of an event.
func (s *Stream) checkOffset(ctx context.Context, at binlog.Position) error {
	if strings.ContainsAny(at.File, `'\`) {
		return reject(at, "%q is not the name of a binlog file", at.File)
	}
	_, err := s.conn.Query(ctx, fmt.Sprintf(
		"SHOW BINLOG EVENTS IN '%s' FROM %d LIMIT 1", at.File, at.Offset))
	var se *mysql.ServerError
	if errors.As(err, &se) && strings.Contains(se.Message, "Could not find target log") {
		return nil // the dump command returns a better error about a missing file
	}
	if se != nil && se.Code == mysql.CodeWhileExecuting {
		return reject(at, "%s:%d is not where an event begins; "+
			"take a position that the server or Rowfall gave, or --from snapshot: %w",
			at.File, at.Offset, err)
	}
	if err != nil {
		return fmt.Errorf("read the event at the starting position: %w", err)
	}
	return nil
}

// reject returns a *binlog.RefusedError for a position from which every retry fails.
func reject(at binlog.Position, format string, args ...any) error {
	return &binlog.RefusedError{After: at, Err: fmt.Errorf(format, args...)}
}

func dumpFlags(server mysql.Server) uint16 {
	if server.Flavor == mysql.MySQL && server.AtLeast(8, 0, 26) {
		return flagHeartbeatV2
	}
	return 0
}

// dumpRequest is the payload of COM_BINLOG_DUMP.
func dumpRequest(flags uint16, offset, id uint32, file string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, offset)
	b = binary.LittleEndian.AppendUint16(b, flags)
	b = binary.LittleEndian.AppendUint32(b, id)
	return append(b, file...)
}
