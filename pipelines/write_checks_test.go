package pipelines

import (
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
)

// Only a statement that may have removed something on which an earlier check depends makes the
// check doubtful. Every statement that defines something of the kind makes the next check new.
func TestLateStatements(t *testing.T) {
	end := binlog.Position{File: "log.000001", Offset: 500}
	for sql, want := range map[string]bool{
		"CREATE VIEW v AS SELECT 1":                                             false,
		"CREATE DEFINER=`a`@`b` SQL SECURITY DEFINER VIEW v AS SELECT 1":        false,
		"CREATE TRIGGER x AFTER INSERT ON t FOR EACH ROW SET @a = 1":            false,
		"CREATE TABLE u (id INT, FOREIGN KEY (id) REFERENCES t (id))":           false,
		"ALTER TABLE u ADD FOREIGN KEY (id) REFERENCES t (id)":                  false,
		"CREATE OR REPLACE VIEW v AS SELECT 1":                                  true,
		"CREATE OR REPLACE TRIGGER x AFTER INSERT ON t FOR EACH ROW SET @a = 1": true,
		"CREATE OR REPLACE ALGORITHM=UNDEFINED VIEW v AS SELECT 1":              true,
		"ALTER VIEW v AS SELECT 1":                                              true,
		"DROP VIEW v":                                                           true,
		"DROP TRIGGER x":                                                        true,
		"ALTER TABLE u DROP FOREIGN KEY k":                                      true,
		"ALTER TABLE u DROP CONSTRAINT k":                                       true,
		"CREATE OR REPLACE TABLE u (id INT)":                                    true,
		"RENAME TABLE u TO w":                                                   true,
	} {
		s := ddl.Parse(sql, ddl.Options{Database: "shop", MariaDB: true})
		w := writeChecks{writtenWhy: map[ddl.TableName]string{}, until: end}
		at := binlog.Position{File: "log.000001", Offset: 400}
		if got := w.invalidate(s, sql, &at); got != want {
			t.Errorf("%s: all tables are read again: %v, want %v", sql, got, want)
		}
		if w.writtenWhy != nil {
			t.Errorf("%s: the checks are kept", sql)
		}
	}
}
