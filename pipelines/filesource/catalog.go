package filesource

import (
	"rowfall/binlog/ddl"
	"rowfall/binlog/query"
)

// catalog holds the tables that statements have created.
type catalog struct {
	schemas   map[ddl.TableName]*ddl.Schema
	databases map[string]ddl.Charset
}

// Table implements ddl.Catalog.
func (c catalog) Table(n ddl.TableName) *ddl.Schema { return c.schemas[n] }

// Tables implements ddl.Catalog.
func (c catalog) Tables(database string) (names []ddl.TableName) {
	for n := range c.schemas {
		if n.Database == database {
			names = append(names, n)
		}
	}
	return names
}

// Database implements ddl.Catalog.
func (c catalog) Database(name string) (ddl.Charset, bool) {
	cs, ok := c.databases[name]
	return cs, ok
}

// apply applies a statement. A table is forgotten if the statement's effect on it is not known.
func (c catalog) apply(s *ddl.Statement) {
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
func (c catalog) trackDatabase(s *ddl.Statement) {
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
