package pipelines

import (
	"context"
	"regexp"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/query"
	"rowfall/pipelines/source"
)

// writeChecks caches, for each table that a statement writes or reads, the result of the source's
// check whether the statement may change other tables. A check is made when the first such
// statement comes. Statements that define tables, triggers and views invalidate the cache.
//
// The source describes the tables as they are now, and the stream may be behind: a trigger that
// existed when the statement was executed may have been dropped since. Then the stream contains the
// DROP TRIGGER, before the end that the log had at the check. So if a statement of this kind comes
// before that end, all mapped tables are read again.
type writeChecks struct {
	source source.WriteChecker
	// writtenWhy and readWhy are the results of the source's CheckWritten and CheckRead.
	writtenWhy, readWhy map[ddl.TableName]string
	// temporary are the names of temporary tables that statements have created, of any session.
	temporary map[ddl.TableName]bool
	// graph has the foreign keys of mapped tables, of the tables that these refer to, and so on,
	// whose actions change rows. It is nil until it is read.
	graph *cascades
	// until is the end that the log had when the last check was made. Before it, a statement may
	// show that the check was of another time.
	until binlog.Position
}

// written returns why a statement that writes a table may change other tables, see
// source.WriteChecker.
func (w *writeChecks) written(
	ctx context.Context, n ddl.TableName, schemas source.SchemaReader,
) (string, error) {
	if why, ok := w.writtenWhy[n]; ok {
		return why, nil
	}
	why, err := w.source.CheckWritten(ctx, n)
	if err != nil {
		return "", err
	}
	if w.isTemporary(n, why) {
		why = ""
	}
	if w.writtenWhy == nil {
		w.writtenWhy = make(map[ddl.TableName]string)
	}
	w.writtenWhy[n] = why
	if why != "" {
		return why, nil
	}
	// A DROP TRIGGER may be executed and not be logged yet. It holds the table's metadata lock
	// until it is logged.
	if err := schemas.AwaitDDL(ctx, n); err != nil {
		return "", err
	}
	return why, w.extend(ctx, schemas)
}

// read returns why a statement that reads a table may change any table, see source.WriteChecker.
func (w *writeChecks) read(
	ctx context.Context, n ddl.TableName, schemas source.SchemaReader,
) (string, error) {
	if why, ok := w.readWhy[n]; ok {
		return why, nil
	}
	why, err := w.source.CheckRead(ctx, n)
	if err != nil {
		return "", err
	}
	if w.isTemporary(n, why) {
		why = ""
	}
	if w.readWhy == nil {
		w.readWhy = make(map[ddl.TableName]string)
	}
	w.readWhy[n] = why
	if why != "" {
		return why, nil
	}
	return "", w.extend(ctx, schemas)
}

// isTemporary reports whether a table can only be a temporary one, which has neither triggers nor
// foreign keys. why is the result of a check.
func (w *writeChecks) isTemporary(n ddl.TableName, why string) bool {
	return w.temporary[n] && strings.HasPrefix(why, query.NoSuchTable)
}

// maxTemporary bounds writeChecks.temporary.
const maxTemporary = 10_000

// addTemporary records the temporary table that a statement creates.
func (w *writeChecks) addTemporary(s *ddl.Statement) {
	if !s.Temporary || s.Action != ddl.CreateTable || len(s.Tables) == 0 {
		return
	}
	if w.temporary == nil || len(w.temporary) >= maxTemporary {
		w.temporary = make(map[ddl.TableName]bool)
	}
	w.temporary[s.Tables[0]] = true
}

// readCascades reads graph, if it was not read.
func (w *writeChecks) readCascades(ctx context.Context, tables *tableSet) error {
	if w.graph != nil {
		return nil
	}
	graph := new(cascades)
	seen := make(map[ddl.TableName]bool)
	var names []ddl.TableName
	add := func(n ddl.TableName) {
		if !seen[n] {
			seen[n] = true
			names = append(names, n)
		}
	}
	for _, full := range tables.names() {
		add(tables.all[full].name())
	}
	for len(names) > 0 {
		found, err := w.source.Cascades(ctx, names)
		if err != nil {
			return err
		}
		names = nil
		for i := range found {
			key := storedForm(&found[i])
			graph.keys = append(graph.keys, key)
			add(parentOf(&key))
		}
	}
	w.graph = graph
	return nil
}

// extend moves until to the present end of the log.
func (w *writeChecks) extend(ctx context.Context, schemas source.SchemaReader) error {
	end, err := schemas.EndOfLog(ctx)
	if err == nil {
		w.until = end
	}
	return err
}

// foreignKeyWords occur in every statement that adds or removes foreign keys, apart from those that
// drop or rename tables.
var foreignKeyWords = regexp.MustCompile(`(?i)\b(REFERENCES|FOREIGN|CONSTRAINT)\b`)

// dropWord occurs in every ALTER TABLE that removes a foreign key.
var dropWord = regexp.MustCompile(`(?i)\bDROP\b`)

// invalidate removes the results that a statement may have changed. isLate is set if the statement
// comes before the end that the log had at a check, and may have removed a trigger, a foreign key
// or a view on which the check depends.
func (w *writeChecks) invalidate(s *ddl.Statement, sql string, at *binlog.Position) (isLate bool) {
	if s.Temporary || w.graph == nil && w.writtenWhy == nil && w.readWhy == nil {
		return false
	}
	changesKeys := foreignKeyWords.MatchString(sql)
	removes := changesKeys
	switch s.Action {
	case ddl.Other:
		if s.Object != "TRIGGER" && s.Object != "VIEW" {
			return false
		}
		removes = !s.Creates || s.OrReplace
	case ddl.CreateTable:
		removes = s.OrReplace
	case ddl.DropTable, ddl.DropDatabase, ddl.RenameTable, ddl.Unknown:
		removes, changesKeys = true, true
	case ddl.AlterTable:
		removes = changesKeys && dropWord.MatchString(sql)
		for i := range s.Changes {
			if s.Changes[i].Kind == ddl.RenameTo {
				removes, changesKeys = true, true
			}
		}
	case ddl.TruncateTable, ddl.CreateDatabase, ddl.AlterDatabase:
		return false
	}
	isLate = removes && !w.until.IsZero() && at.CompareFile(w.until) <= 0
	w.writtenWhy, w.readWhy = nil, nil
	if changesKeys || s.Action == ddl.CreateTable || s.Action == ddl.AlterTable {
		w.graph = nil // also because another table may be mapped
	}
	return isLate
}

// checkWritesAgain handles a statement that defines tables, triggers or views, with regard to the
// checks before it. All mapped tables are read again if a check may have been wrong.
func (l *loop) checkWritesAgain(s *ddl.Statement, sql string) error {
	l.writes.addTemporary(s)
	if !l.writes.invalidate(s, sql, l.stream.Position()) {
		return nil
	}
	all := make(map[string]bool)
	for _, full := range l.tables.names() {
		all[full] = true
	}
	err := l.readAllAgain(all, "a statement that was logged as its text may have changed it, "+
		"by a trigger or a foreign key that was removed since: "+shorten(sql))
	if err != nil {
		return err
	}
	l.tablesChanged()
	return nil
}
