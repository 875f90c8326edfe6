package filesource

import (
	"context"
	"errors"
	"sync/atomic"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/events"
	"rowfall/binlog/files"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/pipelines/jobs"
	"rowfall/pipelines/source"
	"rowfall/transform"
)

// Source is a stretch of binlog files as the source of one run. It has no server: its definitions
// are those at the start of the stretch, as far as the files before the start show them. Nothing
// else can be read. Only Progress may be called from another goroutine than the loop's.
type Source struct {
	log     *files.Log
	stretch files.Stretch
	mapping *transform.Mapping
	options ddl.Options
	tables  catalog
	// cascading holds the tables with foreign keys whose cascades change rows without logging them.
	cascading map[ddl.TableName]bool
	// stream is nil until OpenStream. Progress reads it from any goroutine.
	stream atomic.Pointer[files.Stream]
}

var _ source.Source = (*Source)(nil)

// errNoServer is returned by methods that need a server.
var errNoServer = errors.New("binlog files contain no rows of tables")

// Open returns a source of a stretch. It reads the statements before the stretch. dump is the text
// of --schema. If the files cannot be read, a retry fails in the same way. Open takes no ownership
// of log.
func Open(
	ctx context.Context, log *files.Log, s files.Stretch, m *transform.Mapping, dump string,
) (*Source, error) {
	f := &Source{
		log: log, stretch: s, mapping: m, cascading: make(map[ddl.TableName]bool),
		options: ddl.Options{
			MariaDB: log.Flavor() == mysql.MariaDB, Version: mysql.VersionNumber(log.Version()),
		},
		tables: catalog{make(map[ddl.TableName]*ddl.Schema), make(map[string]ddl.Charset)},
	}
	for statement, sql := range ddl.DumpStatements(dump, f.options) {
		f.tables.trackDatabase(statement)
		f.trackCascades(statement, sql)
	}
	err := log.StatementsBefore(ctx, &s, func(ev *binlog.Event) {
		statement := ddl.Parse(ev.SQL, f.options.InSession(ev))
		f.tables.apply(statement)
		f.trackCascades(statement, ev.SQL)
	})
	return f, err
}

// trackCascades records that a statement may have given a table a foreign key whose cascades are
// not logged. MySQL 9.6 and later log them, unless innodb_native_foreign_keys is ON.
func (f *Source) trackCascades(s *ddl.Statement, sql string) {
	const logged = 90600
	if !f.options.MariaDB && f.options.Version >= logged || len(s.Tables) == 0 {
		return
	}
	if s.Action == ddl.CreateTable || s.Action == ddl.AlterTable {
		if ddl.AddedCascades(sql) > 0 {
			f.cascading[s.Tables[0]] = true
		}
	}
}

// Identity returns an unknown server: the files do not name the one that has written them.
func (f *Source) Identity() source.Identity {
	return source.Identity{
		UUID: mysql.UnknownServer(f.log.Flavor()), Addr: "binlog files",
		HasGTIDs: f.stretch.HasGTIDs,
	}
}

// CheckOrigin implements source.Server. The data are new.
func (f *Source) CheckOrigin(string) error { return nil }

// CheckSettings implements source.Server. The stream rejects what it cannot read.
func (f *Source) CheckSettings(context.Context) ([]query.Problem, error) { return nil, nil }

// Warnings implements source.Server.
func (f *Source) Warnings(context.Context) ([]query.Problem, error) { return nil, nil }

// MissingGTIDs implements source.Server. Every start is a position in the files.
func (f *Source) MissingGTIDs(
	context.Context, *binlog.GTIDSet,
) (missing binlog.GTIDSet, err error) {
	return missing, nil
}

// IsPurged implements source.Server.
func (f *Source) IsPurged(context.Context, binlog.Position, string) (bool, error) {
	return false, nil
}

// OpenStream opens the stream of the stretch. Its Next returns files.ErrEnd at the end.
func (f *Source) OpenStream(_ context.Context, start source.StreamStart) (source.Stream, error) {
	stream, err := f.log.Stream(&f.stretch, files.Config{
		Tables: start.Tables, Server: f.Identity().UUID,
	})
	if err != nil {
		return nil, err
	}
	f.stream.Store(stream)
	return &trackedStream{stream, f}, nil
}

// Progress returns how many bytes of the stretch have been read, and the size of the stretch. Any
// goroutine may call it.
func (f *Source) Progress() (done, total int64) {
	if s := f.stream.Load(); s != nil {
		done = s.Read()
	}
	return done, f.stretch.Bytes
}

// trackedStream is the stream of a Source. It tracks the foreign keys that statements add.
type trackedStream struct {
	*files.Stream
	source *Source
}

// Next implements source.Stream.
func (s *trackedStream) Next(ctx context.Context) (*binlog.Event, error) {
	ev, err := s.Stream.Next(ctx)
	s.track(ev)
	return ev, err
}

// Present implements source.Stream.
func (s *trackedStream) Present(ctx context.Context) (*binlog.Event, error) {
	ev, err := s.Stream.Present(ctx)
	s.track(ev)
	return ev, err
}

// track records the cascades that a statement adds. ev may be nil.
func (s *trackedStream) track(ev *binlog.Event) {
	if ev != nil && ev.Kind == binlog.Statement && ddl.AddedCascades(ev.SQL) > 0 {
		o := s.source.options.InSession(ev)
		s.source.trackCascades(ddl.Parse(ev.SQL, o), ev.SQL)
	}
}

// LogFiles returns the files up to the one in which the stretch starts.
func (f *Source) LogFiles(context.Context) ([]string, error) {
	return f.log.FilesBefore(&f.stretch), nil
}

// OpenPrepared opens a stream that ends at the start of the stretch.
func (f *Source) OpenPrepared(
	_ context.Context, file string, tables events.Tables,
) (source.Stream, error) {
	return f.log.StreamBefore(file, &f.stretch, files.Config{
		Tables: tables, PreparedOnly: true, Server: f.Identity().UUID,
	})
}

// Now implements source.PositionReader. The time of the data is not known before their first
// transaction.
func (f *Source) Now(context.Context) (int64, error) { return 0, nil }

// End returns the start of the stretch, to which the definitions belong.
func (f *Source) End(context.Context) (p binlog.Position, visible bool, err error) {
	return f.stretch.Start, true, nil
}

// EndOfLog implements source.SchemaReader as End does.
func (f *Source) EndOfLog(context.Context) (binlog.Position, error) {
	return f.stretch.Start, nil
}

// ResolvePosition returns the start of the stretch, the only position that a run requests.
func (f *Source) ResolvePosition(context.Context, string) (binlog.Position, error) {
	return f.stretch.Start, nil
}

// Schemas returns the tables at the start of the stretch.
func (f *Source) Schemas(
	_ context.Context, only map[string]bool,
) (map[string]*binlog.Table, error) {
	all := make(map[string]*binlog.Table)
	for n, d := range f.tables.schemas {
		rule, err := f.mapping.Rule(n.Database, n.Table)
		if err != nil {
			return nil, &source.StopError{Err: err}
		}
		if rule != nil && (only == nil || only[n.String()]) {
			all[n.String()] = d.Table()
		}
	}
	return all, nil
}

// Definitions implements source.SchemaReader.
func (f *Source) Definitions(
	_ context.Context, tables []*binlog.Table,
) ([]*ddl.Schema, error) {
	all := make([]*ddl.Schema, len(tables))
	for i, t := range tables {
		all[i] = f.tables.schemas[ddl.NameOf(t)]
	}
	return all, nil
}

// AllTables implements source.SchemaReader.
func (f *Source) AllTables(context.Context) ([]*binlog.Table, error) { return nil, nil }

// AwaitDDL implements source.SchemaReader. A statement in a file has no lock.
func (f *Source) AwaitDDL(context.Context, ddl.TableName) error { return nil }

// CheckGrants implements source.SchemaReader.
func (f *Source) CheckGrants(context.Context) error { return nil }

// UnloggedCascades returns the foreign keys that the statements show. Their columns and parents are
// not read. So the next run, which reads the keys from a server, finds others, and reads tables
// with `cascades: reconcile` again.
func (f *Source) UnloggedCascades(
	_ context.Context, tables []ddl.TableName,
) (found []source.UnloggedCascade, err error) {
	for _, t := range tables {
		if f.cascading[t] {
			key := query.ForeignKey{
				Name: "in its CREATE or ALTER TABLE", OnDelete: "CASCADE",
				OnUpdate: "NO ACTION",
			}
			found = append(found, source.UnloggedCascade{Table: t, Key: key})
		}
	}
	return found, nil
}

// TableSchema implements source.SchemaReader.
func (f *Source) TableSchema(context.Context, ddl.TableName) (*binlog.Table, error) {
	return nil, nil
}

// Databases returns the character sets of the databases at the start, as far as they are known.
func (f *Source) Databases(context.Context) (map[string]ddl.Charset, error) {
	return f.tables.databases, nil
}

// Dialect implements source.SchemaReader.
func (f *Source) Dialect() ddl.Options { return f.options }

// EstimateRows implements jobs.RowSource.
func (f *Source) EstimateRows(context.Context, []*binlog.Table) ([]int64, error) {
	return nil, errNoServer
}

// OpenRows implements jobs.RowSource. It is not called: an offline loop starts no jobs.
func (f *Source) OpenRows() jobs.RowReader { return nil }

// OpenKeys implements source.KeySource. It is not called: new data have no searches.
func (f *Source) OpenKeys() source.KeyReader { return nil }

// OpenReplay implements source.KeySource.
func (f *Source) OpenReplay(context.Context, source.ReplayStart) (source.Stream, error) {
	return nil, errNoServer
}
