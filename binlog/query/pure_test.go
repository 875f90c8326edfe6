package query

import (
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/sqltext"
)

func TestParseColumnType(t *testing.T) {
	for s, want := range map[string]columnType{
		"int":                             {base: "int"},
		"int(10) unsigned":                {base: "int", args: []int{10}, unsigned: true},
		"decimal(10,2) unsigned zerofill": {base: "decimal", args: []int{10, 2}, unsigned: true},
		"tinyint(3) zerofill":             {base: "tinyint", args: []int{3}, unsigned: true},
		"enum('it''s','b\\\\s','n\\nl','z\\0z','c,d)','','ü')": {
			base:   "enum",
			values: []string{"it's", "b\\s", "n\nl", "z\x00z", "c,d)", "", "ü"},
		},
		"set('x','y''z')":                      {base: "set", values: []string{"x", "y'z"}},
		"varchar(100) /*M!100301 COMPRESSED*/": {base: "varchar", args: []int{100}},
		"timestamp /* mariadb-5.3 unsigned */": {base: "timestamp"},
		"datetime(6)":                          {base: "datetime", args: []int{6}},
		"vector(3)":                            {base: "vector", args: []int{3}},
		"DOUBLE UNSIGNED":                      {base: "double", unsigned: true},
	} {
		got, err := parseColumnType(s)
		if err != nil || got.base != want.base || got.unsigned != want.unsigned ||
			!slices.Equal(got.args, want.args) ||
			!slices.Equal(got.values, want.values) {
			t.Errorf("%s is %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "(1)", "int(", "int()", "int(x)", "int(99999999999)", "enum('a",
		"enum('a'", "enum('a'b)", "enum('a\\", "decimal(1,", "int(-1)",
	} {
		if got, err := parseColumnType(s); err == nil {
			t.Errorf("%q is %+v", s, got)
		}
	}
}

func FuzzColumnType(f *testing.F) {
	for _, s := range []string{
		"int(10) unsigned", "enum('it''s','b\\\\s','n\\nl')",
		"decimal(10,2)", "varchar(3) /*x*/", "enum('",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseColumnType(s)
		if err != nil {
			return
		}
		size := len(c.base) + 2*len(c.args)
		for _, v := range c.values {
			size += len(v) + 2
		}
		if size > len(s)+2 {
			t.Errorf("%q gives %+v", s, c)
		}
		var col binlog.Column
		_ = setType(&col, s, "utf8mb4")
	})
}

// Labels in a server's quotes are read back unchanged.
func FuzzMembers(f *testing.F) {
	f.Add("it's", "b\\s\n\x00")
	f.Fuzz(func(t *testing.T, a, b string) {
		quote := strings.NewReplacer("'", "''", "\\", "\\\\", "\n", "\\n", "\r", "\\r", "\x00",
			"\\0")
		c, err := parseColumnType("set('" + quote.Replace(a) + "','" + quote.Replace(b) + "')")
		if err != nil || !slices.Equal(c.values, []string{a, b}) {
			t.Errorf("%q, %q come back as %q, %v", a, b, c.values, err)
		}
	})
}

// A grant is read correctly whatever the names of databases and tables are. The name of a database
// could once imitate a grant of SELECT on everything.
func FuzzGrant(f *testing.F) {
	f.Add("shop", "users")
	f.Add("it`s", "a`.`b")
	f.Add(", SELECT ON *.* TO ", "x\ny")
	f.Add("a, REPLICATION SLAVE ON *.* TO ", "b")
	f.Fuzz(func(t *testing.T, database, table string) {
		if database == "" || table == "" {
			return
		}
		on := sqltext.QuoteName(database) + "." + sqltext.QuoteName(table)
		for _, rights := range []string{
			"SELECT", "INSERT (`a`, `b``c`), SELECT, UPDATE",
			"ALL PRIVILEGES",
		} {
			g, ok := parseGrant("GRANT " + rights + " ON " + on + " TO `u`@`%`")
			if database == "*" || table == "*" {
				if ok {
					t.Errorf("a name is taken for a wildcard: %+v", g)
				}
				continue
			}
			if !ok || g.database != database || g.table != table || g.revoked || !g.has("SELECT") {
				t.Errorf("%s on %s is read as %+v", rights, on, g)
			}
		}
		for _, line := range []string{
			"GRANT INSERT, SELECT (`a`) ON " + on + " TO `u`@`%`",
			"GRANT SELECT (" + sqltext.QuoteName(database) + ", " +
				sqltext.QuoteName(table) + ") ON *.* TO `u`@`%`",
			"GRANT " + sqltext.QuoteName(database) + "@" + sqltext.QuoteName(table) + " TO `u`@`%`",
		} {
			if g, ok := parseGrant(line); ok && (g.has("SELECT") || mayFollow(g)) {
				t.Errorf("%s is read as %+v", line, g)
			}
		}
		like(database, table)
	})
}

// MySQL 9.6 and later log cascades, unless innodb_native_foreign_keys is ON. Servers without that
// variable do not.
func TestLogsCascades(t *testing.T) {
	name := []byte("innodb_native_foreign_keys")
	for value, want := range map[string]bool{"ON": false, "1": false, "OFF": true, "0": true} {
		if got := logsCascades([][][]byte{{name, []byte(value)}}); got != want {
			t.Errorf("with %s cascades are logged: %v, want %v", value, got, want)
		}
	}
	if logsCascades(nil) {
		t.Error("a server without the variable logs cascades")
	}
}

// A foreign key is found whatever its name is. A name with a backquote once hid it.
func TestParseForeignKeys(t *testing.T) {
	// As a MySQL prints it, and as MariaDB 10.11, which does not double the backquotes of columns
	// and constraints in line 7, and MariaDB 11.8, which doubles them in line 8.
	create := "CREATE TABLE `ch` (\n  `id` int NOT NULL COMMENT 'CONSTRAINT `c` FOREIGN KEY " +
		"(`a`) REFERENCES `b` (`c`) ON DELETE CASCADE',\n" +
		"  `v` int DEFAULT NULL,\n  PRIMARY KEY (`id`),\n  KEY `CONSTRAINT ``x` (`v`),\n" +
		"  CONSTRAINT `plain` FOREIGN KEY (`v`) REFERENCES `p` (`id`),\n" +
		"  CONSTRAINT `my`fk` FOREIGN KEY (`v`, `w`x`) REFERENCES `o``th`.`p` (`id`, " +
		"`id`2`) ON DELETE CASCADE ON UPDATE SET NULL,\n" +
		"  CONSTRAINT `new``fk` FOREIGN KEY (`v`, `w``x`) REFERENCES `o``th`.`p` (`id`, " +
		"`id``2`) ON DELETE SET NULL,\n" +
		"  CONSTRAINT `x ON DELETE CASCADE` FOREIGN KEY (`id`) REFERENCES `p` (`id`) ON DELETE " +
		"NO ACTION ON UPDATE CASCADE,\n" +
		"  CONSTRAINT `def` FOREIGN KEY (`id`) REFERENCES `p` (`ON DELETE CASCADE`) ON UPDATE " +
		"SET DEFAULT,\n" +
		"  CONSTRAINT `ch` CHECK (`v` > 0)\n) ENGINE=InnoDB COMMENT='it''s \\\\ \"a\", " +
		"CONSTRAINT `x` FOREIGN KEY'"
	keys, err := parseForeignKeys(create)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"plain: ",
		"my`fk: ON DELETE CASCADE ON UPDATE SET NULL",
		"new`fk: ON DELETE SET NULL",
		"x ON DELETE CASCADE: ON UPDATE CASCADE",
		"def: ON UPDATE SET DEFAULT",
	}
	got := make([]string, 0, len(keys))
	for _, k := range keys {
		got = append(got, k.Name+": "+k.Cascades())
	}
	if !slices.Equal(got, want) {
		t.Errorf("foreign keys are %q, want %q", got, want)
	}
	for _, k := range keys[1:3] {
		if !slices.Equal(k.Columns, []string{"v", "w`x"}) ||
			!slices.Equal(k.Referenced, []string{"id", "id`2"}) ||
			k.ParentDatabase != "o`th" || k.ParentTable != "p" {
			t.Errorf("the foreign key %s is %+v", k.Name, k)
		}
	}
	if k := keys[0]; k.ParentDatabase != "" || k.ParentTable != "p" {
		t.Errorf("the first foreign key is %+v", k)
	}
	for _, line := range []string{
		"CONSTRAINT `a", // a name with a line break
		"CONSTRAINT `a` FOREIGN KEY (`v",
		"CONSTRAINT `a` FOREIGN KEY (`v`) REFERENCES `p",
		"CONSTRAINT `a` FOREIGN KEY (`v`) REFERENCES `p` (`id`) ON DELETE",
		"CONSTRAINT `a` FOREIGN KEY (`v`) REFERENCES `p` (`id`) ON DELETE EXPLODE,",
		"CONSTRAINT `a` FOREIGN KEY (`v`) REFERENCES `p` (`id`) MATCH FULL,",
	} {
		create := "CREATE TABLE `t` (\n  " + line + "\n) ENGINE=InnoDB"
		if keys, err := parseForeignKeys(create); err == nil ||
			!strings.Contains(err.Error(), "cannot be parsed") {
			t.Errorf("%s is read as %+v, %v", line, keys, err)
		}
	}
}

func TestUnknownMembers(t *testing.T) {
	for charset, ok := range map[string]bool{"utf8mb4": false, "utf8mb3": true, "latin1": true} {
		var c binlog.Column
		if err := setType(&c, "enum('a','?')", charset); (err == nil) != ok {
			t.Errorf("%s: %v", charset, err)
		}
	}
	var c binlog.Column
	if err := setType(&c, "xmltype", ""); err == nil ||
		!strings.Contains(err.Error(), "xmltype is not supported") {
		t.Errorf("unknown type: %v", err)
	}
}

func TestKeyAfter(t *testing.T) {
	if got := keyAfter([]string{"a"}, []string{"1"}); got != "a > 1" {
		t.Error(got)
	}
	want := "a >= 1 AND (a > 1 OR (a = 1 AND (b > 2 OR (b = 2 AND (c > 3)))))"
	got := keyAfter([]string{"a", "b", "c"}, []string{"1", "2", "3"})
	if strip(got) != strip(want) {
		t.Error(got)
	}
	want = "a <= 1 AND (a < 1 OR (a = 1 AND (b <= 2)))"
	if got := keyUntil([]string{"a", "b"}, []string{"1", "2"}); strip(got) != strip(want) {
		t.Error(got)
	}
}

func strip(s string) string { return strings.NewReplacer("(", "", ")", "").Replace(s) }

func TestKeyLiteral(t *testing.T) {
	col := func(kind binlog.Type) *binlog.Column {
		return &binlog.Column{Type: kind, Charset: "latin1", SQLType: "that"}
	}
	for _, c := range []struct {
		kind     binlog.Type
		in, want string
	}{
		{binlog.TypeBigInt, "-9223372036854775808", "-9223372036854775808"},
		{binlog.TypeBigInt, "1 OR 1", ""},
		{binlog.TypeBigInt, "", ""},
		{binlog.TypeDecimal, "-1.10", "-1.10"},
		{binlog.TypeDatetime, "2024-01-02 03:04:05.678", "'2024-01-02 03:04:05.678'"},
		{binlog.TypeDatetime, "2024' OR 1", ""},
		{binlog.TypeTime, "-838:59:59", "'-838:59:59'"},
		{binlog.TypeVarchar, "it's", "_latin1 X'69742773'"},
		{binlog.TypeVarchar, "", "_latin1 X''"},
		{binlog.TypeVarbinary, "\x00'", "_binary X'0027'"},
		{
			binlog.TypeUUID, "123e4567-e89b-12d3-a456-426655440000",
			"'123e4567-e89b-12d3-a456-426655440000'",
		},
		{binlog.TypeInet6, "::ffff:1.2.3.4", "'::ffff:1.2.3.4'"},
		{binlog.TypeDouble, "1.5", "1.5e0"},
		{binlog.TypeFloat, "-1.5e-7", "-1.5e-7"},
		{binlog.TypeDouble, "1 OR 1", ""},
		{binlog.TypeGeometry, "x", ""},
	} {
		got, err := keyLiteral(col(c.kind), []byte(c.in))
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%v %q is %s, %v", c.kind, c.in, got, err)
		}
	}
	if _, err := keyLiteral(&binlog.Column{Type: binlog.TypeChar, Charset: "x' OR"},
		[]byte("a")); err == nil {
		t.Error("any charset is taken")
	}
}

func TestSelectChunkRefuses(t *testing.T) {
	good := &binlog.Table{
		Database: "d",
		Name:     "t`x",
		Columns:  []binlog.Column{{Name: "a`b", Type: binlog.TypeInt}},
		Primary:  []int{0},
	}
	loose := &binlog.Table{
		Database: "d",
		Name:     "t",
		Columns: []binlog.Column{
			{Name: "n", Type: binlog.TypeInt, Nullable: true},
			{Name: "j", Type: binlog.TypeJSON, SQLType: "json"},
			{Name: "v", Type: binlog.TypeVarchar, Length: 256, SQLType: "varchar(256)"},
		},
	}
	for want, ch := range map[string]ChunkRequest{
		"may be NULL":          {Table: loose, Limit: 1, Key: []int{0}},
		"a json cannot be par": {Table: loose, Limit: 1, Key: []int{1}},
		"too long":             {Table: loose, Limit: 1, Key: []int{2}},
		"no key":               {Table: &binlog.Table{Database: "d", Name: "t"}, Limit: 1},
		"chunk limit 0":        {Table: good},
		"key of 2 columns":     {Table: good, Limit: 1, After: [][]byte{{'1'}, {'2'}}},
		"is not one of the ty": {Table: good, Limit: 1, After: [][]byte{[]byte("x")}},
	} {
		if sql, _, err := selectChunk(ch); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %q, %v", want, sql, err)
		}
	}
	sql, _, err := selectChunk(ChunkRequest{Table: good, Limit: 7, After: [][]byte{[]byte("5")}})
	if want := "SELECT r.`a``b` FROM `d`.`t``x` AS r FORCE INDEX (PRIMARY) WHERE " +
		"r.`a``b` > 5 ORDER BY r.`a``b` LIMIT 7"; err != nil ||
		sql != want {
		t.Errorf("%s, %v", sql, err)
	}
	// A bound of the first columns stands for all rows that begin with them.
	two := &binlog.Table{
		Database: "d", Name: "t", Primary: []int{0, 1},
		Columns: []binlog.Column{
			{Name: "a", Type: binlog.TypeInt}, {Name: "b", Type: binlog.TypeInt},
		},
	}
	sql, _, err = selectChunk(ChunkRequest{
		Table: two, Limit: 7, After: [][]byte{[]byte("5")}, Until: [][]byte{[]byte("9")},
	})
	if want := "WHERE r.`a` > 5 AND r.`a` <= 9 ORDER BY r.`a`, r.`b` LIMIT 7"; err != nil ||
		!strings.HasSuffix(sql, want) {
		t.Errorf("%s, %v", sql, err)
	}
}

// A key column is selected once more only if the literal of its value needs another form.
func TestSelectChunkFindsKey(t *testing.T) {
	table := &binlog.Table{
		Database: "d", Name: "t", Primary: []int{2, 1, 0},
		Columns: []binlog.Column{
			{Name: "a", Type: binlog.TypeEnum, Values: []string{"x"}},
			{Name: "b", Type: binlog.TypeInt},
			{Name: "c", Type: binlog.TypeVarchar, Length: 9, Charset: "utf8mb4"},
			{Name: "d", Type: binlog.TypeInt},
		},
	}
	sql, cells, err := selectChunk(ChunkRequest{Table: table, Limit: 7})
	want := "SELECT r.`a`, r.`b`, r.`c`, r.`d`, CAST(r.`c` AS BINARY), CAST(r.`a` AS UNSIGNED) FROM "
	if err != nil || !strings.HasPrefix(sql, want) || !slices.Equal(cells, []int{4, 1, 5}) {
		t.Errorf("%s; the key is in cells %v; %v", sql, cells, err)
	}
}

func TestSettings(t *testing.T) {
	good := mysql.Server{
		LogBin: true, RowFormat: "ROW", RowImage: "FULL",
		RowMetadata: "NO_LOG", ServerID: 1,
	}
	if p := checkSettings(good); len(p) != 0 {
		t.Errorf("a good server has %v", p)
	}
	for want, change := range map[string]func(*mysql.Server){
		"log_bin":        func(s *mysql.Server) { s.LogBin = false },
		"server_id is 0": func(s *mysql.Server) { s.ServerID = 0 },
	} {
		s := good
		change(&s)
		if p := checkSettings(s); len(p) != 1 || !strings.Contains(p[0].String(), want) {
			t.Errorf("%s: %v", want, p)
		}
	}
}

// Settings that sessions can override are warnings, if they make changes that cannot be applied.
func TestFormatWarnings(t *testing.T) {
	for want, s := range map[string]mysql.Server{
		"":             {RowFormat: "ROW", RowImage: "FULL", PartialJSON: true},
		" ":            {RowFormat: "ROW", RowImage: "FULL_NODUP"},
		"is STATEMENT": {RowFormat: "STATEMENT", RowImage: "FULL"},
		"is MIXED":     {RowFormat: "MIXED"},
		"is NOBLOB":    {RowFormat: "ROW", RowImage: "NOBLOB"},
		"PARTIAL_JSON": {RowFormat: "ROW", RowImage: "MINIMAL", PartialJSON: true},
	} {
		got := FormatWarnings(s)
		if p := checkSettings(s); len(p) != 2 { // log_bin and server_id
			t.Errorf("%+v has the problems %v", s, p)
		}
		if strings.TrimSpace(want) == "" && len(got) > 0 ||
			strings.TrimSpace(want) != "" && (len(got) != 1 ||
				!strings.Contains(got[0].String(), want)) {
			t.Errorf("the warnings of %q are %v", want, got)
		}
	}
}

func TestReplicationSlaveGrant(t *testing.T) {
	for s, want := range map[string]bool{
		"GRANT ALL PRIVILEGES ON *.* TO `root`@`%`":                              true,
		"GRANT SELECT, REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `low`@`%`":    true,
		"GRANT REPLICATION SLAVE ON *.* TO `low`@`%` IDENTIFIED BY PASSWORD 'x'": true,
		"GRANT REPLICATION SLAVE ADMIN ON *.* TO `low`@`%`":                      false,
		"GRANT SELECT, REPLICATION SLAVE ADMIN, INSERT ON *.* TO `low`@`%`":      false,
		"GRANT ALL PRIVILEGES ON `shop`.* TO `low`@`%`":                          false,
		"REVOKE REPLICATION SLAVE ON *.* FROM `low`@`%`":                         false,
		"GRANT `REPLICATION SLAVE`@`%` TO `low`@`%`":                             false,
		"GRANT EXECUTE ON PROCEDURE `shop`.`p` TO `low`@`%`":                     false,
		"GRANT PROXY ON ''@'%' TO 'root'@'localhost' WITH GRANT OPTION":          false,
	} {
		if g, ok := parseGrant(s); (ok && mayFollow(g)) != want {
			t.Errorf("%s: %+v", s, g)
		}
	}
}

func TestReadable(t *testing.T) {
	for _, test := range []struct {
		grants  string // lines of SHOW GRANTS
		pattern string
		want    bool
	}{
		{"GRANT SELECT, REPLICATION SLAVE ON *.* TO `low`@`%`", "*.*", true},
		{"GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION", "shop.*", true},
		{"GRANT USAGE ON *.* TO `low`@`%`\nGRANT SELECT ON `shop`.* TO `low`@`%`", "shop.*", true},
		{"GRANT SELECT ON `shop`.* TO `low`@`%`", "shop.users", true},
		{"GRANT SELECT ON `shop`.* TO `low`@`%`", "s*.users", false},
		{"GRANT SELECT ON `shop`.* TO `low`@`%`", "*.*", false},
		{"GRANT SELECT ON `tenant\\_%`.* TO `low`@`%`", "tenant_*.*", true},
		{"GRANT SELECT ON `tenant\\_%`.* TO `low`@`%`", "tenant_1.users", true},
		{"GRANT SELECT ON `tenant\\_%`.* TO `low`@`%`", "tenant*.users", false},
		{"GRANT SELECT ON `tenant_`.* TO `low`@`%`", "tenant?.*", true},
		{"GRANT SELECT ON `tenant_`.* TO `low`@`%`", "tenant*.*", false},
		{"GRANT SELECT ON `shop`.`users` TO `low`@`%`", "shop.users", true},
		{"GRANT SELECT ON `shop`.`users` TO `low`@`%`", "shop.*", false},
		{"GRANT INSERT (`a`), SELECT ON `shop`.`users` TO `low`@`%`", "shop.users", true},
		{"GRANT SELECT (`id`, `a`) ON `shop`.`users` TO `low`@`%`", "shop.users", false},
		{
			"GRANT SELECT (`SELECT`, `a`), INSERT ON `shop`.`users` TO `low`@`%`", "shop.users",
			false,
		},
		{"GRANT SELECT ON `a``b`.* TO `low`@`%`", "a`b.*", true},
		{"GRANT INSERT, UPDATE ON *.* TO `low`@`%`", "shop.users", false},
		{
			"GRANT SELECT ON *.* TO `low`@`%`\nREVOKE SELECT ON `shop`.* FROM `low`@`%`",
			"shop.users",
			false,
		},
		{
			"GRANT SELECT ON *.* TO `low`@`%`\nREVOKE SELECT ON `shop`.* FROM `low`@`%`",
			"sho?.users",
			false,
		},
		{
			"GRANT SELECT ON *.* TO `low`@`%`\nREVOKE SELECT ON `shop`.* FROM `low`@`%`", "zoo.*",
			true,
		},
	} {
		var grants []grant
		for line := range strings.Lines(test.grants) {
			if g, ok := parseGrant(strings.TrimSuffix(line, "\n")); ok {
				grants = append(grants, g)
			}
		}
		database, table, _ := strings.Cut(test.pattern, ".")
		if got := mayRead(grants, database, table); got != test.want {
			t.Errorf("%s: %s is readable: %t, want %t", test.grants, test.pattern, got, test.want)
		}
	}
}
