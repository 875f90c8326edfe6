-- The tables of the sample shop, some rows, and the user that the pipeline reads
-- as. compose.yaml runs it in a new MySQL.
SET NAMES utf8mb4;
CREATE DATABASE shop CHARACTER SET utf8mb4;
USE shop;

CREATE TABLE customers (
  id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
  first_name VARCHAR(40) NOT NULL,
  last_name VARCHAR(40) NOT NULL,
  email VARCHAR(120) NOT NULL,
  country CHAR(2),
  status ENUM('active','paused','deleted') NOT NULL DEFAULT 'active',
  password_hash VARBINARY(32),
  created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE products (
  id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(80) NOT NULL,
  price DECIMAL(10,2) NOT NULL,
  stock INT NOT NULL,
  attributes JSON
);
CREATE TABLE orders (
  id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
  customer_id INT UNSIGNED NOT NULL,
  status VARCHAR(12) NOT NULL,
  total DECIMAL(12,2) NOT NULL,
  placed_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
);
CREATE TABLE order_lines (
  order_id BIGINT UNSIGNED NOT NULL,
  line_no SMALLINT UNSIGNED NOT NULL,
  product_id INT UNSIGNED NOT NULL,
  quantity INT NOT NULL,
  PRIMARY KEY (order_id, line_no)
);

INSERT INTO customers (first_name, last_name, email, country, password_hash) VALUES
  ('Ada', 'Okafor', 'ada@example.com', 'NG', X'00'),
  ('Jürgen', 'Brown', 'juergen@example.com', 'DE', X'01'),
  ('Chloé', 'García', 'chloe@example.com', NULL, X'02');
INSERT INTO products (name, price, stock, attributes) VALUES
  ('Kettle', 39.90, 12, '{"colour": "red", "litres": 1.7}'),
  ('Lamp', 19.50, 40, NULL);
INSERT INTO orders (customer_id, status, total) VALUES (1, 'paid', 59.40), (2, 'new', 19.50);
INSERT INTO order_lines VALUES (1, 1, 1, 1), (1, 2, 2, 1), (2, 1, 2, 1);

CREATE USER 'rowfall'@'%' IDENTIFIED BY 'rowfallsecret';
GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'rowfall'@'%';
