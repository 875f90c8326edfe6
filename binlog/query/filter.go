package query

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"rowfall/binlog/mysql"
)

// BinlogFilter names the databases of binlog_do_db and binlog_ignore_db.
type BinlogFilter struct {
	// If Do is not empty, the binlog has only the changes of tables in these databases. Otherwise
	// it lacks those of tables in the databases of Ignore.
	Do, Ignore []string
	// foldsCase is set if the server compares names of databases without case.
	foldsCase bool
}

// ReadBinlogFilter returns the filter of the server's binlog. It is empty for a user who may not
// read it, whom Check rejects.
func ReadBinlogFilter(ctx context.Context, c *mysql.Conn) (BinlogFilter, error) {
	f := BinlogFilter{foldsCase: c.Server().LowerCaseNames != 0}
	r, err := c.Query(ctx, statusStatement(c.Server()))
	if mysql.IsCode(err, codeDenied) {
		return f, nil
	}
	if err != nil {
		return f, fmt.Errorf("read the filter of the binlog: %w", err)
	}
	if len(r.Rows) > 0 {
		f.Do = splitNames(r.Text(0, "Binlog_Do_DB"))
		f.Ignore = splitNames(r.Text(0, "Binlog_Ignore_DB"))
	}
	return f, nil
}

func splitNames(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// IsEmpty reports whether the binlog has the changes of every database.
func (f *BinlogFilter) IsEmpty() bool { return len(f.Do) == 0 && len(f.Ignore) == 0 }

// Excludes returns the setting that keeps the row changes of a database out of the binlog; empty if
// none does. Servers ignore binlog_ignore_db if there is a binlog_do_db.
func (f *BinlogFilter) Excludes(database string) string {
	isNamed := func(name string) bool {
		return name == database || f.foldsCase && strings.EqualFold(name, database)
	}
	switch {
	case len(f.Do) > 0 && !slices.ContainsFunc(f.Do, isNamed):
		return "binlog_do_db"
	case len(f.Do) == 0 && slices.ContainsFunc(f.Ignore, isNamed):
		return "binlog_ignore_db"
	}
	return ""
}

// warnings describes the filter of a server whose mapped databases are all in the binlog.
func (f *BinlogFilter) warnings() []Problem {
	const remedy = "a statement of DDL is missing, too, if the session's default database is " +
		"left out, even if its table is in another database; remove the setting from the " +
		"server's configuration, or run every DDL after USE with the table's database"
	var warnings []Problem
	if len(f.Do) > 0 {
		warnings = append(warnings, Problem{
			"binlog_do_db keeps all databases but " + strings.Join(f.Do, ",") +
				" out of the binlog", remedy,
		})
	}
	if len(f.Ignore) > 0 {
		warnings = append(warnings, Problem{
			"binlog_ignore_db keeps the databases " + strings.Join(f.Ignore, ",") +
				" out of the binlog", remedy,
		})
	}
	return warnings
}
