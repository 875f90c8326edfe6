package pipelines

import (
	"context"
	"errors"
	"sync/atomic"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/files"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/pipelines/jobs"
	"rowfall/transform"
)

// fileSource is a stretch of binlog files as the source of one run, see FileReplay. It has no
// server: its definitions are those at the start of the stretch, as far as the files before the
// start show them, and nothing else can be read.
type fileSource struct {
	log     *files.Log
	stretch files.Stretch
	mapping *transform.Mapping
	options ddl.Options
	tables  fileCatalog
	// cascading holds the tables with foreign keys whose cascades change rows without logging them.
	cascading map[ddl.TableName]bool
	// stream is nil until OpenStream. Progress reads it from any goroutine.
	stream atomic.Pointer[files.Stream]
}

var _ source = (*fileSource)(nil)

// errNoServer is returned for what only a server can answer.
var errNoServer = errors.New("binlog files contain no rows of tables")

// newFileSource returns a source of a stretch. It reads the statements before the stretch. dump is
// the text of --schema.
func newFileSource(
	ctx context.Context, log *files.Log, s files.Stretch, m *transform.Mapping, dump string,
) (*fileSource, error) {
	f := &fileSource{
		log: log, stretch: s, mapping: m, cascading: make(map[ddl.TableName]bool),
		options: ddl.Options{
			MariaDB: log.Flavor() == mysql.MariaDB, Version: mysql.VersionNumber(log.Version()),
		},
		tables: fileCatalog{make(map[ddl.TableName]*ddl.Schema), make(map[string]ddl.Charset)},
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
func (f *fileSource) trackCascades(s *ddl.Statement, sql string) {
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
func (f *fileSource) Identity() serverIdentity {
	return serverIdentity{
		UUID: mysql.UnknownServer(f.log.Flavor()), Addr: "binlog files",
		HasGTIDs: f.stretch.HasGTIDs,
	}
}

// CheckOrigin implements sourceServer. The data are new.
func (f *fileSource) CheckOrigin(string) error { return nil }

// CheckSettings implements sourceServer. The stream rejects what it cannot read.
func (f *fileSource) CheckSettings(context.Context) ([]query.Problem, error) { return nil, nil }

// MissingGTIDs implements sourceServer. The start is a place in the files.
func (f *fileSource) MissingGTIDs(
	context.Context, *binlog.GTIDSet,
) (missing binlog.GTIDSet, err error) {
	return missing, nil
}

// IsPurged implements sourceServer.
func (f *fileSource) IsPurged(context.Context, binlog.Position, string) (bool, error) {
	return false, nil
}

// OpenStream opens the stream of the stretch.
func (f *fileSource) OpenStream(_ context.Context, start streamStart) (eventStream, error) {
	stream, err := f.log.Stream(&f.stretch, files.Config{
		Tables: start.tables, Server: f.Identity().UUID,
	})
	if err != nil {
		return nil, err
	}
	f.stream.Store(stream)
	return &fileStream{stream, f}, nil
}

// Progress returns how many bytes of the stretch have been read, and the size of the stretch. Any
// goroutine may call it.
func (f *fileSource) Progress() (done, total int64) {
	if s := f.stream.Load(); s != nil {
		done = s.Read()
	}
	return done, f.stretch.Bytes
}

// fileStream is the stream of a fileSource. It tracks the foreign keys that statements add.
type fileStream struct {
	*files.Stream
	source *fileSource
}

// Next implements eventStream.
func (s *fileStream) Next(ctx context.Context) (*binlog.Event, error) {
	ev, err := s.Stream.Next(ctx)
	if err == nil && ev.Kind == binlog.Statement && ddl.AddedCascades(ev.SQL) > 0 {
		o := s.source.options.InSession(ev)
		s.source.trackCascades(ddl.Parse(ev.SQL, o), ev.SQL)
	}
	return ev, err
}

// Now implements positionReader: the time of the data is not known before their first transaction.
func (f *fileSource) Now(context.Context) (int64, error) { return 0, nil }

// End returns the start of the stretch, to which the definitions belong.
func (f *fileSource) End(context.Context) (p binlog.Position, visible bool, err error) {
	return f.stretch.Start.Clone(), true, nil
}

// EndOfLog implements schemaReader as End does.
func (f *fileSource) EndOfLog(context.Context) (binlog.Position, error) {
	return f.stretch.Start.Clone(), nil
}

// ResolvePosition returns the start of the stretch, the only position that a run asks for.
func (f *fileSource) ResolvePosition(context.Context, string) (binlog.Position, error) {
	return f.stretch.Start.Clone(), nil
}

// Schemas returns the tables at the start of the stretch.
func (f *fileSource) Schemas(
	_ context.Context, only map[string]bool,
) (map[string]*binlog.Table, error) {
	all := make(map[string]*binlog.Table)
	for n, d := range f.tables.schemas {
		rule, err := f.mapping.Rule(n.Database, n.Table)
		if err != nil {
			return nil, &StopError{err}
		}
		if rule != nil && (only == nil || only[n.String()]) {
			all[n.String()] = d.Table()
		}
	}
	return all, nil
}

// Definitions implements schemaReader.
func (f *fileSource) Definitions(
	_ context.Context, tables []*binlog.Table,
) ([]*ddl.Schema, error) {
	all := make([]*ddl.Schema, len(tables))
	for i, t := range tables {
		all[i] = f.tables.schemas[ddl.NameOf(t)]
	}
	return all, nil
}

// AllTables implements schemaReader.
func (f *fileSource) AllTables(context.Context) ([]*binlog.Table, error) { return nil, nil }

// AwaitDDL implements schemaReader. A statement in a file has no lock.
func (f *fileSource) AwaitDDL(context.Context, ddl.TableName) error { return nil }

// CheckGrants implements schemaReader.
func (f *fileSource) CheckGrants(context.Context) error { return nil }

// UnloggedCascades returns the foreign keys that the statements show. Their columns and parents are
// not read. So the next run, which reads the keys from a server, finds others, and reads tables
// with `cascades: reconcile` again.
func (f *fileSource) UnloggedCascades(
	_ context.Context, tables []ddl.TableName,
) (found []unloggedCascade, err error) {
	for _, t := range tables {
		if f.cascading[t] {
			key := query.ForeignKey{
				Name: "in its CREATE or ALTER TABLE", OnDelete: "CASCADE",
				OnUpdate: "NO ACTION",
			}
			found = append(found, unloggedCascade{t, key})
		}
	}
	return found, nil
}

// TableSchema implements schemaReader.
func (f *fileSource) TableSchema(context.Context, ddl.TableName) (*binlog.Table, error) {
	return nil, nil
}

// Databases returns the character sets of the databases at the start, as far as they are known.
func (f *fileSource) Databases(context.Context) (map[string]ddl.Charset, error) {
	return f.tables.databases, nil
}

// Dialect implements schemaReader.
func (f *fileSource) Dialect() ddl.Options { return f.options }

// EstimateRows implements jobs.RowSource.
func (f *fileSource) EstimateRows(context.Context, []*binlog.Table) ([]int64, error) {
	return nil, errNoServer
}

// OpenRows implements jobs.RowSource. It is not called: an offline loop starts no jobs.
func (f *fileSource) OpenRows() jobs.RowReader { return nil }

// OpenKeys implements keySource. It is not called: new data have no searches.
func (f *fileSource) OpenKeys() keyReader { return nil }

// OpenReplay implements keySource.
func (f *fileSource) OpenReplay(context.Context, replayStart) (eventStream, error) {
	return nil, errNoServer
}

// fileCatalog holds the tables that statements have created.
type fileCatalog struct {
	schemas   map[ddl.TableName]*ddl.Schema
	databases map[string]ddl.Charset
}

// Table implements ddl.Catalog.
func (c fileCatalog) Table(n ddl.TableName) *ddl.Schema { return c.schemas[n] }

// Tables implements ddl.Catalog.
func (c fileCatalog) Tables(database string) (names []ddl.TableName) {
	for n := range c.schemas {
		if n.Database == database {
			names = append(names, n)
		}
	}
	return names
}

// Database implements ddl.Catalog.
func (c fileCatalog) Database(name string) (ddl.Charset, bool) {
	cs, ok := c.databases[name]
	return cs, ok
}

// apply applies a statement. A table is forgotten if the statement's effect on it is not known.
func (c fileCatalog) apply(s *ddl.Statement) {
	if c.trackDatabase(s); s.Temporary {
		return
	}
	effects, err := s.Apply(c)
	if err != nil || s.Action == ddl.Unknown {
		for _, n := range s.Tables {
			delete(c.schemas, n)
		}
		s.Mentions(func(n ddl.TableName) bool {
			delete(c.schemas, n)
			return false
		})
		return
	}
	for i := range effects {
		if e := &effects[i]; e.Schema != nil {
			c.schemas[e.Table] = query.WithEngine(e.Schema, nil)
		} else {
			delete(c.schemas, e.Table)
		}
	}
}

// trackDatabase updates the default character set of a database.
func (c fileCatalog) trackDatabase(s *ddl.Statement) {
	switch s.Action {
	case ddl.CreateDatabase, ddl.AlterDatabase:
		cs, err := s.DatabaseCharset(c.databases[s.Database])
		if delete(c.databases, s.Database); err == nil {
			c.databases[s.Database] = cs
		}
	case ddl.DropDatabase:
		delete(c.databases, s.Database)
	}
}
