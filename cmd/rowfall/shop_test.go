package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rowfall/binlog/mysql"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/pipelines"
	"rowfall/pipelines/file"
	"rowfall/sink"
)

// TestShop is what a stranger does: the sample's tables into a server as it comes,
// by the server's own client, then its pipeline file, with the user that the tables
// came with.
func TestShop(t *testing.T) {
	for _, kind := range []servers.Kind{servers.MySQL, servers.MariaDB} {
		t.Run(string(kind), func(t *testing.T) {
			db := servertest.Database(t, kind, servers.DatabaseOptions{})
			host, port, _ := net.SplitHostPort(db.Addr())
			name := map[servers.Kind]string{
				servers.MySQL:   "mysql",
				servers.MariaDB: "mariadb",
			}[kind]
			client, err := servertest.Need(t, kind).
				Command(t.Context(), kind, name, "--no-defaults", "--protocol=tcp", "--host="+host,
					"--port="+port, "--user=root")
			if err != nil {
				servertest.SkipOrFail(t, err) // a server of the system, without a client beside it
			}
			client.Stdin, err = os.Open("../../pipelines/shop/shop.sql")
			must(t, err)
			if out, err := client.CombinedOutput(); err != nil {
				t.Fatalf("mysql < pipelines/shop/shop.sql: %v\n%s", err, out)
			}
			text, err := os.ReadFile("../../pipelines/shop/shop.yaml")
			must(t, err)
			addr, dir := testAddr(t), t.TempDir()
			path := filepath.Join(dir, "shop.yaml")
			// The ports and the directory alone are the test's own.
			must(
				t,
				os.WriteFile(
					path,
					[]byte(
						strings.NewReplacer("127.0.0.1:3306", db.Addr(), "127.0.0.1:6400", addr,
							"data/shop", filepath.Join(dir, "data")).
							Replace(string(text)),
					),
					0o600,
				),
			)
			t.Setenv("MYSQL_PASSWORD", "rowfallsecret") // as shop.sql has it
			startProcess(t, addr, "run", path)
			config, err := file.Load(path)
			must(t, err)
			conn, err := mysql.Dial(t.Context(), config.Source.MySQL)
			must(t, err)
			defer func() { must(t, conn.Close()) }()
			want, err := pipelines.ReadDataset(t.Context(), conn, &config.Mapping)
			must(t, err)
			if want.Rows != 10 {
				t.Errorf("the sample has %d rows, want 10", want.Rows)
			}
			node := sink.OpenRemote(addr, "")
			defer func() { must(t, node.Close()) }()
			waitFor(t, "the node holds every row", func(ctx context.Context) (bool, error) {
				diffs, err := want.Compare(ctx, node, 1)
				if err == nil && len(diffs) > 0 {
					err = errors.New(diffs[0])
				}
				return err == nil, err
			})
		})
	}
}
