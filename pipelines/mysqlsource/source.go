package mysqlsource

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/binlog/dump"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/pipelines/file"
	"rowfall/pipelines/holds"
	"rowfall/pipelines/source"
)

// Source is a MySQL or MariaDB as the source of one run. Its connection is for queries; the
// stream and the readers of rows have connections of their own. The goroutine of the loop calls the
// methods, except for OpenRows, OpenKeys and OpenReplay, which any goroutine may call.
type Source struct {
	*schemas
	config mysql.Config
	// addresses is the number of addresses in the file.
	addresses int
	// readFrom are the addresses of the servers that rows are read from; empty: this server.
	readFrom []string
	dump     dump.Config // without what OpenStream adds
	// replayID is the server id of the stream of a replay.
	replayID uint32
	holds    *holds.Set
	log      zerolog.Logger
	// removeWait removes the connection's wait from holds.
	removeWait func()
}

var _ source.Source = (*Source)(nil)

// Config is what Open needs. Every field is required.
type Config struct {
	// File is the pipeline file: its mapping, source.mysql.read_from and source.mysql.server_id.
	File *file.Config
	// MySQL has the settings of connections. It replaces File.Source.MySQL.
	MySQL mysql.Config
	// Holds gets a Waiter for each connection that is open.
	Holds *holds.Set
	Log   zerolog.Logger
}

// Open connects to MySQL. A retry may succeed after an error, unless the error is a
// *source.StopError. The caller closes the result.
func Open(ctx context.Context, c Config) (*Source, error) {
	conn, err := mysql.Dial(ctx, c.MySQL)
	if err != nil {
		return nil, fmt.Errorf("connect to MySQL: %w", err)
	}
	addresses := len(c.MySQL.Addresses)
	// Every other connection of the run must reach the same server.
	c.MySQL.Addresses = []string{conn.Addr()}
	if err := checkReadFrom(c.File, conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	wait := newQueryWait(conn, "a question about settings, schemas or positions", c.Log)
	m := &Source{
		schemas:   &schemas{conn: conn, wait: wait, mapping: &c.File.Mapping},
		config:    c.MySQL,
		addresses: addresses,
		readFrom:  c.File.Source.ReadFrom,
		dump: dump.Config{
			MySQL: c.MySQL, ServerID: serverID(c.File), OwnThread: true, Logger: c.Log,
		},
		replayID: replayID(c.File),
		holds:    c.Holds, log: c.Log, removeWait: c.Holds.Add(wait),
	}
	// The connection is idle between statements of DDL, maybe for days.
	if err := conn.Exec(ctx, "SET SESSION wait_timeout = 2147483"); err != nil {
		m.Close()
		return nil, fmt.Errorf("prepare connection: %w", err)
	}
	return m, nil
}

// Close closes the connection. Streams and readers that were opened stay open.
func (m *Source) Close() {
	m.removeWait()
	_ = m.conn.Close()
}

// Identity returns what the connection has read at its start.
func (m *Source) Identity() source.Identity {
	s := m.conn.Server()
	return source.Identity{
		UUID: s.UUID, ServerID: s.ServerID, Addr: m.conn.Addr(), HasGTIDs: s.GTIDMode,
	}
}

// CheckOrigin rejects data from a MySQL where the server is a MariaDB, and the reverse.
func (m *Source) CheckOrigin(origin string) error {
	current, old := m.conn.Server().Flavor, mysql.FlavorOf(origin)
	if current == old {
		return nil
	}
	return source.Stopf("the data were built from a %s, but the server at %s is a %s, "+
		"which cannot continue at a %s's position; give the address of a %s of the old history, "+
		"or build the data again with --from snapshot",
		old, m.conn.Addr(), current, old, old)
}

// CheckSettings checks the server's variables, the user's privileges, and that the binlog has the
// changes of all mapped tables.
func (m *Source) CheckSettings(ctx context.Context) ([]query.Problem, error) {
	problems, err := query.Check(ctx, m.conn, wantedPatterns(m.mapping)...)
	if err != nil {
		return nil, err
	}
	unlogged, err := m.checkFilter(ctx)
	return append(problems, unlogged...), err
}

// Warnings returns the warnings about the server's settings.
func (m *Source) Warnings(ctx context.Context) ([]query.Problem, error) {
	list, err := query.Warnings(ctx, m.conn)
	if err != nil {
		return nil, err
	}
	return append(list, addressWarnings(m.addresses, m.conn.Server().GTIDMode)...), nil
}

// addressWarnings warns of several addresses if the server has no GTIDs.
func addressWarnings(n int, hasGTIDs bool) []query.Problem {
	if n < 2 || hasGTIDs {
		return nil
	}
	return []query.Problem{{
		What: "source.mysql.addresses has several servers, and this server has no GTIDs, so the " +
			"position cannot be found in the binlog of another server",
		Remedy: "give exactly one address, or enable GTIDs (gtid_mode=ON) on all of the servers",
	}}
}

// MissingGTIDs compares the set with the server's executed transactions.
func (m *Source) MissingGTIDs(
	ctx context.Context, set *binlog.GTIDSet,
) (binlog.GTIDSet, error) {
	return query.MissingGTIDs(ctx, m.conn, set)
}

// IsPurged compares GTID sets, or else the oldest binlog file.
func (m *Source) IsPurged(
	ctx context.Context, at binlog.Position, server string,
) (bool, error) {
	return query.IsPurged(ctx, m.conn, at, server == m.conn.Server().UUID)
}

// EstimateRows returns the numbers of rows from the server's table statistics.
func (m *Source) EstimateRows(ctx context.Context, t []*binlog.Table) ([]int64, error) {
	return query.EstimateRows(ctx, m.conn, t)
}

// OpenStream opens a dump. The address may be that of a proxy, so it checks that the dump comes
// from the server that answers queries.
func (m *Source) OpenStream(ctx context.Context, start source.StreamStart) (source.Stream, error) {
	config := m.dump
	config.Tables, config.Last = start.Tables, start.Last
	stream, err := dump.Open(ctx, config, start.Position)
	if err != nil {
		return nil, fmt.Errorf("follow binlog from %s: %w", start.Position, err)
	}
	if got, want := stream.Server().UUID, m.conn.Server().UUID; got != want {
		_ = stream.Close()
		return nil, fmt.Errorf("follow binlog: the dump connection reached server %s, "+
			"the reading one %s; give the address of one server, not of several behind a proxy",
			got, want)
	}
	return stream, nil
}

// Now returns the server's clock.
func (m *Source) Now(ctx context.Context) (int64, error) { return query.Now(ctx, m.conn) }

// End returns the set of executed transactions of a MySQL with GTIDs, and everything in it is
// visible. Elsewhere End returns the end of the log, where a statement may be logged but not
// executed yet.
func (m *Source) End(ctx context.Context) (p binlog.Position, visible bool, err error) {
	p, err = query.End(ctx, m.conn)
	server := m.conn.Server()
	return p, server.Flavor != mysql.MariaDB && server.GTIDMode, err
}

// ResolvePosition reads the GTIDs before a FILE:OFFSET of a MariaDB from the server, because
// MariaDB's dump does not send them.
func (m *Source) ResolvePosition(ctx context.Context, text string) (binlog.Position, error) {
	at, isTime, err := binlog.ParsePositionTime(text)
	var p binlog.Position
	if !isTime {
		p, err = binlog.ParsePosition(text)
	}
	if err != nil {
		return p, source.Stopf("position %q: %w; want snapshot, now, gtid:SET, FILE:OFFSET or "+
			"time:TIME", text, err)
	}
	if isTime {
		if p, err = m.positionAt(ctx, at); err != nil {
			return p, err
		}
		m.log.Info().Str("time", timeText(at)).Stringer("position", p).
			Msg("the last position before a time")
	}
	flavor := m.conn.Server().Flavor
	isMariaDB := flavor == mysql.MariaDB
	if isMariaDB && p.GTID.IsMySQL() || !isMariaDB && p.GTID.IsMariaDB() {
		return p, source.Stopf("position %q: the server at %s is a %s, which has GTIDs of another "+
			"form", text, m.conn.Addr(), flavor)
	}
	if p.File == "" || !isMariaDB {
		return p, nil
	}
	set, found, err := query.GTIDsAt(ctx, m.conn, p)
	if err != nil {
		return p, err
	}
	if !found {
		return p, source.Stopf("position %q: the server has no such position in its binlog; "+
			"SHOW BINARY LOGS lists its files", text)
	}
	p.GTID = set
	return p, nil
}

// EndedByReset reports whether a stream's error may mean that the server's binlog was reset. Such a
// server ends a dump as if a file could not be read, or without a reason.
func EndedByReset(err error) bool {
	return mysql.IsCode(err, mysql.CodeBinlogMissing) || errors.Is(err, dump.ErrEnded)
}

// MarkFinal makes a StopError of an error of the source that no retry can correct.
func MarkFinal(err error) error {
	if errors.As(err, new(*dump.GTIDModeError)) {
		return err
	}
	if errors.As(err, new(*binlog.RefusedError)) || errors.As(err, new(*binlog.HistoryError)) {
		return &source.StopError{Err: err}
	}
	var se *mysql.ServerError
	if errors.As(err, &se) && se.Code == mysql.CodeBinlogMissing {
		if strings.Contains(se.Message, "same server_") {
			return fmt.Errorf("%w; if that is no old connection of this process, "+
				"set source.mysql.server_id", err)
		}
		return &source.StopError{Err: err}
	}
	return err
}
