# A DROP DATABASE after a restart crashed the process, because the mapping matches a view.
/* 0 */ CREATE TABLE x1 (id INT PRIMARY KEY, code INT NOT NULL UNIQUE, grp INT, phone INT NOT NULL UNIQUE, n BIGINT, fixed VARCHAR(20))
/* 0 */ CREATE TABLE x2 (id INT NOT NULL PRIMARY KEY, grp INT, n BIGINT, fixed VARCHAR(20))
/* 0 */ CREATE OR REPLACE VIEW v1 AS SELECT 1 AS c
-- kill
-- start
/* 0 */ DROP DATABASE {db}_two
/* 0 */ CREATE DATABASE {db}_two
