package ddl_test

import (
	"strings"
	"testing"

	"rowfall/binlog/ddl"
)

const dumpText = `-- MySQL dump 10.13
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;

CREATE DATABASE /*!32312 IF NOT EXISTS*/ ` + "`shop`" + ` /*!40100 DEFAULT CHARACTER SET latin1 */;

USE ` + "`shop`" + `;
DROP TABLE IF EXISTS ` + "`users`" + `;
CREATE TABLE ` + "`users`" + ` (
  ` + "`id`" + ` int NOT NULL AUTO_INCREMENT COMMENT 'it''s; not the end',
  ` + "`name`" + ` varchar(20) DEFAULT ';',
  PRIMARY KEY (` + "`id`" + `)
) ENGINE=InnoDB;
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=root@localhost*/ /*!50003 TRIGGER t BEFORE INSERT ON users
FOR EACH ROW BEGIN SET NEW.name = 'x'; SET @a = 1; END */;;
DELIMITER ;
/*!50001 CREATE VIEW v AS SELECT 1 */;
CREATE TABLE other (id nonsense);
CREATE TABLE log (id BIGINT);
USE blog
;
CREATE TABLE posts (id INT PRIMARY KEY)`

func TestReadDump(t *testing.T) {
	inMapping := func(n ddl.TableName) bool {
		return n.String() == "shop.users" || n.String() == "blog.posts"
	}
	list, err := ddl.ReadDump(dumpText, ddl.Options{}, nil, inMapping)
	if err != nil || len(list) != 2 {
		t.Fatalf("%d tables, %v; want 2", len(list), err)
	}
	users, posts := list[0].Table(), list[1].Table()
	if users.FullName() != "shop.users" || len(users.Columns) != 2 || len(users.Primary) != 1 ||
		users.Columns[1].Charset != "latin1" {
		t.Errorf("users are %+v", users)
	}
	if posts.FullName() != "blog.posts" {
		t.Errorf("posts are %+v", posts)
	}
	for text, want := range map[string]string{
		"\n\nUSE shop;\nCREATE TABLE t (id nonsense);": "line 4: ",
		"CREATE TABLE t (id INT PRIMARY KEY);":         "no database",
	} {
		all := func(ddl.TableName) bool { return true }
		if _, err := ddl.ReadDump(text, ddl.Options{}, nil, all); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
