// Package measure reads from real servers how they print stored bytes. The generator of
// binlog/charset and its tests use it.
//
// A server stores only well-formed texts. Rows of older servers hold others, and a SELECT prints
// those, too. Server.Print therefore stores the bytes in a BLOB of a MyISAM table. Then it puts the
// table's files in the place of those of a table with a TEXT of the character set, because the two
// tables' files have the same format.
package measure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"rowfall/binlog/mysql"
	"rowfall/internal/servers"
)

// Server is a running server.
type Server struct {
	db   *servers.Database
	conn *mysql.Conn
	dir  string
}

// Charset is a character set of a server.
type Charset struct {
	Name string
	// Width is the most bytes of a character.
	Width int
}

// Start starts a server whose files are in a temporary folder. Close stops it.
func Start(ctx context.Context, in *servers.Installation, kind servers.Kind) (*Server, error) {
	dir, err := os.MkdirTemp("", "rowfall-charsets-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	s.db, err = in.StartDatabase(ctx, kind, servers.DatabaseOptions{
		Dir: dir, Args: []string{"--skip-log-bin"},
	})
	if err == nil {
		s.conn, err = mysql.Dial(ctx, mysql.Config{Addresses: []string{s.db.Addr()}, User: "root"})
	}
	if err == nil {
		err = s.exec(ctx, "CREATE DATABASE measured", "USE measured")
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close stops the server and removes its files.
func (s *Server) Close() error {
	var errs []error
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// Conn returns the connection to the server, whose database is empty but for the tables of Store.
func (s *Server) Conn() *mysql.Conn { return s.conn }

func (s *Server) exec(ctx context.Context, statements ...string) error {
	for _, sql := range statements {
		if err := s.conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("run %q: %w", sql[:min(len(sql), 80)], err)
		}
	}
	return nil
}

// Charsets returns the server's character sets.
func (s *Server) Charsets(ctx context.Context) ([]Charset, error) {
	r, err := s.conn.Query(ctx, "SHOW CHARACTER SET")
	if err != nil {
		return nil, err
	}
	var all []Charset
	for i := range r.Rows {
		width, err := strconv.Atoi(r.Text(i, "Maxlen"))
		if err != nil {
			return nil, err
		}
		all = append(all, Charset{r.Text(i, "Charset"), width})
	}
	return all, nil
}

// Store stores values under a name, which begins with a letter.
func (s *Server) Store(ctx context.Context, name string, values [][]byte) error {
	err := s.exec(ctx, "CREATE TABLE "+name+" (v MEDIUMBLOB) ENGINE=MyISAM")
	var sql bytes.Buffer
	for i, v := range values {
		if sql.Len() == 0 {
			sql.WriteString("INSERT INTO " + name + " VALUES ")
		} else {
			sql.WriteByte(',')
		}
		fmt.Fprintf(&sql, "(x'%x')", v)
		if sql.Len() > 1<<20 || i == len(values)-1 {
			err = errors.Join(err, s.exec(ctx, sql.String()))
			sql.Reset()
		}
		if err != nil {
			return err
		}
	}
	return s.exec(ctx, "FLUSH TABLES "+name)
}

// Print calls each with what a SELECT of the stored values prints to a utf8mb4 client if they are
// in a column of the character set. printed is valid during the call.
func (s *Server) Print(
	ctx context.Context, charset, name string, each func(n int, printed []byte) error,
) error {
	err := s.exec(ctx, "DROP TABLE IF EXISTS printed",
		"CREATE TABLE printed (v MEDIUMTEXT CHARACTER SET "+charset+") ENGINE=MyISAM",
		"FLUSH TABLES printed")
	if err != nil {
		return err
	}
	folder := filepath.Join(s.dir, "data", "measured")
	for _, ending := range []string{".MYD", ".MYI"} {
		b, err := os.ReadFile(filepath.Join(folder, name+ending))
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, "printed"+ending), b, 0o600)
		}
		if err != nil {
			return err
		}
	}
	if err := s.exec(ctx, "FLUSH TABLES printed"); err != nil {
		return err
	}
	n := 0
	return s.conn.Stream(ctx, "SELECT v FROM printed", func(cells [][]byte) error {
		n++
		return each(n-1, cells[0])
	})
}

// Sequences returns all byte sequences between the prefix and the ending that have n bytes.
func Sequences(prefix string, n int, ending string) [][]byte {
	all := [][]byte{[]byte(prefix)}
	for range n {
		longer := make([][]byte, 0, 256*len(all))
		for _, s := range all {
			for b := range 256 {
				longer = append(longer, append(s[:len(s):len(s)], byte(b)))
			}
		}
		all = longer
	}
	for i := range all {
		all[i] = append(all[i], strings.Clone(ending)...)
	}
	return all
}
