// Command generate writes tables.bin of package charset: it starts a MySQL and a MariaDB and reads
// how they print every sequence of bytes in each of their character sets.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"rowfall/binlog/charset"
	"rowfall/binlog/charset/measure"
	"rowfall/binlog/charset/trie"
	"rowfall/internal/servers"
)

func main() {
	if err := run(context.Background(), "tables.bin"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// bases are the character sets whose tables others are similar to. A base precedes the others in
// the order of order.
var bases = map[string]string{
	"gb2312": "gbk", "gb18030": "gbk", "cp932": "sjis", "eucjpms": "ujis",
}

// computed are the character sets that need no table.
const computed = " ascii binary ucs2 utf16 utf16le utf32 utf8mb3 utf8mb4 "

// run measures both servers and writes the file.
func run(ctx context.Context, path string) error {
	in, err := servers.Install(ctx, os.Stderr, servers.MySQL, servers.MariaDB)
	if err != nil {
		return err
	}
	file := []byte(charset.Magic)
	built := make(map[string]*trie.Table)
	for _, kind := range []servers.Kind{servers.MySQL, servers.MariaDB} {
		if file, err = appendServer(ctx, in, kind, built, file); err != nil {
			return fmt.Errorf("measure %s: %w", kind, err)
		}
	}
	return os.WriteFile(path, file, 0o644)
}

// appendServer appends the tables of one server. built holds all tables so far, by name.
func appendServer(
	ctx context.Context, in *servers.Installation, kind servers.Kind,
	built map[string]*trie.Table, file []byte,
) (_ []byte, err error) {
	s, err := measure.Start(ctx, in, kind)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := s.Close(); err == nil {
			err = closeErr
		}
	}()
	all, err := s.Charsets(ctx)
	if err != nil {
		return nil, err
	}
	if err := store(ctx, s); err != nil {
		return nil, err
	}
	for _, isBased := range []bool{false, true} {
		for _, cs := range all {
			if strings.Contains(computed, " "+cs.Name+" ") || (bases[cs.Name] != "") != isBased {
				continue
			}
			m := measured{out: make(map[string]string), charset: cs, kind: kind}
			if err := m.read(ctx, s); err != nil {
				return nil, fmt.Errorf("%s: %w", cs.Name, err)
			}
			t, err := m.table()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", cs.Name, err)
			}
			e := charset.Entry{Name: string(kind) + "/" + cs.Name}
			for _, base := range []string{
				string(servers.MySQL) + "/" + cs.Name, string(kind) + "/" + bases[cs.Name],
			} {
				if built[base] != nil && e.Base == "" {
					e.Base = base
				}
			}
			if e.Packed, err = trie.Pack(t, built[e.Base]); err != nil {
				return nil, err
			}
			if base := built[e.Base]; base != nil && isEqual(t, base) {
				e.Packed = nil
			}
			built[e.Name] = t
			file = charset.AppendEntry(file, e)
			fmt.Printf("%s: %d pages, %d bytes\n", e.Name, len(t.Pages), len(e.Packed))
		}
	}
	return file, nil
}

func isEqual(a, b *trie.Table) bool {
	if len(a.Pages) != len(b.Pages) || len(a.Four) != len(b.Four) {
		return false
	}
	for i := range a.Pages {
		if *a.Pages[i] != *b.Pages[i] {
			return false
		}
	}
	return true
}
