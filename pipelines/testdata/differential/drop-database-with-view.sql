# A DROP DATABASE after a restart crashed the process, because the mapping matches a view.
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
/* 0 */ CREATE OR REPLACE VIEW v1 AS SELECT 1 AS c
-- kill
-- start
/* 0 */ DROP DATABASE {db}_two
/* 0 */ CREATE DATABASE {db}_two
