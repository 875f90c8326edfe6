package pipelines_test

import (
	"errors"
	"testing"

	"rowfall/internal/servers/servertest"
)

// MariaDB does not log rows that a cascade changes. A mapped child table stops the pipeline,
// unless its entry says `cascades: ignore`.
func testCascades(t *testing.T, d *database) {
	d.exec(
		"CREATE TABLE p (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE c (id INT PRIMARY KEY, v INT, CONSTRAINT `u``p` FOREIGN KEY (v) "+
			"REFERENCES p (id) ON DELETE SET NULL)",
		"CREATE TABLE plain (id INT PRIMARY KEY, v INT, FOREIGN KEY (v) REFERENCES p (id))",
		"INSERT INTO p VALUES (1, 1)",
		"CREATE USER IF NOT EXISTS reader",
		"GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO reader",
	)
	m := newMemory()
	// A user who may do no more than read is told of foreign keys too, also where the server
	// leaves out the quotes, and whatever the key is called.
	d.exec("SET GLOBAL sql_quote_show_create=OFF")
	defer d.exec("SET GLOBAL sql_quote_show_create=ON")
	start(
		t, d.config("user: rowfall", "user: reader"), m, "",
	).mustStop("the foreign key u`p of mapped table "+d.name+".c is ON DELETE SET NULL",
		"drop the cascade", "cascades: ignore")
	if n := len(m.Units(0)); n > 0 {
		t.Errorf("%d units were written before the stop", n)
	}
	ignoring := d.config(`.*": {}`, `.*": {cascades: ignore}`)
	r := start(t, ignoring, m, "")
	m.waitAt(t, d.end())
	r.kill()
	d.exec("ALTER TABLE c DROP FOREIGN KEY `u``p`")
	// What is ignored is no part of what the data was built with.
	r = start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	d.exec("ALTER TABLE c ADD CONSTRAINT again FOREIGN KEY (v) REFERENCES p (id) ON UPDATE CASCADE")
	r.mustStop("the foreign key again of mapped table", "ON UPDATE CASCADE")
	// A table that is created while the pipeline runs is checked as well.
	d.exec("ALTER TABLE c DROP FOREIGN KEY again")
	r = start(t, d.config(), m, "")
	m.waitAt(t, d.end())
	d.exec("CREATE TABLE n (id INT PRIMARY KEY, v INT, CONSTRAINT new FOREIGN KEY (v) " +
		"REFERENCES p (id) ON DELETE CASCADE)")
	r.mustStop("the foreign key new of mapped table", "ON DELETE CASCADE")
}

// This MySQL logs the rows that cascades change.
func testCascadesLogged(t *testing.T, d *database) {
	d.exec(
		"CREATE TABLE p (id INT PRIMARY KEY, v INT)",
		"CREATE TABLE c (id INT PRIMARY KEY, v INT, FOREIGN KEY (v) REFERENCES p (id) "+
			"ON DELETE CASCADE)",
		"INSERT INTO p VALUES (1, 1), (2, 2)", "INSERT INTO c VALUES (10, 1), (20, 2)",
	)
	m := newMemory()
	r := start(t, d.config(), m, "")
	native, err := d.conn.Query(t.Context(), "SHOW VARIABLES LIKE 'innodb_native_foreign_keys'")
	if err != nil {
		t.Fatal(err)
	}
	if len(native.Rows) == 0 || string(native.Rows[0][1]) == "ON" {
		servertest.SkipOrFail(t, errors.New("this MySQL does not log what cascades change"))
	}
	m.waitAt(t, d.end())
	d.exec("DELETE FROM p WHERE id = 1")
	m.waitAt(t, d.end())
	if r.over() {
		t.Errorf("ended with %v", r.err)
	}
	mustBeEqual(t, m.rows("c"), d.rows("c"))
}
