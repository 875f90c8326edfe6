package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"rowfall/binlog/mysql"
)

// shop is the demo's database and the traffic on it, as the application of a small shop would
// write it.
type shop struct {
	source mysql.Config
	// Counters of what WriteTraffic has committed. written counts statements.
	written      atomic.Int64
	transactions atomic.Int64
}

func newShop(source mysql.Config) *shop { return &shop{source: source} }

// parseSource parses user[:password]@host:port, or the form of Go's MySQL drivers,
// user:password@tcp(host:port)/. Errors do not contain the text, because that may hold a password.
func parseSource(text string) (mysql.Config, error) {
	usage := func(what string) (mysql.Config, error) {
		return mysql.Config{}, fmt.Errorf(
			"--mysql: %s; want user[:password]@host:port, such as root:secret@127.0.0.1:3306", what,
		)
	}
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return usage("the @ between user and address is missing")
	}
	user, password, _ := strings.Cut(text[:at], ":")
	addr := text[at+1:]
	if inner, ok := strings.CutPrefix(addr, "tcp("); ok {
		addr, inner, ok = strings.Cut(inner, ")")
		if !ok || strings.Trim(inner, "/") != "" {
			return usage("no database and no options may follow tcp(host:port)")
		}
	}
	host, port, err := net.SplitHostPort(strings.TrimSuffix(addr, "/"))
	if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || n == 0 || host == "" ||
		user == "" {
		return usage(fmt.Sprintf("user %q, address %q", user, addr))
	}
	return mysql.Config{
		Addresses: []string{net.JoinHostPort(host, port)}, User: user, Password: password,
	}, nil
}

// shopMarker is the table comment by which the demo recognises a database that it has created.
const shopMarker = "made by rowfall demo"

var shopSchema = []string{
	"DROP DATABASE IF EXISTS shop",
	"CREATE DATABASE shop CHARACTER SET utf8mb4",
	// The first table marks the database as the demo's.
	"CREATE TABLE shop.heartbeats (id INT PRIMARY KEY, seq BIGINT NOT NULL) " +
		"COMMENT '" + shopMarker + "'",
	`CREATE TABLE shop.customers (
		id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
		first_name VARCHAR(40) NOT NULL, last_name VARCHAR(40) NOT NULL,
		email VARCHAR(120) NOT NULL, country CHAR(2),
		status ENUM('active','paused','deleted') NOT NULL DEFAULT 'active',
		password_hash VARBINARY(32), created_at DATETIME NOT NULL, KEY (status))`,
	`CREATE TABLE shop.products (
		id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
		name VARCHAR(80) NOT NULL, price DECIMAL(10,2) NOT NULL, stock INT NOT NULL,
		weight DOUBLE, tags SET('new','sale','eco'), attributes JSON)`,
	`CREATE TABLE shop.orders (
		id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
		customer_id INT UNSIGNED NOT NULL, status VARCHAR(12) NOT NULL,
		total DECIMAL(12,2) NOT NULL,
		placed_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3), KEY (customer_id))`,
	`CREATE TABLE shop.order_lines (
		order_id BIGINT UNSIGNED NOT NULL, line_no SMALLINT UNSIGNED NOT NULL,
		product_id INT UNSIGNED NOT NULL, quantity INT NOT NULL, note VARCHAR(80),
		PRIMARY KEY (order_id, line_no))`,
	"INSERT INTO shop.heartbeats VALUES (1, 0)",
}

const shopProducts = 200

var (
	firstNames = []string{
		"Ada", "Boris", "Chloé", "Dmitri", "Elif", "Fatou", "Grace", "Hiro", "Inês", "Jürgen",
		"Kaja",
		"Liu",
	}
	lastNames = []string{
		"Okafor", "Smith", "Nguyễn", "García", "Kowalska", "Øster", "Tanaka", "Haddad", "Ivanova",
		"Brown",
	}
	countries = []string{"'DE'", "'FR'", "'JP'", "'NG'", "'BR'", "'US'", "NULL"}
	statuses  = []string{"new", "paid", "packed", "sent", "returned"}
)

// CheckReplaceable fails if the server has a database shop that no demo has created: Load would
// replace it.
func (s *shop) CheckReplaceable(ctx context.Context) error {
	conn, err := mysql.Dial(ctx, s.source)
	if err != nil {
		return fmt.Errorf("connect to MySQL: %w", err)
	}
	defer func() { _ = conn.Close() }()
	r, err := conn.Query(ctx, "SELECT "+
		"(SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'shop'), "+
		"(SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop' "+
		"AND TABLE_NAME = 'heartbeats' AND TABLE_COMMENT = '"+shopMarker+"')")
	if err != nil {
		return fmt.Errorf("find database shop: %w", err)
	}
	if exists, ours := string(r.Rows[0][0]) != "0", string(r.Rows[0][1]) != "0"; exists && !ours {
		return fmt.Errorf(
			"find database shop: the server at %s has one that the demo did not create "+
				"and would replace; use another server, or execute DROP DATABASE shop if that "+
				"database is "+
				"not needed",
			s.source.Addresses[0],
		)
	}
	return nil
}

// Drop drops the database shop.
func (s *shop) Drop(ctx context.Context) error {
	conn, err := mysql.Dial(ctx, s.source)
	if err != nil {
		return fmt.Errorf("drop shop: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.Exec(ctx, "DROP DATABASE IF EXISTS shop"); err != nil {
		return fmt.Errorf("drop shop: %w", err)
	}
	return nil
}

// Load creates the database shop, or replaces it, and fills it.
func (s *shop) Load(ctx context.Context, customers int) error {
	conn, err := mysql.Dial(ctx, s.source)
	if err != nil {
		return fmt.Errorf("connect to MySQL: %w", err)
	}
	defer func() { _ = conn.Close() }()
	for _, sql := range shopSchema {
		if err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("create shop: %w", err)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	fill := func(into string, n int, row func(i int) string) error {
		const batch = 500
		for from := 1; from <= n; from += batch {
			rows := make([]string, 0, batch)
			for i := from; i < from+batch && i <= n; i++ {
				rows = append(rows, row(i))
			}
			sql := "INSERT INTO shop." + into + " VALUES " + strings.Join(rows, ",")
			if err := conn.Exec(ctx, sql); err != nil {
				return fmt.Errorf("fill shop: %w", err)
			}
		}
		return nil
	}
	return errors.Join(
		fill(
			"products (name, price, stock, weight, tags, attributes)", shopProducts,
			func(i int) string {
				return fmt.Sprintf(
					"('Product %d', %d.%02d, %d, %g, '%s', '{\"colour\": \"c%d\", "+
						"\"sizes\": [%d, %d.5]}')",
					i, 1+rng.IntN(200), rng.IntN(100), rng.IntN(1000), rng.Float64()*20,
					[]string{"", "new", "sale,eco"}[rng.IntN(3)], i%7, i%50, i%40,
				)
			},
		),
		fill("customers ("+customerColumns+")", customers, func(i int) string {
			return customerRow(rng, i)
		}),
		fill("orders (customer_id, status, total)", customers, func(i int) string {
			return fmt.Sprintf(
				"(%d, '%s', %d.%02d)",
				i,
				statuses[rng.IntN(len(statuses))],
				rng.IntN(500),
				rng.IntN(100),
			)
		}),
		fill("order_lines", 2*customers, func(i int) string {
			return fmt.Sprintf(
				"(%d, %d, %d, %d, %s)", (i+1)/2, 1+(i+1)%2, 1+rng.IntN(shopProducts), 1+rng.IntN(5),
				[]string{"NULL", "'gift'"}[rng.IntN(2)],
			)
		}),
	)
}

// customerColumns are the columns of customerRow.
const customerColumns = "first_name, last_name, email, country, status, password_hash, created_at"

// customerRow returns the SQL values of customer i.
func customerRow(rng *rand.Rand, i int) string {
	return fmt.Sprintf(
		"('%s', '%s', 'c%d@example.com', %s, 'active', X'%032x', NOW() - INTERVAL %d MINUTE)",
		firstNames[rng.IntN(len(firstNames))], lastNames[rng.IntN(len(lastNames))], i,
		countries[rng.IntN(len(countries))], rng.Uint64(), rng.IntN(1_000_000),
	)
}

// WriteTraffic commits random transactions until ctx ends, with a pause after each.
func (s *shop) WriteTraffic(
	ctx context.Context, seed uint64, customers int, pause time.Duration,
) error {
	conn, err := mysql.Dial(ctx, s.source)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	rng := rand.New(rand.NewPCG(seed, 7))
	timer := time.NewTicker(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		statements := randomTransaction(rng, customers)
		// A transaction is not cancelled by ctx. If its COMMIT were interrupted here, the server
		// might still carry it out after the rows have been read for the comparison.
		err := s.transaction(context.WithoutCancel(ctx), conn, statements)
		switch {
		case mysql.IsCode(err, mysql.CodeDeadlock) || mysql.IsCode(err, mysql.CodeLockTimeout) ||
			mysql.IsCode(err, mysql.CodeDuplicateKey):
			// A deadlock, a lock wait timeout, or a duplicate id. Every application meets
			// these errors and rolls back.
			if err := conn.Exec(context.WithoutCancel(ctx), "ROLLBACK"); err != nil &&
				ctx.Err() == nil {
				return err
			}
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		default:
			s.transactions.Add(1)
			s.written.Add(int64(len(statements)))
		}
	}
}

// transaction executes the statements in one transaction.
func (s *shop) transaction(ctx context.Context, conn *mysql.Conn, statements []string) error {
	for _, sql := range append(append([]string{"BEGIN"}, statements...), "COMMIT") {
		if err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// randomTransaction returns the statements of one transaction. It places an order, changes an
// order, changes or adds a customer, or deletes an order.
func randomTransaction(rng *rand.Rand, customers int) []string {
	customer, product := 1+rng.IntN(customers), 1+rng.IntN(shopProducts)
	switch rng.IntN(10) {
	case 0, 1, 2, 3:
		return []string{
			fmt.Sprintf(
				"INSERT INTO shop.orders (customer_id, status, total) VALUES (%d, 'new', %d.%02d)",
				customer,
				rng.IntN(400),
				rng.IntN(100),
			),
			fmt.Sprintf(
				"INSERT INTO shop.order_lines VALUES (LAST_INSERT_ID(), 1, %d, %d, NULL)", product,
				1+rng.IntN(4),
			),
			fmt.Sprintf(
				"INSERT INTO shop.order_lines VALUES (LAST_INSERT_ID(), 2, %d, 1, 'gift')",
				1+rng.IntN(shopProducts),
			),
			fmt.Sprintf("UPDATE shop.products SET stock = stock - 1, tags = 'sale' WHERE id = %d",
				product),
		}
	case 4, 5, 6:
		return []string{
			fmt.Sprintf(
				"UPDATE shop.orders SET status = '%s' WHERE id = %d",
				statuses[rng.IntN(len(statuses))],
				customer,
			),
			fmt.Sprintf(
				"UPDATE shop.order_lines SET quantity = quantity + 1, "+
					"note = IF(note IS NULL, 'changed', NULL) WHERE order_id = %d AND line_no = 1",
				customer,
			),
		}
	case 7:
		return []string{
			fmt.Sprintf(
				"UPDATE shop.customers SET country = %s, last_name = '%s' WHERE id = %d",
				countries[rng.IntN(len(countries))], lastNames[rng.IntN(len(lastNames))], customer,
			),
			fmt.Sprintf(
				"UPDATE shop.customers SET "+
					"status = ELT(1 + FLOOR(RAND() * 3), 'active', 'paused', "+
					"'deleted') WHERE id = %d",
				1+rng.IntN(customers),
			),
		}
	case 8:
		return []string{
			"INSERT INTO shop.customers (" + customerColumns + ") VALUES " + customerRow(rng,
				customer),
		}
	default:
		return []string{
			fmt.Sprintf("DELETE FROM shop.order_lines WHERE order_id = %d", customer),
			fmt.Sprintf("DELETE FROM shop.orders WHERE id = %d", customer),
		}
	}
}
