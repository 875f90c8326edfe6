package query

import (
	"context"
	"fmt"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/sqltext"
)

// ForeignKey is a foreign key of a table, with its actions on the table's rows when a row that they
// refer to is deleted or updated.
type ForeignKey struct {
	Name string
	// OnDelete and OnUpdate are CASCADE, SET NULL, SET DEFAULT, RESTRICT or NO ACTION.
	OnDelete, OnUpdate string
}

// Cascades returns the actions that change rows, in SQL ("ON DELETE CASCADE"). It is empty if no
// action does.
func (k *ForeignKey) Cascades() string {
	var actions []string
	for _, action := range []string{"ON DELETE " + k.OnDelete, "ON UPDATE " + k.OnUpdate} {
		if !strings.HasSuffix(action, " RESTRICT") && !strings.HasSuffix(action, " NO ACTION") {
			actions = append(actions, action)
		}
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
	if len(r.Rows) != 1 {
		return false, nil
	}
	value := string(r.Rows[0][1])
	return value == "OFF" || value == "0", nil
}

// ForeignKeys returns the foreign keys of a table, or none if the table does not exist.
func ForeignKeys(ctx context.Context, c *mysql.Conn, t *binlog.Table) ([]ForeignKey, error) {
	var (
		keys []ForeignKey
		err  error
	)
	if s := c.Server(); s.Flavor == mysql.MySQL && s.AtLeast(8, 0, 0) {
		keys, err = referentialConstraints(ctx, c, t)
	} else {
		keys, err = createdForeignKeys(ctx, c, t)
	}
	if err != nil {
		return nil, fmt.Errorf("read foreign keys of %s: %w", t.FullName(), err)
	}
	return keys, nil
}

func referentialConstraints(
	ctx context.Context, c *mysql.Conn, t *binlog.Table,
) ([]ForeignKey, error) {
	r, err := c.Query(ctx, `SELECT CONSTRAINT_NAME, DELETE_RULE, UPDATE_RULE`+
		` FROM information_schema.REFERENTIAL_CONSTRAINTS`+
		` WHERE CONSTRAINT_SCHEMA=`+stringLiteral(t.Database)+
		` AND TABLE_NAME=`+stringLiteral(t.Name)+
		` ORDER BY CONSTRAINT_NAME`)
	if err != nil {
		return nil, err
	}
	var keys []ForeignKey
	for _, row := range r.Rows {
		keys = append(keys, ForeignKey{
			Name: string(row[0]), OnDelete: string(row[1]), OnUpdate: string(row[2]),
		})
	}
	return keys, nil
}

// createdForeignKeys reads SHOW CREATE TABLE. MariaDB hides the constraints in information_schema
// from users that have only SELECT.
func createdForeignKeys(ctx context.Context, c *mysql.Conn, t *binlog.Table) ([]ForeignKey, error) {
	r, err := c.Query(ctx, "SHOW CREATE TABLE "+sqltext.QuoteTable(t.Database, t.Name))
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
// The text cannot be cut into words from its beginning: InnoDB prints the names in a foreign key,
// and in MariaDB without doubling their backquotes. So a line is read from both ends: it begins
// with CONSTRAINT, and the key's actions follow the last "`)".
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
		if end < 0 || !strings.Contains(definition[:end], "`) REFERENCES `") {
			return nil, unreadableConstraint(line)
		}
		key := ForeignKey{Name: name, OnDelete: "RESTRICT", OnUpdate: "RESTRICT"}
		if !key.parseActions(sqltext.Split(definition[end+len("`)"):])) {
			return nil, unreadableConstraint(line)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func unreadableConstraint(line string) error {
	const most = 200
	return fmt.Errorf("the constraint %.*q of SHOW CREATE TABLE cannot be parsed; "+
		"rename the constraint and its columns, or report the problem", most, line)
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
