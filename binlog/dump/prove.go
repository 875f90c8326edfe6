package dump

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
)

// Open proves that a server's binlog is the history that a position belongs to. It requests the
// last transaction that the position includes (L) again, reads without yielding anything, and
// compares L with the evidence of it. On the server that L was read from, L comes first, and the
// stream continues after it on the same connection. Another server of the same history may have
// committed other transactions before L; then Open searches for L, and the stream needs a second
// connection.

// proof is the result of a comparison that found no difference.
type proof uint8

const (
	// provedHere: L came first. The stream is at the end of L.
	provedHere proof = iota
	// provedLater: L came after transactions that the position lacks.
	provedLater
	// notProved: the server no longer has L, or nothing of it can be compared.
	notProved
)

// proveAndRequest compares the histories and requests the binlog after from. It returns s, or the
// stream of another connection in its place. On an error it has closed both.
func (s *Stream) proveAndRequest(
	ctx context.Context, c Config, from binlog.Position,
) (*Stream, error) {
	l := &c.Last
	server := s.conn.Server()
	at, reason := positionBefore(l, &from, server)
	if reason == "" {
		result, err := s.prove(ctx, c, at, &from)
		if err != nil {
			return nil, s.fail(err)
		}
		if result == provedHere {
			return s, nil
		}
		reason = s.unproved
		_ = s.Close()
		if s, err = connect(ctx, c); err != nil {
			return nil, err
		}
		if got := s.conn.Server().UUID; got != server.UUID {
			return nil, s.fail(fmt.Errorf(
				"the history of server %s was compared, and then server %s answered; "+
					"give the address of one server, "+
					"not of several behind a proxy", server.UUID, got))
		}
	}
	s.unproved = reason
	if err := s.request(ctx, c, from); err != nil {
		return nil, s.fail(err)
	}
	return s, nil
}

// positionBefore returns the position to request L from, or the reason why no such position exists.
func positionBefore(
	l *binlog.Evidence, from *binlog.Position, server mysql.Server,
) (at binlog.Position, reason string) {
	if l.IsZero() {
		return at, "no evidence of the last applied transaction is stored"
	}
	if l.IsPosition() {
		if l.Server != server.UUID {
			return at, "no transaction was applied yet, and the position is that of another server"
		}
		return binlog.Position{File: l.File, Offset: firstEvent}, ""
	}
	if hasGTIDs(server) && !from.GTID.IsZero() && !l.GTID.IsZero() {
		before, ok := from.GTID.Before(l)
		if !ok {
			return at, fmt.Sprintf(
				"the stored evidence is of transaction %s, which is not the last one before %s",
				l.GTID, from)
		}
		return binlog.Position{GTID: before}, ""
	}
	if l.Server != server.UUID || l.File == "" || l.Start == 0 || from.File == "" {
		return at, "without GTIDs the binlogs of two servers cannot be compared"
	}
	return binlog.Position{File: l.File, Offset: l.Start}, ""
}

// prove requests the transaction at a position again and compares it. A difference is a
// *binlog.HistoryError.
func (s *Stream) prove(
	ctx context.Context, c Config, at binlog.Position, from *binlog.Position,
) (proof, error) {
	l := &c.Last
	end, err := query.End(ctx, s.conn)
	if err != nil {
		return 0, err
	}
	switch {
	case at.File == "":
		err = s.requestGTID(ctx, c, s.conn.Server(), at)
	case l.IsPosition():
		if err = s.compareFileTime(ctx, c); err == nil {
			return notProved, nil
		}
	default:
		// Does the server still have the transaction's file?
		var purged bool
		if purged, err = s.checkFile(ctx, l); err != nil {
			return 0, err
		}
		if purged {
			s.unproved = fmt.Sprintf(
				"the server has purged %s, which held the last applied transaction", l.File)
			return notProved, nil
		}
		err = s.requestFile(ctx, c, s.conn.Server(), at)
	}
	if err == nil {
		s.parser.StartVerifying()
		var result proof
		if result, err = s.readLast(ctx, l, &end); err == nil {
			return s.proved(result, at, from), nil
		}
	}
	return s.classifyError(err, l, at)
}

// compareFileTime compares the position before the first transaction with the server's binlog: the
// file must reach to the position and must have been begun at the same time. A server that was
// reset since has another file under that name.
func (s *Stream) compareFileTime(ctx context.Context, c Config) error {
	l := &c.Last
	purged, err := s.checkFile(ctx, l)
	if err != nil {
		return err
	}
	if purged {
		s.unproved = fmt.Sprintf("the server has purged %s, in which the data begin", l.File)
		return nil
	}
	server := s.conn.Server()
	s.parser.Start(binlog.Position{File: l.File, Offset: firstEvent})
	request := dumpRequest(dumpFlags(server), firstEvent, c.ServerID, l.File)
	if err := s.conn.Command(comBinlogDump, request); err != nil {
		return err
	}
	s.parser.StartVerifying()
	for {
		if file, begun := s.parser.FileTime(); begun != 0 && file == l.File {
			if begun != l.FileTime {
				found := binlog.Evidence{
					Server: server.UUID, File: file, End: l.End, FileTime: begun,
				}
				return &binlog.HistoryError{
					Held: *l, Found: found,
					Reason: "the time at which the file was begun differs",
				}
			}
			s.unproved = onlyFileCompared
			return nil
		}
		packet, ok := s.packets.next()
		if !ok {
			if _, err := s.wait(ctx); err != nil {
				return err
			}
			continue
		}
		if _, err := s.packet(packet); err != nil {
			return err
		}
	}
}

// proved ends the comparison: from then on the stream yields the events that it reads.
func (s *Stream) proved(result proof, at binlog.Position, from *binlog.Position) proof {
	if result != provedHere {
		return result
	}
	passTo := binlog.Position{}
	if at.File != "" {
		// By offset, the server sends all that follows L. An older version of Rowfall, which stored
		// no evidence, may have advanced the position after L was stored.
		passTo = *from
	}
	s.parser.StopVerifying(passTo)
	// The first Next returns a Progress at once: the server has the requested binlog.
	s.wake.woken = true
	return result
}

// readLast reads until the transaction has come, and compares it. end is the end of the binlog at
// the time of the request: a transaction that has not come by then is not on the server.
func (s *Stream) readLast(
	ctx context.Context, l *binlog.Evidence, end *binlog.Position,
) (proof, error) {
	server := s.conn.Server().UUID
	sameServer := l.Server == server
	result := provedHere
	for {
		packet, ok := s.packets.next()
		if !ok {
			place := s.parser.ReadPosition()
			// Files with another base name come before end in the server's list of files.
			if s.parser.Idle() && binlog.BaseName(place.File) == binlog.BaseName(end.File) &&
				place.CompareFile(*end) >= 0 {
				return 0, &binlog.HistoryError{Held: *l, Reason: fmt.Sprintf(
					"the server's binlog ends at %s:%d without a transaction that the data hold",
					end.File, end.Offset)}
			}
			if _, err := s.wait(ctx); err != nil {
				return 0, err
			}
			continue
		}
		ev, err := s.packet(packet)
		if err != nil {
			return 0, err
		}
		ends := ev != nil && (ev.Kind == binlog.Commit || ev.Kind == binlog.Statement)
		if !ends || !s.parser.Idle() {
			continue
		}
		found := *s.parser.Last()
		found.Server = server
		if found.GTID != l.GTID && !sameServer {
			result = provedLater
			continue
		}
		differs, proved := l.Compare(&found)
		if differs != "" {
			return 0, &binlog.HistoryError{
				Held: *l, Found: found, Reason: "the " + differs + " differs",
			}
		}
		if !proved {
			s.unproved = fmt.Sprintf(
				"the server does not send a commit time for transaction %s", l.GTID)
		}
		return result, nil
	}
}

// checkFile compares the file and end of a transaction with the list of the server's binlog files.
// It reports whether the file was purged, or is missing because log_bin was changed: then the files
// have another base name.
func (s *Stream) checkFile(ctx context.Context, l *binlog.Evidence) (purged bool, err error) {
	r, err := s.conn.Query(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return false, fmt.Errorf("list the binlog files: %w", err)
	}
	last := binlog.Position{}
	wasRenamed := len(r.Rows) > 0
	for i := range r.Rows {
		size, err := strconv.ParseUint(r.Text(i, "File_size"), 10, 64)
		if err != nil {
			return false, fmt.Errorf("list the binlog files: %w", err)
		}
		last = binlog.Position{File: r.Text(i, "Log_name"), Offset: size}
		if binlog.BaseName(last.File) == binlog.BaseName(l.File) {
			wasRenamed = false
		}
		if last.File != l.File {
			continue
		}
		if size < l.End {
			return false, &binlog.HistoryError{
				Held: *l, Reason: fmt.Sprintf("%s ends at %d", last.File, size),
			}
		}
		return false, nil
	}
	if !wasRenamed && last.CompareFile(binlog.Position{File: l.File}) < 0 {
		return false, &binlog.HistoryError{
			Held: *l, Reason: fmt.Sprintf("the server's binlog ends at %s", last),
		}
	}
	return true, nil
}

// classifyError separates errors that show another history from errors that prove nothing.
func (s *Stream) classifyError(err error, l *binlog.Evidence, at binlog.Position) (proof, error) {
	var (
		different *binlog.HistoryError
		se        *mysql.ServerError
		refused   *binlog.RefusedError
		same      = l.Server == s.conn.Server().UUID
	)
	switch {
	case errors.As(err, &different):
		if different.Held.IsZero() {
			different.Held = *l
		}
		return 0, different
	case errors.As(err, &se) && se.Code == mysql.CodeBinlogMissing:
		switch {
		case strings.Contains(se.Message, "same server_"), isOfGTIDMode(se):
		case strings.Contains(se.Message, "purged"):
			s.unproved = fmt.Sprintf(
				"the server has purged the last applied transaction, %s", l.GTID)
			return notProved, nil
		case strings.Contains(se.Message, "diverged"),
			same && strings.Contains(se.Message, "not in the master's binlog"),
			same && at.File != "":
			return 0, &binlog.HistoryError{Held: *l, Reason: "the server answered: " + se.Message}
		case strings.Contains(se.Message, "not in the master's binlog"):
			s.unproved = "the server answered: " + se.Message
			return notProved, nil
		}
	case at.File != "" && errors.As(err, &refused):
		return 0, &binlog.HistoryError{
			Held: *l, Reason: fmt.Sprintf("no transaction begins at %s any more", at),
		}
	}
	return 0, err
}

// withServer adds the server to the evidence in an error of the parser, which has no server.
func (s *Stream) withServer(err error) error {
	var different *binlog.HistoryError
	if errors.As(err, &different) {
		for _, e := range []*binlog.Evidence{&different.Held, &different.Found} {
			if !e.IsZero() && e.Server == "" {
				e.Server = s.conn.Server().UUID
			}
		}
	}
	return err
}

// Last returns the evidence of the last transaction that the stream has read to its end; after Open
// that is the transaction that proved the history. It is zero before any.
func (s *Stream) Last() binlog.Evidence { return s.withServerUUID(*s.parser.Last()) }

// PositionEvidence returns the evidence of a position after which the stream has read no
// transaction yet. It is zero until the stream has read the beginning of the position's file.
func (s *Stream) PositionEvidence(at binlog.Position) binlog.Evidence {
	file, begun := s.parser.FileTime()
	if begun == 0 || file != at.File {
		return binlog.Evidence{}
	}
	return binlog.Evidence{
		Server: s.conn.Server().UUID, File: at.File, End: at.Offset, FileTime: begun,
	}
}

// Transaction returns the evidence of the transaction whose changes Next has just returned.
func (s *Stream) Transaction() binlog.Evidence { return s.withServerUUID(s.parser.Transaction()) }

func (s *Stream) withServerUUID(e binlog.Evidence) binlog.Evidence {
	if !e.IsZero() {
		e.Server = s.conn.Server().UUID
	}
	return e
}

// Unproved returns the reason why the server's history could not be compared with the position's.
// It is empty where the comparison found no difference. If only the binlog file in which the data
// begin could be compared, it is empty from the first transaction on.
func (s *Stream) Unproved() string {
	if s.unproved == onlyFileCompared && !s.parser.Last().IsZero() {
		return ""
	}
	return s.unproved
}

// onlyFileCompared is the reason if the data hold no transaction that could be compared.
const onlyFileCompared = "no transaction was applied yet: only the binlog file was compared"
