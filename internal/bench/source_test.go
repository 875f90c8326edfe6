//go:build bench

package bench_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/binlog/query"
	"rowfall/binlog/tlsfiles"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// The marker is the last row of a stream. A contender has reached the end when the marker's key
// exists at the destination.
const (
	markerTable  = "marker"
	markerKey    = "marker:1"
	heartbeatKey = "beat:1"
)

// setupStatements create one table like sysbench's sbtest and one like orders, and procedures that
// change them. The load is a loop inside the server, because that costs the least CPU. A
// transaction changes one to four rows, each with its own statement. Of ten changes four insert,
// five update and one deletes. Each session changes its own range of rows, which user variables
// hold.
var setupStatements = []string{
	`CREATE DATABASE bench`,
	`CREATE TABLE bench.sbtest (
		id INT NOT NULL PRIMARY KEY, k INT NOT NULL DEFAULT 0, c CHAR(120) NOT NULL DEFAULT '',
		pad CHAR(60) NOT NULL DEFAULT '', KEY k_1 (k))`,
	`CREATE TABLE bench.orders (
		id BIGINT NOT NULL PRIMARY KEY, customer_id INT UNSIGNED NOT NULL, warehouse INT NOT NULL,
		priority SMALLINT NOT NULL, total DECIMAL(12,2) NOT NULL, tax DECIMAL(12,2) NOT NULL,
		created_at DATETIME(6) NOT NULL, updated_at TIMESTAMP(3) NOT NULL,
		status ENUM('new','paid','packed','shipped','returned') NOT NULL,
		email VARCHAR(120) NOT NULL, city VARCHAR(60) NOT NULL, note VARCHAR(200) NULL,
		details JSON NOT NULL)`,
	`CREATE TABLE bench.beat (id INT NOT NULL PRIMARY KEY, seq BIGINT NOT NULL)`,
	`CREATE TABLE bench.marker (id INT NOT NULL PRIMARY KEY)`,
	`CREATE PROCEDURE bench.change_sbtest(op INT) BEGIN
		DECLARE picked INT DEFAULT @s_first + FLOOR(RAND() * (@s_last - @s_first + 1));
		IF op < 4 OR @s_first > @s_last THEN
			SET @s_last = @s_last + 1;
			INSERT INTO bench.sbtest VALUES (@s_last, FLOOR(RAND() * 1000000),
				LEFT(SHA2(RAND(), 512), 119), LEFT(SHA2(RAND(), 256), 59));
		ELSEIF op < 7 THEN UPDATE bench.sbtest SET k = k + 1 WHERE id = picked;
		ELSEIF op < 9 THEN UPDATE bench.sbtest SET c = LEFT(SHA2(RAND(), 512), 119)
			WHERE id = picked;
		ELSE DELETE FROM bench.sbtest WHERE id = @s_first; SET @s_first = @s_first + 1;
		END IF;
	END`,
	`CREATE PROCEDURE bench.change_orders(op INT) BEGIN
		DECLARE picked BIGINT DEFAULT @o_first + FLOOR(RAND() * (@o_last - @o_first + 1));
		IF op < 4 OR @o_first > @o_last THEN
			SET @o_last = @o_last + 1;
			INSERT INTO bench.orders VALUES (
				@o_last, FLOOR(RAND() * 4000000000), FLOOR(RAND() * 200), FLOOR(RAND() * 9),
				RAND() * 10000, RAND() * 1000, NOW(6), NOW(3), 'new',
				CONCAT('customer', @o_last, '@example.com'),
				ELT(1 + FLOOR(RAND() * 4), 'Zürich', 'Oslo', 'São Paulo', 'Kyoto'),
				IF(op < 2, NULL, 'leave it with the neighbours'),
				JSON_OBJECT('channel', 'web', 'items', FLOOR(RAND() * 9), 'gift', RAND() < 0.1,
					'codes', JSON_ARRAY('A1', 'B2'), 'weight', RAND()));
		ELSEIF op < 9 THEN UPDATE bench.orders SET
			status = ELT(op - 3, 'paid', 'packed', 'shipped', 'shipped', 'returned'),
			total = total + 1, updated_at = NOW(3) WHERE id = picked;
		ELSE DELETE FROM bench.orders WHERE id = @o_first; SET @o_first = @o_first + 1;
		END IF;
	END`,
	`CREATE PROCEDURE bench.change_rows(n INT) BEGIN
		DECLARE done INT DEFAULT 0;
		START TRANSACTION;
		WHILE done < n DO
			IF RAND() < 0.5 THEN CALL bench.change_sbtest(FLOOR(RAND() * 10));
			ELSE CALL bench.change_orders(FLOOR(RAND() * 10));
			END IF;
			SET done = done + 1;
		END WHILE;
		COMMIT;
	END`,
	`CREATE PROCEDURE bench.change_many(n INT) BEGIN
		DECLARE done, size INT DEFAULT 0;
		SET @transactions = 0;
		WHILE done < n DO
			SET size = LEAST(n - done, 1 + FLOOR(RAND() * 4));
			CALL bench.change_rows(size);
			SET done = done + size, @transactions = @transactions + 1;
		END WHILE;
	END`,
	// The live load: a transaction is one statement that changes one to four rows, more often many
	// than one. That costs the server less than half as much as single rows, so that 10,000 rows/s
	// leave enough of a machine with two cores to the contender.
	`CREATE PROCEDURE bench.change_live(n INT) BEGIN
		DECLARE done, size, op, picked INT DEFAULT 0;
		WHILE done < n DO
			SET size = LEAST(n - done, GREATEST(1 + FLOOR(RAND() * 4), 1 + FLOOR(RAND() * 4)));
			SET op = FLOOR(RAND() * 10);
			SET picked = @s_first + FLOOR(RAND() * (@s_last - @s_first - size + 2));
			IF op < 4 OR @s_last - @s_first < 8 THEN
				INSERT INTO bench.sbtest SELECT @s_last + i, i, REPEAT('c', 119), REPEAT('p', 59)
					FROM (VALUES ROW(1), ROW(2), ROW(3), ROW(4)) AS four (i) WHERE i <= size;
				SET @s_last = @s_last + size;
			ELSEIF op < 9 THEN
				UPDATE bench.sbtest SET c = SHA2(c, 256)
					WHERE id BETWEEN picked AND picked + size - 1;
			ELSE
				DELETE FROM bench.sbtest WHERE id BETWEEN @s_first AND @s_first + size - 1;
				SET @s_first = @s_first + size;
			END IF;
			SET done = done + size;
		END WHILE;
	END`,
	`CREATE DATABASE census`,
	`CREATE TABLE census.people (
		id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(60) NOT NULL, email VARCHAR(80) NOT NULL,
		city VARCHAR(40) NOT NULL, country CHAR(2) NOT NULL, balance DECIMAL(12,2) NOT NULL,
		visits INT NOT NULL, joined DATETIME NOT NULL)`,
}

// batchRows bounds the rows of one statement, because a connection that is silent for a minute
// counts as dead.
const batchRows = 20_000

// insertPeople inserts a range of rows of eight fields.
const insertPeople = `INSERT INTO census.people
	WITH RECURSIVE n (i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i < %d)
	SELECT i, CONCAT('Person ', i), CONCAT('person', i, '@example.com'),
		ELT(1 + i %% 4, 'Zürich', 'Oslo', 'São Paulo', 'Kyoto'),
		ELT(1 + i %% 4, 'CH', 'NO', 'BR', 'JP'), RAND() * 10000, FLOOR(RAND() * 1000),
		'2020-01-01' + INTERVAL i SECOND FROM n`

// updatePeople updates a range of rows. Text columns change their length with each pass.
const updatePeople = `UPDATE census.people SET balance = balance + 1, visits = visits + 1,
	name = CONCAT('Person ', id, REPEAT('+', %d %% 9)),
	city = ELT(1 + (id + %d) %% 4, 'Zürich', 'Oslo', 'São Paulo', 'Kyoto')
	WHERE id BETWEEN %d AND %d`

// sourceConfig returns the configuration of a connection to the MySQL server.
func sourceConfig(addr string) mysql.Config {
	return mysql.Config{
		Addresses: []string{addr}, User: "root",
		TLS: tlsfiles.Client{Mode: tlsfiles.Disabled},
	}
}

// source is the MySQL server and the sessions that write to it.
type source struct {
	tb       testing.TB
	addr     string
	conn     *mysql.Conn
	sessions int // number of sessions opened; each has its own range of rows
}

// newSource starts the server. args are more of its options.
func newSource(tb testing.TB, args ...string) *source {
	tb.Helper()
	// The load must not wait for the disk: measuring begins after the server's commit.
	args = append(args,
		"--sync-binlog=0", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=512M",
		"--cte-max-recursion-depth=4294967295", "--performance-schema=OFF",
	)
	db := servertest.Database(tb, servers.MySQL, servers.DatabaseOptions{GTID: true, Args: args})
	s := &source{tb: tb, addr: db.Addr()}
	s.conn = s.dial()
	for _, sql := range setupStatements {
		s.exec(s.conn, sql)
	}
	return s
}

func (s *source) dial() *mysql.Conn {
	s.tb.Helper()
	conn, err := mysql.Dial(s.tb.Context(), sourceConfig(s.addr))
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() { conn.Close() })
	return conn
}

func (s *source) exec(conn *mysql.Conn, sql string) {
	s.tb.Helper()
	if err := conn.Exec(s.tb.Context(), sql); err != nil {
		s.tb.Fatalf("%.60s...: %v", sql, err)
	}
}

// session opens a connection with its own range of rows.
func (s *source) session() *mysql.Conn {
	s.tb.Helper()
	conn := s.dial()
	s.sessions++
	base := s.sessions * 10_000_000
	s.exec(
		conn,
		fmt.Sprintf(
			`SET @s_first = %d, @s_last = %d, @o_first = %d, @o_last = %d`,
			base+1,
			base,
			base+1,
			base,
		),
	)
	return conn
}

// end returns the end of the binlog as FILE:OFFSET.
func (s *source) end() binlog.Position {
	s.tb.Helper()
	p, err := query.End(s.tb.Context(), s.conn)
	if err != nil {
		s.tb.Fatal(err)
	}
	return binlog.Position{File: p.File, Offset: p.Offset}
}

// binlogRange is the range of the binlog that contains the stream.
type binlogRange struct {
	start              binlog.Position
	rows, transactions int
	bytes              uint64
}

// generate writes the stream: changes of the two tables, and then the marker.
func (s *source) generate(rows int) binlogRange {
	s.tb.Helper()
	const writers = 4
	st := binlogRange{start: s.end(), rows: rows/writers*writers + 1, transactions: 1}
	var wg sync.WaitGroup
	errs := make([]error, writers)
	conns := make([]*mysql.Conn, writers)
	transactions := make([]int, writers)
	for i := range writers {
		conns[i] = s.session()
		wg.Go(func() {
			transactions[i], errs[i] = s.changeMany(conns[i], rows/writers)
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			s.tb.Fatal(err)
		}
		st.transactions += transactions[i]
	}
	s.exec(s.conn, `INSERT INTO bench.marker VALUES (1)`)
	end := s.end()
	if end.File != st.start.File {
		s.tb.Fatalf(
			"the stream of %d rows does not fit into one binlog file; reduce ROWFALL_BENCH_ROWS",
			rows,
		)
	}
	st.bytes = end.Offset - st.start.Offset
	return st
}

// changeMany changes rows in one session, and returns the number of transactions.
func (s *source) changeMany(conn *mysql.Conn, rows int) (transactions int, err error) {
	for ; rows > 0; rows -= batchRows {
		sql := fmt.Sprintf(`CALL bench.change_many(%d)`, min(rows, batchRows))
		if err := conn.Exec(s.tb.Context(), sql); err != nil {
			return 0, err
		}
		n, err := s.query(conn, `SELECT @transactions`)
		if err != nil {
			return 0, err
		}
		transactions += n
	}
	return transactions, nil
}

func (s *source) number(conn *mysql.Conn, sql string) int {
	s.tb.Helper()
	n, err := s.query(conn, sql)
	if err != nil {
		s.tb.Fatal(err)
	}
	return n
}

// query returns the number that a statement returns.
func (s *source) query(conn *mysql.Conn, sql string) (int, error) {
	r, err := conn.Query(s.tb.Context(), sql)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(r.Rows[0][0]))
}

// load is the record of a load: transactions at a fixed rate, and among them heartbeats whose
// commits are timed.
type load struct {
	rows int // rows changed, heartbeats included
	// when the OK of each heartbeat's commit came, by sequence number; index 0 is unused
	commits []time.Time
}

// heartbeatInterval is the time between two heartbeats.
const heartbeatInterval = 4 * time.Millisecond

// runLoad changes rows at a rate for a time. Calls begin on schedule, whether or not earlier calls
// were fast; heartbeats are part of the rate. A call changes forty rows in about thirteen
// transactions, because one call for each transaction would take more CPU from the contender.
func (s *source) runLoad(ctx context.Context, rate int, d time.Duration, firstHeartbeat int) load {
	s.tb.Helper()
	const writers, perCall = 3, 40
	others := float64(rate) - float64(time.Second/heartbeatInterval)
	every := time.Duration(writers * perCall / others * float64(time.Second))
	begin := time.Now()
	var wg sync.WaitGroup
	var rows [writers]int
	var errs [writers + 1]error
	for i := range writers {
		conn := s.session()
		wg.Go(func() {
			first := begin.Add(every * time.Duration(i) / writers)
			for due := first; due.Before(begin.Add(d)); due = due.Add(every) {
				time.Sleep(time.Until(due))
				errs[i] = conn.Exec(ctx, fmt.Sprintf(`CALL bench.change_live(%d)`, perCall))
				if errs[i] != nil {
					return
				}
				rows[i] += perCall
			}
		})
	}
	l := load{commits: make([]time.Time, firstHeartbeat)}
	conn := s.dial()
	wg.Go(func() {
		for due := begin; due.Before(begin.Add(d)); due = due.Add(heartbeatInterval) {
			time.Sleep(time.Until(due))
			sql := fmt.Sprintf(`UPDATE bench.beat SET seq = %d WHERE id = 1`, len(l.commits))
			if errs[writers] = conn.Exec(ctx, sql); errs[writers] != nil {
				return
			}
			l.commits = append(l.commits, time.Now())
			l.rows++
		}
	})
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			s.tb.Fatal(err)
		}
	}
	for _, n := range rows {
		l.rows += n
	}
	return l
}
