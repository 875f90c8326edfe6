package file_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rowfall/pipelines/file"
	"rowfall/replication/replog"
	"rowfall/transform"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const minimal = `pipeline: shop
source:
  mysql: {addresses: [127.0.0.1:3306], user: rowfall, password: "${PW}"}
tables:
  "shop.*": {}
sink:
  node: {listen: 127.0.0.1:6400, dir: data/shop}
`

func environment(name string) (string, bool) {
	v, ok := map[string]string{"PW": `p"w: #1`, "EMPTY": "", "LAG": "3s", "SIZE": "5MiB"}[name]
	return v, ok
}

func TestParse(t *testing.T) {
	text := strings.Replace(minimal, `"shop.*": {}`, `"shop.*": {}
  shop.users:
    key_columns: [id]
    where: status != "deleted"
    columns:
      exclude: [a, b]
      rename: {c: d}
      add: {name: x + y}
    write:
      - hash: user:{id}
      - set: by:{country}
        member: "{id}"
        when_null: skip
      - sorted_set: signup
        member: "{id}"
        score: created_at
  shop.log: {ignore: true}`, 1)
	text = strings.Replace(text, "dir: data/shop}", "dir: data/shop, "+
		"log: {memory: 1MiB, keep: 2GiB, fsync: always, keep_age: 2d}, "+
		"max_atomic_rows: 7, max_atomic_bytes: \"${SIZE}\", "+
		"min_replicas: 2, min_replicas_max_lag: \"${LAG}\", snapshot_memory: 0, "+
		"full_sync_rate: 0, full_sync_min_rate: 2MiB, full_sync_slack: 90s, "+
		"full_sync_log: 3GiB}", 1)
	c, err := file.Parse("x.yaml", []byte(text), environment)
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "shop" || c.Source.MySQL.User != "rowfall" ||
		c.Source.MySQL.Password != `p"w: #1` || c.Source.Start != "snapshot" {
		t.Errorf("source read as %+v", c.Source)
	}
	if want := (file.Limits{MaxAtomicRows: 7, MaxAtomicBytes: 5 << 20}); c.Limits != want {
		t.Errorf("limits read as %+v", c.Limits)
	}
	node := c.Sink.Node
	wantLog := replog.Config{
		Memory: 1 << 20, Keep: 2 << 30, KeepAge: 48 * time.Hour, Fsync: replog.Always,
	}
	if node.Log != wantLog || node.MinReplicas != 2 || node.MinReplicasMaxLag != 3*time.Second ||
		node.FullSyncMinRate != 2<<20 || node.FullSyncSlack != 90*time.Second ||
		node.FullSyncLog != 3<<30 {
		t.Errorf("node read as %+v", node)
	}
	if len(c.Mapping.Tables) != 3 {
		t.Fatalf("%d tables, want 3", len(c.Mapping.Tables))
	}
	users := c.Mapping.Tables[1]
	if users.Pattern != "shop.users" || users.Line != 6 || users.Lines["where"] != 8 ||
		users.Lines["columns.exclude"] != 10 || users.Lines["columns.add.name"] != 12 ||
		users.Where != `status != "deleted"` || users.Columns.Rename["c"] != "d" ||
		len(users.Columns.Add) != 1 {
		t.Errorf("users read as %+v", users)
	}
	if len(users.Write) != 3 || users.Write[1].Kind != transform.Set ||
		users.Write[1].WhenNull != transform.NullSkip || users.Write[2].Score != "created_at" {
		t.Errorf("outputs read as %+v", users.Write)
	}
	if want := `tables."shop.users".write[1]`; users.Write[1].Path != want {
		t.Errorf("path %s, want %s", users.Write[1].Path, want)
	}
	if !c.Mapping.Tables[2].Ignore {
		t.Error("ignore was not read")
	}
}

// The limits of load are read, and none is the default.
func TestPauseAbove(t *testing.T) {
	for text, want := range map[string]file.PauseAbove{
		"{}": {},
		"{pause_above: {threads_running: 0, replica_lag: 0s}}": {},
		"{pause_above: {threads_running: 20, replica_lag: 2s}}": {
			ThreadsRunning: 20, ReplicaLag: 2 * time.Second,
		},
	} {
		text = strings.Replace(minimal, "source:", "source:\n  backfill: "+text, 1)
		c, err := file.Parse("x.yaml", []byte(text), environment)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Source.Backfill.PauseAbove; got != want {
			t.Errorf("read %+v, want %+v", got, want)
		}
	}
}

func TestParseShipped(t *testing.T) {
	files, err := filepath.Glob("../shop/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("found %q, %v", files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		lookup := func(string) (string, bool) { return "secret", true }
		if _, err := file.Parse(f, text, lookup); err != nil {
			t.Error(err)
		}
	}
}

// Files with certificates are checked before anything is opened, and each fault has its line. The
// files of master_tls and of source.mysql.tls were not checked. Faults of the text hide none of
// them.
func TestLoadChecksFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.yaml")
	text := strings.Replace(minimal, "user: rowfall", "user: rowfall, tls: {ca: no-such-ca.pem}", 1)
	text = strings.Replace(text, `"${PW}"`, "secret", 1)
	text = strings.Replace(text, "sink:\n  node: {", "sink:\n  node: {\n"+
		"    tls: {cert: "+path+", key: "+path+"},\n    master_tls: {ca: "+path+"}, ", 1)
	text = strings.Replace(text, `"shop.*": {}`, `"shop.*": {write: [{hash: "a:{id"}]}`, 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := file.Load(path)
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	for i, want := range []string{
		":3: source.mysql.tls: load certificate authority: open no-such-ca.pem",
		`:5: tables."shop.*".write[0].hash: the template "a:{id" has a {`,
		":8: sink.node.tls: load certificate",
		":9: sink.node.master_tls: load certificate authority " + path + ": no PEM",
	} {
		if len(lines) != 4 || !strings.HasPrefix(lines[i], path+want) {
			t.Errorf("got\n%v, want line %d to begin with %s", err, i, path+want)
		}
	}
	none := filepath.Join(dir, "none.yaml")
	_, err = file.Load(none)
	if err == nil || err.Error() != none+": read pipeline file: no such file or directory" {
		t.Errorf("got %v", err)
	}
}

// A fault that is found at run time has the same form as a fault of the file.
func TestLocate(t *testing.T) {
	c, err := file.Parse("x.yaml", []byte(minimal), environment)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"sink.node.dir":                "x.yaml:7: sink.node.dir: what",
		"sink.node.tls":                "x.yaml:7: sink.node.tls: what",
		`tables."shop.*".where`:        `x.yaml:5: tables."shop.*".where: what`,
		`tables."shop.x".write[1].set`: `x.yaml:4: tables."shop.x".write[1].set: what`,
		"elsewhere":                    "x.yaml: elsewhere: what",
	} {
		if got := c.Fault(path, "what").Error(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	fault := &transform.MappingError{Path: "tables.a", Line: 5, Message: "what"}
	got := c.Locate(fmt.Errorf("read: %w", errors.Join(fault, fault)))
	if got == nil || got.Error() != "x.yaml:5: tables.a: what\nx.yaml:5: tables.a: what" {
		t.Errorf("got %v", got)
	}
	if got := c.Locate(errors.New("other")); got != nil {
		t.Errorf("got %v", got)
	}
}

// The YAML library's errors contain neither the path nor the missing quotes. Rowfall adds them.
func TestUnquoted(t *testing.T) {
	const text = "pipeline: x\ntables:\n  # all: of them\n  shop.*: {}\n  NAME: {where: VALUE}\n"
	for _, test := range []struct{ name, value, want string }{
		{
			"*.*", "a",
			`x.yaml:5: tables: not YAML: did not find expected alphabetic or numeric ` +
				`character; quote it: "*.*"`,
		},
		{"&x", "a", `x.yaml:5: tables: key "&x" is not plain text to YAML; quote it`},
		{
			"t.t", "*all",
			`x.yaml:5: tables: not YAML: unknown anchor 'all' referenced; quote it: "*all"`,
		},
		{
			"t.t", "!deleted",
			`x.yaml:5: tables: not YAML: did not find expected whitespace or line break; quote ` +
				`text that begins with !`,
		},
	} {
		edited := strings.NewReplacer("NAME", test.name, "VALUE", test.value).Replace(text)
		_, err := file.Parse("x.yaml", []byte(edited), nil)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s, %s: error is\n%v, want\n%s", test.name, test.value, err, test.want)
		}
	}
	const alias = "tables:\n  shop.t:\n    columns:\n      rename:\n        *a: b\n"
	_, err := file.Parse("x.yaml", []byte(alias), nil)
	if err == nil || !strings.HasSuffix(err.Error(), `quote it: "*a"`) ||
		!strings.HasPrefix(err.Error(), `x.yaml:5: tables."shop.t".columns.rename: not YAML: `) {
		t.Errorf("error is %v", err)
	}
}

func TestCheckTogether(t *testing.T) {
	one, err := file.Parse("one.yaml", []byte(minimal), environment)
	if err != nil {
		t.Fatal(err)
	}
	two := *one
	two.Path = "two.yaml"
	const same = `two.yaml:1: pipeline: "shop" is in one.yaml, too; each pipeline needs its own
two.yaml:7: sink.node.dir: "data/shop" is in one.yaml, too; each pipeline needs its own
two.yaml:7: sink.node.listen: "127.0.0.1:6400" is in one.yaml, too; each pipeline needs its own`
	if err := file.CheckTogether([]*file.Config{one, &two}); err == nil || err.Error() != same {
		t.Errorf("all equal: %v", err)
	}
	two.Name, two.Sink.Node.Dir = "two", "data/../data/shop"
	err = file.CheckTogether([]*file.Config{one, &two})
	if err == nil || !strings.Contains(err.Error(), "sink.node.dir") {
		t.Errorf("equal directories: %v", err)
	}
	two.Sink.Node.Dir, two.Sink.Node.Listen = "data/two", "127.0.0.1:6401"
	if err := file.CheckTogether([]*file.Config{one, &two}); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(minimal)
	shop, err := os.ReadFile("../shop/shop.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(shop))
	f.Add("a: &x [*x]")
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = file.Parse("x.yaml", []byte(text), environment)
	})
}

// The passwords of connections are read again from their files. A value without a file is constant.
func TestPasswordFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one\n")
	const text = `pipeline: shop
source: {mysql: {addresses: [db:3306], user: u, password: "PASSWORD"}}
tables: {"shop.*": {}}
sink: {node: {listen: 127.0.0.1:6400, dir: d, master_password: "PASSWORD"}}
`
	environment := func(name string) (string, bool) { return "x", name == "NAME" }
	parse := func(password string) *file.Config {
		t.Helper()
		edited := strings.ReplaceAll(text, "PASSWORD", password)
		c, err := file.Parse("x.yaml", []byte(edited), environment)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := parse("${NAME}")
	if c.Source.MySQL.Password != "x" || c.Source.MySQL.ReadPassword != nil ||
		c.Sink.Node.MasterPassword != "x" || c.Sink.Node.ReadMasterPassword != nil {
		t.Errorf("a variable: %+v", c.Source.MySQL)
	}
	c = parse("${NAME}-${file:" + path + "}")
	if c.Source.MySQL.Password != "x-one" || c.Sink.Node.MasterPassword != "x-one" {
		t.Errorf("the passwords are %q, %q", c.Source.MySQL.Password, c.Sink.Node.MasterPassword)
	}
	write("two\r\n")
	readers := []func() (string, error){c.Source.MySQL.ReadPassword, c.Sink.Node.ReadMasterPassword}
	for _, read := range readers {
		if got, err := read(); got != "x-two" || err != nil {
			t.Errorf("later the password is %q, %v", got, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for _, read := range readers {
		if _, err := read(); err == nil || !strings.Contains(err.Error(), "${file:"+path+"}") ||
			strings.Contains(err.Error(), "two") {
			t.Errorf("without the file: %v", err)
		}
	}
}
