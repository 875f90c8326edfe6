package pipelines

import (
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
)

// catalog adapts a tableSet to ddl.Catalog: the definitions of the tables that the mapping
// matches, mapped or not.
type catalog struct {
	set *tableSet
	// action is the action of the statement that package ddl applies.
	action ddl.Action
}

// Table returns nil for a table whose definition is not known.
func (c catalog) Table(n ddl.TableName) *ddl.Schema {
	full := n.String()
	if t := c.set.all[full]; t != nil && t.Database == n.Database {
		if t.Job.NeedsSchema || t.isTentative() && changesDefinition(c.action) {
			return nil
		}
		return t.definition
	}
	return c.set.definitions[full]
}

// Tables returns the tables of a database, also those whose definitions are not known.
func (c catalog) Tables(database string) []ddl.TableName {
	var names []ddl.TableName
	for _, full := range c.set.names() {
		if t := c.set.all[full]; strings.EqualFold(t.Database, database) {
			names = append(names, t.name())
		}
	}
	for _, d := range c.set.definitions {
		if strings.EqualFold(d.Database, database) {
			names = append(names, d.TableName())
		}
	}
	for full := range c.set.unmapped { // also those without a definition, such as views
		end := len(database)
		if c.set.definitions[full] == nil && len(full) > end && full[end] == '.' &&
			strings.EqualFold(full[:end], database) {
			names = append(names, ddl.TableName{Database: full[:end], Table: full[end+1:]})
		}
	}
	return names
}

// Database returns the default character set of a database, and false if it is not known.
func (c catalog) Database(name string) (ddl.Charset, bool) {
	cs, ok := c.set.databases[name]
	return cs, ok
}

// ddlOptions returns the server and the session in which a statement was executed.
func (l *loop) ddlOptions(ev *binlog.Event) ddl.Options {
	return l.schemas.Dialect().InSession(ev)
}
