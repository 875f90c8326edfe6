# The keys of a former primary key stayed for good; and those of a table that had lost its primary key
# when it was renamed.
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
/* 0 */ CREATE TABLE u1 (id INT PRIMARY KEY, n BIGINT, fixed VARCHAR(20))
/* 0 */ INSERT INTO t1 VALUES (1, 1, 'f1'), (2, 2, 'f2')
/* 0 */ INSERT INTO u1 VALUES (1, 1, 'f1'), (2, 2, 'f2')
-- compare
/* 0 */ ALTER TABLE t1 DROP PRIMARY KEY, ADD COLUMN k INT NOT NULL DEFAULT 0, ADD PRIMARY KEY (id, k)
/* 0 */ ALTER TABLE u1 DROP PRIMARY KEY
-- kill
-- start
/* 0 */ RENAME TABLE u1 TO u2
-- compare
/* 0 */ ALTER TABLE u2 ADD PRIMARY KEY (id)
-- compare
/* 0 */ ALTER TABLE u2 DROP PRIMARY KEY
/* 0 */ ALTER TABLE u2 ADD COLUMN k INT NOT NULL DEFAULT 0, ADD PRIMARY KEY (id, k)
-- compare
