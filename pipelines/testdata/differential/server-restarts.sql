# The server is killed, and shut down, while the pipeline reads tables and while it is behind.
-- map x1 write hash: "x:code:{code}"
-- map x1 write set: "x:group:{grp}", member: "{id}", when_null: skip
-- map x1 write string: "x:phone:{phone}", value: "{id}", when_null: skip
-- map x1 write sorted_set: "x:scores", member: "{id}", score: n
-- map x1 write set: "x:numbers", member: "{grp}", shared: true, when_null: skip
-- map x2 where: grp != 3
-- map x2 write hash: "x:two:{id}"
-- map x2 write set: "x:fixed", member: "{fixed}", shared: true, when_null: skip
-- map x2 write set: "x:numbers", member: "{grp}", shared: true, when_null: skip
/* 0 */ CREATE TABLE x1 (id INT PRIMARY KEY, code INT NOT NULL UNIQUE, grp INT, phone INT NOT NULL UNIQUE, n BIGINT, fixed VARCHAR(20))
/* 0 */ CREATE TABLE x2 (id INT NOT NULL PRIMARY KEY, grp INT, n BIGINT, fixed VARCHAR(20))
/* 0 */ CREATE TABLE t1 (id INT PRIMARY KEY, n BIGINT, fixed VARCHAR(20))
/* 0 */ INSERT INTO t1 WITH RECURSIVE r (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 200) SELECT i, 1, CONCAT('f', i) FROM r
/* 0 pin=t1:9001,t1:9002 */ INSERT INTO t1 VALUES (9001, 2, 'f9001'), (9002, 3, 'f9002')
-- compare
-- backfill t1
/* 1 */ BEGIN
/* 1 */ UPDATE t1 SET n = n + 1 WHERE id = 3
/* 0 repeat=20 */ UPDATE t1 SET n = n + 1 WHERE id > 3
-- restart killed
/* 0 */ ALTER TABLE t1 ADD COLUMN a INT NOT NULL DEFAULT 7
/* 1 */ UPDATE t1 SET n = n + 1
-- kill
/* 0 */ CREATE TABLE u1 LIKE t1
/* 0 */ INSERT INTO u1 SELECT * FROM t1
/* 0 */ ALTER TABLE u1 MODIFY a VARCHAR(20) FIRST
-- restart
/* 0 repeat=5 */ UPDATE u1 SET n = n + 1
/* 0 */ SET sql_log_bin = 0
/* 0 */ ALTER TABLE u1 ADD COLUMN b INT NOT NULL DEFAULT 8
/* 0 */ SET sql_log_bin = 1
/* 0 */ UPDATE u1 SET n = n + 1 WHERE id < 20
-- start
-- compare
