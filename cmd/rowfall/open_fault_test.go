package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/pipelines"
	"rowfall/pipelines/file"
)

// An address or a directory that a node cannot use is reported with the setting that names it, of
// the pipeline file or of the command line.
func TestOpenFault(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	dir := t.TempDir()
	notDir := filepath.Join(dir, "file")
	must(t, os.WriteFile(notDir, nil, 0o600))
	for _, test := range []struct{ name, listen, dir, path, flag string }{
		{
			"address in use", l.Addr().String(), dir,
			"x.yaml:6: sink.node.listen: open node: listen tcp ",
			"--listen: open node: listen tcp ",
		},
		{
			"no directory", "127.0.0.1:0", notDir,
			"x.yaml:7: sink.node.dir: open node: lock directory",
			"--dir: open node: lock directory",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := "pipeline: shop\nsource: {mysql: {addresses: [127.0.0.1:1], user: u}}\n" +
				"tables: {\"shop.*\": {}}\nsink:\n  node:\n" +
				"    listen: " + test.listen + "\n    dir: " + test.dir + "\n"
			c, err := file.Parse("x.yaml", []byte(text), os.LookupEnv)
			must(t, err)
			_, err = pipelines.Open(*c, "", zerolog.Nop())
			if err == nil {
				t.Fatal("the node was opened")
			}
			if err = openFault(c, err); !strings.HasPrefix(err.Error(), test.path) {
				t.Errorf("got %v, want %s", err, test.path)
			}
			f := parseNodeFlags(t, "--listen", test.listen, "--dir", test.dir)
			err = runNode(t.Context(), &logFlags{}, f)
			if err == nil || !strings.HasPrefix(err.Error(), test.flag) {
				t.Errorf("got %v, want %s", err, test.flag)
			}
		})
	}
}
