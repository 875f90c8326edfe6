package pipelines

import (
	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/binlog/events"
)

// fileTables provides the tables of a run to the stream of files. A table map with full metadata
// supplies the columns of a table that no statement has shown.
type fileTables struct {
	*tableSet
	// unknown holds the tables without columns that Table has returned.
	unknown map[*binlog.Table]bool
}

var _ events.Supplier = (*fileTables)(nil)

// Table returns a table without columns for a table that the mapping matches and whose columns are
// not known. Supply replaces it.
func (f *fileTables) Table(database, name string) (*binlog.Table, error) {
	t, err := f.tableSet.Table(database, name)
	n := ddl.TableName{Database: database, Table: name}
	if err != nil || !f.tableSet.unknown[n] {
		return t, err
	}
	delete(f.tableSet.unknown, n)
	t = &binlog.Table{Database: database, Name: name}
	f.unknown[t] = true
	return t, nil
}

// Supply implements events.Supplier.
func (f *fileTables) Supply(
	t *binlog.Table, logged *binlog.LoggedTable,
) (*binlog.Table, error) {
	if !f.unknown[t] {
		return f.tableSet.Supply(t, logged)
	}
	delete(f.unknown, t)
	if logged == nil {
		return nil, errColumnsUnknown(t.FullName(), "its rows have no names of columns")
	}
	schema, err := logged.Supply(t)
	if err != nil {
		return nil, errColumnsUnknown(t.FullName(), err.Error())
	}
	m, err := f.add(ddl.FromTable(schema))
	if err != nil || m == nil {
		return nil, err
	}
	m.Job.Skipped = true // rows from before the stretch are missing
	f.supplied[m] = nil
	return m.Schema, nil
}

// errColumnsUnknown is the error for rows of a table whose columns the files do not show.
func errColumnsUnknown(table, reason string) error {
	return stop("the columns of table %s are not known (%s): the files contain neither its CREATE "+
		"TABLE nor full metadata (binlog_row_metadata=FULL); add --schema dump.sql, which has the "+
		"tables as they were at --from (mysqldump --no-data --databases), or begin with earlier "+
		"files; empty the directory of the node before the next attempt", table, reason)
}
