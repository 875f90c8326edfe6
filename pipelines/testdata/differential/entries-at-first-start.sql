# A table with a list and a stream is created while the pipeline starts for the first time. If its
# definition could not be read at the first position, the entries missing until then are a gap.
-- map x9 write list: "x:9:list", value: "{id}:{n}"
-- map x9 write stream: "x:9:stream"
-- map x9 where: grp != 3
/* 0 */ CREATE TABLE x9 (id INT NOT NULL PRIMARY KEY, grp INT, n BIGINT, fixed VARCHAR(20))
-- entries NOT (row.grp <=> 3)
-- ready
/* 0 */ INSERT INTO x9 (id, n, fixed, grp) VALUES (1, 123, 'f1', 1), (2, 124, 'f2', 3), (3, 125, 'f3', 4)
/* 1 */ UPDATE x9 SET n = n + 1, grp = 3 WHERE id = 1
/* 1 */ UPDATE x9 SET n = n + 1, grp = 1 WHERE id = 2
-- crash before 1
/* 1 */ UPDATE x9 SET id = id - 1, fixed = CONCAT('f', id), n = 200 ORDER BY id
/* 1 */ DELETE FROM x9 WHERE id = 2
