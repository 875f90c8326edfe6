package pipelines

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"rowfall/binlog/mysql"
)

// cascades stops where a foreign key may change rows of a mapped table behind the
// binlog's back. InnoDB follows cascades below the layer that logs; only a MySQL
// that handles foreign keys above it (9.6 and later, unless it is told otherwise)
// logs the rows of the child.
func (l *loop) cascades(ctx context.Context) error {
	native, err := l.conn.Query(ctx, "SHOW GLOBAL VARIABLES LIKE 'innodb_native_foreign_keys'")
	if err != nil {
		return fmt.Errorf("ask how foreign keys are handled: %w", err)
	}
	if len(native.Rows) == 1 && slices.Contains([]string{"OFF", "0"}, string(native.Rows[0][1])) {
		return nil
	}
	for _, name := range l.tables.names() {
		t := l.tables.all[name].schema
		rule, err := l.config.Mapping.Rule(t.Database, t.Name)
		if err != nil {
			return &StopError{err}
		}
		if rule == nil || rule.IgnoreCascades {
			continue
		}
		key, actions, err := l.cascade(ctx, tableName{t.Database, t.Name})
		if err != nil {
			return err
		}
		if key != "" {
			return &StopError{l.config.Fault(rule.Path, "the foreign key %s of mapped table %s is%s, "+
				"and this server logs no rows that a cascade changes; drop the cascade, "+
				"or set `cascades: ignore` for the table if its rows may differ then", key, name, actions)}
		}
	}
	return nil
}

// foreignKey is a line of SHOW CREATE TABLE: a foreign key with what it does.
var foreignKey = regexp.MustCompile("(?m)^ *CONSTRAINT `((?:[^`]|``)+)` FOREIGN KEY .*\\)((?: ON (?:DELETE|UPDATE) (?:CASCADE|SET NULL|SET DEFAULT|NO ACTION|RESTRICT))+),?$")

// cascade returns the name of a foreign key of the table that changes rows, and
// when; or "". It is read from SHOW CREATE TABLE: a MariaDB shows the constraints
// in information_schema to nobody who may only read.
func (l *loop) cascade(ctx context.Context, n tableName) (key, actions string, err error) {
	r, err := l.conn.Query(ctx, "SHOW CREATE TABLE "+quoteName(n.database)+"."+quoteName(n.table))
	const noSuchTable = 1146
	if mysql.IsCode(err, noSuchTable) {
		return "", "", nil // the stream will tell what became of it
	}
	if err != nil {
		return "", "", fmt.Errorf("read foreign keys of %s: %w", n, err)
	}
	for _, m := range foreignKey.FindAllStringSubmatch(r.Text(0, "Create Table"), -1) {
		if strings.Contains(m[2], "CASCADE") || strings.Contains(m[2], " SET ") {
			return m[1], m[2], nil
		}
	}
	return "", "", nil
}
