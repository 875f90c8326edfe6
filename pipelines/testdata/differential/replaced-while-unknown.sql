# A member of a sorted set whose row is gone was not swept: the sweep ended when it had found the key,
# and before it scanned the members. The change of the row was not applied, because the columns of
# the table were not known: a helper table that no wildcard matches took its name.
-- map x1 write hash: "x:code:{code}"
-- map x1 write set: "x:group:{grp}", member: "{id}", when_null: skip
-- map x1 write string: "x:phone:{phone}", value: "{id}", when_null: skip
-- map x1 write sorted_set: "x:scores", member: "{id}", score: n
-- map x1 write set: "x:numbers", member: "{grp}", shared: true, when_null: skip
-- map x2 where: grp != 3
-- map x2 write hash: "x:two:{id}"
-- map x2 write set: "x:fixed", member: "{fixed}", shared: true, when_null: skip
-- map x2 write set: "x:numbers", member: "{grp}", shared: true, when_null: skip
/* 0 */ CREATE TABLE x1 (id INT NOT NULL PRIMARY KEY, code INT NOT NULL UNIQUE, grp INT, phone VARCHAR(20) NOT NULL UNIQUE, n BIGINT, fixed VARCHAR(20))
/* 0 */ INSERT INTO x1 VALUES (7, 0, 3, '26', 196, 'f7'), (21, 16, 4, '83', 197, 'f21'), (35, 4, 4, '75', 198, 'f35'), (19, 86, NULL, '13', 199, 'f19'), (15, 64, 4, '44', 200, 'f15')
/* 0 */ CREATE TABLE x2 (id INT NOT NULL PRIMARY KEY, grp INT, n BIGINT, fixed VARCHAR(20))
-- compare
/* 0 */ CREATE TABLE _vt_vrp_x1 LIKE x1
/* 0 */ INSERT INTO _vt_vrp_x1 SELECT * FROM x1
-- kill
/* 0 */ RENAME TABLE x1 TO _vt_hld_x1, _vt_vrp_x1 TO x1
/* 2 */ REPLACE INTO x1 (id, n, fixed, code, grp, phone) VALUES (24, 246, 'f24', 72, 4, '67'), (27, 247, 'f27', 86, 1, '17')
-- compare
