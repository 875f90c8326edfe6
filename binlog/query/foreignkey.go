package query

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"rowfall/binlog/mysql"
	"rowfall/binlog/sqltext"
)

// ForeignKey is a foreign key of a table, with its actions on the table's rows when a row that they
// refer to is deleted or updated.
type ForeignKey struct {
	Name string
	// Columns of the table refer to the columns Referenced of the parent, in the same order.
	Columns []string
	// ParentDatabase and ParentTable are the table that the foreign key refers to.
	ParentDatabase, ParentTable string
	Referenced                  []string
	// OnDelete and OnUpdate are CASCADE, SET NULL, SET DEFAULT, RESTRICT or NO ACTION.
	OnDelete, OnUpdate string
}

// ChangesRows reports whether an action changes rows of the table: it is not RESTRICT or NO ACTION.
func ChangesRows(action string) bool { return action != "RESTRICT" && action != "NO ACTION" }

// Cascades returns the actions that change rows, in SQL ("ON DELETE CASCADE"). It is empty if no
// action does.
func (k *ForeignKey) Cascades() string {
	var actions []string
	if ChangesRows(k.OnDelete) {
		actions = append(actions, "ON DELETE "+k.OnDelete)
	}
	if ChangesRows(k.OnUpdate) {
		actions = append(actions, "ON UPDATE "+k.OnUpdate)
	}
	return strings.Join(actions, " ")
}

// LogsCascades reports whether the server logs the rows that a foreign key's cascade changes.
// InnoDB executes cascades below the layer that logs. MySQL 9.6 and later execute them above that
// layer, unless innodb_native_foreign_keys is ON.
func LogsCascades(ctx context.Context, c *mysql.Conn) (bool, error) {
	r, err := c.Query(ctx, "SHOW GLOBAL VARIABLES LIKE 'innodb_native_foreign_keys'")
	if err != nil {
		return false, fmt.Errorf("read how foreign keys are handled: %w", err)
	}
	return logsCascades(r.Rows), nil
}

// logsCascades reports whether cascades are logged, from the row of innodb_native_foreign_keys; a
// server before MySQL 9.6 has no such row.
func logsCascades(rows [][][]byte) bool {
	if len(rows) != 1 || len(rows[0]) < 2 {
		return false
	}
	value := string(rows[0][1])
	return value == "OFF" || value == "0"
}

// ForeignKeys returns the foreign keys of a table, or none if the table does not exist.
func ForeignKeys(
	ctx context.Context, c *mysql.Conn, database, table string,
) (keys []ForeignKey, err error) {
	if s := c.Server(); s.Flavor == mysql.MySQL && s.AtLeast(8, 0, 0) {
		keys, err = referentialConstraints(ctx, c, database, table)
	} else {
		keys, err = createdForeignKeys(ctx, c, database, table)
	}
	if err != nil {
		return nil, fmt.Errorf("read foreign keys of %s.%s: %w", database, table, err)
	}
	for i := range keys {
		if keys[i].ParentDatabase == "" {
			keys[i].ParentDatabase = database
		}
	}
	return keys, nil
}

// CheckSelectable returns an error if the user may not read a table. information_schema shows
// nothing of such a table, as if it had no foreign keys. A table that does not exist is no error.
func CheckSelectable(ctx context.Context, c *mysql.Conn, database, table string) error {
	_, err := c.Query(ctx, "SELECT 1 FROM "+sqltext.QuoteTable(database, table)+" LIMIT 0")
	if err == nil || IsNoTable(err) {
		return nil
	}
	return fmt.Errorf("read from %s.%s: %w", database, table, err)
}

func referentialConstraints(
	ctx context.Context, c *mysql.Conn, database, table string,
) ([]ForeignKey, error) {
	r, err := c.Query(ctx, `SELECT r.CONSTRAINT_NAME, r.DELETE_RULE, r.UPDATE_RULE,`+
		` k.REFERENCED_TABLE_SCHEMA, k.REFERENCED_TABLE_NAME, k.COLUMN_NAME,`+
		` k.REFERENCED_COLUMN_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS r`+
		` JOIN information_schema.KEY_COLUMN_USAGE k`+
		` ON k.CONSTRAINT_SCHEMA=r.CONSTRAINT_SCHEMA AND k.TABLE_NAME=r.TABLE_NAME`+
		` AND k.CONSTRAINT_NAME=r.CONSTRAINT_NAME AND k.REFERENCED_TABLE_NAME IS NOT NULL`+
		` WHERE r.CONSTRAINT_SCHEMA=`+stringLiteral(database)+
		` AND r.TABLE_NAME=`+stringLiteral(table)+
		` ORDER BY r.CONSTRAINT_NAME, k.ORDINAL_POSITION`)
	if err != nil {
		return nil, err
	}
	var keys []ForeignKey
	for _, row := range r.Rows {
		name := string(row[0])
		if n := len(keys); n == 0 || keys[n-1].Name != name {
			keys = append(keys, ForeignKey{
				Name: name, OnDelete: string(row[1]), OnUpdate: string(row[2]),
				ParentDatabase: string(row[3]), ParentTable: string(row[4]),
			})
		}
		k := &keys[len(keys)-1]
		k.Columns = append(k.Columns, string(row[5]))
		k.Referenced = append(k.Referenced, string(row[6]))
	}
	return keys, nil
}

// createdForeignKeys reads SHOW CREATE TABLE. MariaDB hides the constraints in information_schema
// from users that have only SELECT.
func createdForeignKeys(
	ctx context.Context, c *mysql.Conn, database, table string,
) ([]ForeignKey, error) {
	r, err := c.Query(ctx, "SHOW CREATE TABLE "+sqltext.QuoteTable(database, table))
	if IsNoTable(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(r.Rows) != 1 {
		return nil, fmt.Errorf("SHOW CREATE TABLE answered %d rows", len(r.Rows))
	}
	return parseForeignKeys(r.Text(0, "Create Table"))
}

// parseForeignKeys reads the foreign keys from the result of SHOW CREATE TABLE, which has a line
// for each column, key and constraint. A constraint in an unknown form is an error.
//
// The text cannot be cut into words from its beginning: MariaDB before 11.8 does not double the
// backquotes in the names of a constraint and its columns. So a line is read from both ends: it
// begins with CONSTRAINT, and the key's actions follow the last "`)".
func parseForeignKeys(create string) ([]ForeignKey, error) {
	var keys []ForeignKey
	for line := range strings.Lines(create) {
		line = strings.Trim(line, " \r\n")
		// The lines of columns and keys begin otherwise.
		rest, found := strings.CutPrefix(line, "CONSTRAINT `")
		if !found {
			continue
		}
		name, definition, found := strings.Cut(rest, "` FOREIGN KEY (`")
		if !found {
			if strings.Contains(rest, "` CHECK (") {
				continue
			}
			return nil, unreadableConstraint(line)
		}
		end := strings.LastIndex(definition, "`)")
		if end < 0 {
			return nil, unreadableConstraint(line)
		}
		key := ForeignKey{Name: name, OnDelete: "RESTRICT", OnUpdate: "RESTRICT"}
		if !key.parseTarget(definition[:end]) ||
			!key.parseActions(sqltext.Split(definition[end+len("`)"):])) {
			return nil, unreadableConstraint(line)
		}
		key.unquote()
		keys = append(keys, key)
	}
	return keys, nil
}

// unquote undoes the doubling of backquotes. Every server doubles them in the names of tables. In
// the other names, a backquote that is not doubled shows a server that doubles none.
func (k *ForeignKey) unquote() {
	single := func(name string) string { return strings.ReplaceAll(name, "``", "`") }
	k.ParentDatabase, k.ParentTable = single(k.ParentDatabase), single(k.ParentTable)
	names := append([]string{k.Name}, append(slices.Clone(k.Columns), k.Referenced...)...)
	for _, name := range names {
		if strings.Contains(strings.ReplaceAll(name, "``", ""), "`") {
			return
		}
	}
	k.Name = single(k.Name)
	for i := range k.Columns {
		k.Columns[i] = single(k.Columns[i])
	}
	for i := range k.Referenced {
		k.Referenced[i] = single(k.Referenced[i])
	}
}

func unreadableConstraint(line string) error {
	const most = 200
	return fmt.Errorf("the constraint %.*q of SHOW CREATE TABLE cannot be parsed; "+
		"rename the constraint and its columns, or report the problem", most, line)
}

// parseTarget reads columns, parent and referenced columns: a`, `b`) REFERENCES `p` (`x`, `y. It
// reports whether the text has this form.
func (k *ForeignKey) parseTarget(text string) bool {
	columns, parent, found := strings.Cut(text, "`) REFERENCES `")
	if !found {
		return false
	}
	parent, referenced, found := strings.Cut(parent, "` (`")
	if !found {
		return false
	}
	k.Columns, k.Referenced = strings.Split(columns, "`, `"), strings.Split(referenced, "`, `")
	k.ParentTable = parent
	if database, table, found := strings.Cut(parent, "`.`"); found {
		k.ParentDatabase, k.ParentTable = database, table
	}
	return true
}

// parseActions reads ON DELETE and ON UPDATE with their actions, and the comma before the next
// line. It reports whether nothing else was there.
func (k *ForeignKey) parseActions(words []sqltext.Word) bool {
	accept := func(keywords ...string) bool {
		if len(words) < len(keywords) {
			return false
		}
		for i, keyword := range keywords {
			if !words[i].Is(keyword) {
				return false
			}
		}
		words = words[len(keywords):]
		return true
	}
	for {
		var action *string
		switch {
		case accept("ON", "DELETE"):
			action = &k.OnDelete
		case accept("ON", "UPDATE"):
			action = &k.OnUpdate
		default:
			accept(",")
			return len(words) == 0
		}
		switch {
		case accept("CASCADE"):
			*action = "CASCADE"
		case accept("SET", "NULL"):
			*action = "SET NULL"
		case accept("SET", "DEFAULT"):
			*action = "SET DEFAULT"
		case accept("NO", "ACTION"):
			*action = "NO ACTION"
		case accept("RESTRICT"):
		default:
			return false
		}
	}
}

// IsNoTable reports whether err is a server's error for a table, or its database, that does not
// exist. No other error proves that: a table whose SELECT was revoked still exists, and a query
// that was killed proves nothing.
func IsNoTable(err error) bool {
	return mysql.IsCode(err, mysql.CodeNoSuchTable) || mysql.IsCode(err, mysql.CodeBadDatabase)
}
