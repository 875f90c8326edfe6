package file_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	text = strings.Replace(text, "dir: data/shop}", "dir: data/shop, log: {memory: 1MiB, keep: 2GiB, fsync: always, keep_age: 2d}, max_atomic_rows: 7, min_replicas: 2, min_replicas_max_lag: \"${LAG}\", snapshot_memory: 0, full_sync_rate: 0, full_sync_min_rate: 2MiB, full_sync_slack: 90s, full_sync_log: 3GiB, max_atomic_bytes: \"${SIZE}\"}", 1)
	c, err := file.Parse("x.yaml", []byte(text), environment)
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "shop" || c.Source.MySQL.User != "rowfall" || c.Source.MySQL.Password != `p"w: #1` || c.Source.Start != "snapshot" {
		t.Errorf("source read as %+v", c.Source)
	}
	if c.Node.Log.Memory != 1<<20 || c.Node.Log.Keep != 2<<30 || c.Node.Log.Fsync != replog.Always || c.Node.MaxAtomicRows != 7 || c.Node.MaxAtomicBytes != 5<<20 ||
		c.Node.Log.KeepAge != 48*time.Hour || c.Node.MinReplicas != 2 || c.Node.MinReplicasMaxLag != 3*time.Second ||
		c.Node.FullSyncMinRate != 2<<20 || c.Node.FullSyncSlack != 90*time.Second || c.Node.FullSyncLog != 3<<30 {
		t.Errorf("node read as %+v", c.Node)
	}
	if len(c.Mapping.Tables) != 3 {
		t.Fatalf("%d tables, want 3", len(c.Mapping.Tables))
	}
	users := c.Mapping.Tables[1]
	if users.Pattern != "shop.users" || users.Line != 6 || users.Lines["where"] != 8 || users.Lines["columns.exclude"] != 10 || users.Lines["columns.add.name"] != 12 || users.Where != `status != "deleted"` || users.Columns.Rename["c"] != "d" || len(users.Columns.Add) != 1 {
		t.Errorf("users read as %+v", users)
	}
	if len(users.Write) != 3 || users.Write[1].Kind != transform.Set || users.Write[1].WhenNull != transform.NullSkip || users.Write[2].Score != "created_at" {
		t.Errorf("outputs read as %+v", users.Write)
	}
	if want := `tables."shop.users".write[1]`; users.Write[1].Path != want {
		t.Errorf("path %s, want %s", users.Write[1].Path, want)
	}
	if !c.Mapping.Tables[2].Ignore {
		t.Error("ignore was not read")
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
		if _, err := file.Parse(f, text, func(string) (string, bool) { return "secret", true }); err != nil {
			t.Error(err)
		}
	}
}

// Each fault says the line, the path, and what to do.
func TestParseFaults(t *testing.T) {
	for _, test := range []struct{ name, old, replacement, want string }{
		{"syntax", "tables:", "tables: [", ": not YAML: did not find expected"},
		{"empty", minimal, "", "want one YAML document"},
		{"two documents", minimal, minimal + "---\n" + minimal, "want one YAML document with a pipeline, found 2"},
		{"unknown key", "pipeline: shop", "pipeline: shop\nsinks: 1", "x.yaml:2: sinks: is not a key here; did you mean sink?"},
		{"unknown nested key", "user: rowfall", "usr: rowfall", "source.mysql.usr: is not a key here; did you mean user?"},
		{"no name", "pipeline: shop\n", "", "pipeline: is required"},
		{"bad name", "pipeline: shop", "pipeline: Shop!", "lower-case letters, digits and hyphens"},
		{"key given twice", "pipeline: shop", "pipeline: shop\npipeline: other", "x.yaml:2"},
		{"no environment", "${PW}", "${NOPE}", "the environment has no NOPE"},
		{"no end of variable", "${PW}", "${PW", "${ without }"},
		{"no such secret", "${PW}", "${file:no-such-file}", "no-such-file"},
		{"no addresses", "addresses: [127.0.0.1:3306], ", "", "source.mysql.addresses: is required"},
		{"bad address", "127.0.0.1:3306", "127.0.0.1", "want host:port"},
		{"address is no list", "[127.0.0.1:3306]", "127.0.0.1:3306", "want a list"},
		{"no user", "user: rowfall, ", "", "source.mysql.user: is required"},
		{"bad start", "user: rowfall", "user: rowfall, start: yesterday", "want snapshot, now, gtid:SET or FILE:OFFSET"},
		{"bad TLS mode", "user: rowfall", "user: rowfall, tls: {mode: yes}", "want disabled, preferred, required, verify-ca, verify-identity"},
		{"no source", "source:\n  mysql: {addresses: [127.0.0.1:3306], user: rowfall, password: \"${PW}\"}\n", "", "source.mysql: is required"},
		{"no tables", "tables:\n  \"shop.*\": {}\n", "", "tables: is required"},
		{"alias by accident", `"shop.*": {}`, `*.*: {}`, "x.yaml:5"},
		{"tag by accident", `"shop.*": {}`, "\"shop.*\":\n    where: !deleted", "! begins one"},
		{"mapping by accident", `"shop.*": {}`, `"shop.*": {write: [{set: s, member: {id}}]}`, "put the value in quotes"},
		{"two kinds", `"shop.*": {}`, `"shop.*": {write: [{set: s, hash: h}]}`, "exactly one of hash, json"},
		{"no kind", `"shop.*": {}`, `"shop.*": {write: [{member: s}]}`, "exactly one of hash, json"},
		{"member of a hash", `"shop.*": {}`, `"shop.*": {write: [{hash: h, member: m}]}`, "write[0].member: is not a key here"},
		{"later output", `"shop.*": {}`, `"shop.*": {write: [{list: l}]}`, "write[0].list: is not available in this version"},
		{"later option", `"shop.*": {}`, `"shop.*": {write: [{hash: h, ttl: 3d}]}`, "ttl: is not available in this version"},
		{"mask", `"shop.*": {}`, `"shop.*": {columns: {mask: {a: redact}}}`, "mask: is not available in this version"},
		{"later policy", `"shop.*": {}`, `"shop.*": {on_truncate: delete}`, "want stop"},
		{"later cascades", `"shop.*": {}`, `"shop.*": {cascades: reconcile}`, "cascades: reconcile is not available in this version yet; want stop or ignore"},
		{"where with nothing", `"shop.*": {}`, "\"shop.*\":\n    where:", "x.yaml:6: tables.\"shop.*\".where: is empty"},
		{"where with an empty variable", `"shop.*": {}`, `"shop.*": {where: "${EMPTY}"}`, "where: is empty"},
		{"key with nothing", `"shop.*": {}`, `"shop.*": {write: [{hash: }]}`, "write[0].hash: is empty"},
		{"member with nothing", `"shop.*": {}`, `"shop.*": {write: [{set: s, member: ""}]}`, "write[0].member: is empty"},
		{"new name with nothing", `"shop.*": {}`, `"shop.*": {columns: {rename: {a: }}}`, "columns.rename.a: is empty"},
		{"bad when_null", `"shop.*": {}`, `"shop.*": {write: [{hash: h, when_null: maybe}]}`, "want error, skip"},
		{"no node", "sink:\n  node: {listen: 127.0.0.1:6400, dir: data/shop}\n", "", "sink.node: is required"},
		{"other sink", "dir: data/shop}", "dir: data/shop}\n  redis: {addresses: [a]}", "sink.redis: is not available in this version"},
		{"no dir", ", dir: data/shop", "", "sink.node.dir: is required"},
		{"no listen", "listen: 127.0.0.1:6400, ", "", "sink.node.listen: is required"},
		{"bad size", "dir: data/shop", "dir: data/shop, log: {memory: lots}", "want a size such as 64MiB"},
		{"bad fsync", "dir: data/shop", "dir: data/shop, log: {fsync: sometimes}", "want always, everysec, no"},
		{"bad number", "dir: data/shop", "dir: data/shop, max_atomic_rows: 0", "want a whole number from 1"},
		{"pattern without a table", `"shop.*": {}`, `shop: {}`, "x.yaml:5: tables.shop: "},
		{"TLS without a key", "dir: data/shop", "dir: data/shop, tls: {cert: a.pem}", "sink.node.tls: want {cert: FILE, key: FILE}"},
		{"bad TLS mode of the master", "dir: data/shop", "dir: data/shop, master_tls: {mode: preferred}", "master_tls.mode: \"preferred\": want disabled, required, verify-ca, verify-identity"},
		{"half a certificate for the master", "dir: data/shop", "dir: data/shop, master_tls: {cert: a.pem}", "master_tls: want cert and key, or neither"},
		{"bad upstream", "dir: data/shop", "dir: data/shop, replicaof: localhost", "sink.node.replicaof: \"localhost\": want host:port"},
		{"bad version", "dir: data/shop", "dir: data/shop, assume_replicas: 5.0", "want 6.2, 7.0, 7.2, 7.4"},
		{"no slack", "dir: data/shop", "dir: data/shop, full_sync_slack: 10ms", "sink.node.full_sync_slack: 10ms: want at least 1s"},
		{"bad lag", "dir: data/shop", "dir: data/shop, min_replicas_max_lag: soon", "want a time such as 500ms"},
		{"shards", "dir: data/shop", "dir: data/shop, shards: 4", "more than one shard"},
		{"listen without a port", "127.0.0.1:6400", "foo", `x.yaml:7: sink.node.listen: "foo": want host:port`},
		{"listen at no port", "127.0.0.1:6400", "127.0.0.1:66400", `sink.node.listen: "127.0.0.1:66400": want host:port, with a port from 0 to 65535`},
		{"MySQL at no port", "[127.0.0.1:3306]", "[a:3306, b:x/y]", `x.yaml:3: source.mysql.addresses[1]: "b:x/y": want host:port, with a port from 0 to 65535, or the path of a socket`},
		{"its own upstream", "dir: data/shop", "dir: data/shop, replicaof: 127.0.0.1:6400", `sink.node.replicaof: "127.0.0.1:6400" is this node itself; give the address of another`},
		{"pattern with half a quote", `"shop.*"`, "\"`shop.*\"", "x.yaml:5: tables.\"`shop.*\": the entry \"`shop.*\" has a backquote without its end"},
		{"pattern unquoted to YAML", `"shop.*"`, "`a.b`.t", "x.yaml:5: tables: not YAML: found character that cannot start any token; quote it: \"`a.b`.t\""},
		{"template", `"shop.*": {}`, `"shop.*": {write: [{hash: "a:{id"}]}`, `x.yaml:5: tables."shop.*".write[0]: the template "a:{id" has a { without its }`},
		{"SQL in where", `"shop.*": {}`, "\"shop.*\":\n    where: a = 1 AND b <> 2", `x.yaml:6: tables."shop.*".where: in "a = 1 AND b <> 2": this is SQL; in an expression write == (not =), and (not AND), != (not <>)`},
		{"NULL in add", `"shop.*": {}`, "\"shop.*\":\n    columns:\n      add:\n        x: a is not null", `x.yaml:8: tables."shop.*".columns.add.x: in "a is not null": this is SQL; in an expression write != nil (not is not null)`},
		{"set without member", `"shop.*": {}`, `"shop.*": {write: [{set: s}]}`, `write[0]: a set output needs member`},
		{"$ in a template", `"shop.*": {}`, "\"shop.*\":\n    write:\n      - hash: user:${id}", `x.yaml:7: tables."shop.*".write[0].hash: the environment has no id; set it, or write the value here; for the column id write {id}, without the $`},
		{"$ in a member", `"shop.*": {}`, `"shop.*": {write: [{set: s, member: "${id}"}]}`, `write[0].member: the environment has no id; set it, or write the value here; for the column id write {id}, without the $`},
		{"$ in a condition", `"shop.*": {}`, `"shop.*": {where: "${id} == 1"}`, `for the column id write id, without the $`},
		{"tab", "  \"shop.*\": {}", "\t\"shop.*\": {}", "x.yaml:5: tables: a tab indents this line, and YAML takes spaces only; write spaces"},
		{"tab after spaces", `{}`, "\n  \twhere: a == b", `x.yaml:6: tables."shop.*": a tab indents this line`},
		{"tab further down", `{}`, "\n    where: a == b\n\tcascades: stop", `x.yaml:7: tables."shop.*".where: a tab indents this line`},
		{"comma in a condition", `"shop.*": {}`, `"shop.*": {where: max(a, b) > 1, ignore: false}`, `x.yaml:5: tables."shop.*".where: a comma ends a value inside { }; put the whole value in quotes`},
		{"comma in a password", `"${PW}"`, `p,w`, `x.yaml:3: source.mysql.password: a comma ends a value inside { }; put the whole value in quotes`},
		{"list in a condition", `"shop.*": {}`, `"shop.*": {where: a in [1, 2]}`, `x.yaml:5: tables: not YAML: did not find expected ',' or '}'; inside { } and [ ] a value ends at a comma, at a bracket and at a closing quote: put the whole value in quotes`},
		{"template in braces", `"shop.*": {}`, `"shop.*": {write: [{hash: user:{id}}]}`, `x.yaml:5: tables: not YAML: did not find expected ',' or '}'; inside { } and [ ] a value ends`},
		{"bad level", "pipeline: shop", "pipeline: shop\nlog: {level: loud}", "want trace, debug, info, warn, error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Replace(minimal, test.old, test.replacement, 1)
			if text == minimal {
				t.Fatal("the test changes nothing")
			}
			_, err := file.Parse("x.yaml", []byte(text), environment)
			if err == nil {
				t.Fatalf("no error for:\n%s", text)
			}
			var fault *file.Error
			if !errors.As(err, &fault) {
				t.Errorf("%T is no Error", err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error\n%v\nlacks %q", err, test.want)
			}
		})
	}
}

// What one mistake is must not hide what another is: "want exactly one of" was dropped behind any
// other fault, and of the mapping's faults the first alone was told.
func TestEveryFault(t *testing.T) {
	const text = `pipeline: shop
source:
  mysql: {addresses: [nowhere], user: rowfall}
tables:
  "shop.*": {write: [{member: s}, {hash: h, set: s}, text, {list: l}]}
  shop.t: {where: a = 1, write: [{hash: "a:{id"}, {set: s, member: ""}]}
  crm: {columns: {add: {x: max(a, b)}}}
sink:
  node: {listen: foo, dir: data/shop}
`
	_, err := file.Parse("x.yaml", []byte(text), environment)
	want := []string{
		`x.yaml:3: source.mysql.addresses[0]: "nowhere": want host:port, or the path of a socket`,
		`x.yaml:5: tables."shop.*".write[0]: want exactly one of hash, json, string, set, sorted_set`,
		`x.yaml:5: tables."shop.*".write[0].member: is not a key here`,
		`x.yaml:5: tables."shop.*".write[1]: want exactly one of hash, json, string, set, sorted_set`,
		`x.yaml:5: tables."shop.*".write[2]: want a mapping (name: value), found text`,
		`x.yaml:5: tables."shop.*".write[3].list: is not available in this version yet; remove it`,
		`x.yaml:6: tables."shop.t".write[1].member: is empty; write its value, or remove the key`,
		`x.yaml:6: tables."shop.t".where: in "a = 1": this is SQL; in an expression write == (not =) (at character 3 of the expression)`,
		`x.yaml:6: tables."shop.t".write[0]: the template "a:{id" has a { without its }; write {{ for a brace`,
		`x.yaml:7: tables.crm.columns.add.x: a comma ends a value inside { }; put the whole value in quotes`,
		`x.yaml:7: tables.crm: the entry "crm" names no table; write database.table, where * stands for any name`,
		`x.yaml:9: sink.node.listen: "foo": want host:port`,
	}
	if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", err, strings.Join(want, "\n"))
	}
}

// Files with certificates are checked before anything is opened, each fault with its line. Those of
// the upstream and of MySQL were not.
func TestLoadChecksFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.yaml")
	text := strings.Replace(minimal, "user: rowfall", "user: rowfall, tls: {ca: no-such-ca.pem}", 1)
	text = strings.Replace(text, `"${PW}"`, "secret", 1)
	text = strings.Replace(text, "sink:\n  node: {", "sink:\n  node: {\n    tls: {cert: "+path+", key: "+path+"},\n    master_tls: {ca: "+path+"}, ", 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := file.Load(path)
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	for i, want := range []string{":3: source.mysql.tls: read tls ca: open no-such-ca.pem", ":8: sink.node.tls: load certificate", ":9: sink.node.master_tls: load certificate authority " + path + ": no PEM"} {
		if len(lines) != 3 || !strings.HasPrefix(lines[i], path+want) {
			t.Errorf("got\n%v, want line %d to begin with %s", err, i, path+want)
		}
	}
	if _, err := file.Load(filepath.Join(dir, "none.yaml")); err == nil || err.Error() != filepath.Join(dir, "none.yaml")+": read pipeline file: no such file or directory" {
		t.Errorf("got %v", err)
	}
}

// A fault found while running has the same form as one found in the file.
func TestLocate(t *testing.T) {
	c, err := file.Parse("x.yaml", []byte(minimal), environment)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"sink.node.dir": "x.yaml:7: sink.node.dir: what", "sink.node.tls": "x.yaml:7: sink.node.tls: what",
		`tables."shop.*".where`: `x.yaml:5: tables."shop.*".where: what`, `tables."shop.x".write[1].set`: `x.yaml:4: tables."shop.x".write[1].set: what`,
		"elsewhere": "x.yaml: elsewhere: what",
	} {
		if got := c.Fault(path, "what").Error(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	fault := &transform.MappingError{Path: "tables.a", Line: 5, Message: "what"}
	if got := c.Locate(fmt.Errorf("read: %w", errors.Join(fault, fault))); got == nil || got.Error() != "x.yaml:5: tables.a: what\nx.yaml:5: tables.a: what" {
		t.Errorf("got %v", got)
	}
	if got := c.Locate(errors.New("other")); got != nil {
		t.Errorf("got %v", got)
	}
}

// The parser names neither the place in the file nor the quotes that are missing.
func TestUnquoted(t *testing.T) {
	const text = "pipeline: x\ntables:\n  # all: of them\n  shop.*: {}\n  NAME: {where: VALUE}\n"
	for _, test := range []struct{ name, value, want string }{
		{"*.*", "a", `x.yaml:5: tables: not YAML: did not find expected alphabetic or numeric character; quote it: "*.*"`},
		{"&x", "a", `x.yaml:5: tables: key "&x" is not plain text to YAML; quote it`},
		{"t.t", "*all", `x.yaml:5: tables: not YAML: unknown anchor 'all' referenced; quote it: "*all"`},
		{"t.t", "!deleted", `x.yaml:5: tables: not YAML: did not find expected whitespace or line break; quote text that begins with !`},
	} {
		_, err := file.Parse("x.yaml", []byte(strings.NewReplacer("NAME", test.name, "VALUE", test.value).Replace(text)), nil)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s, %s: error is\n%v, want\n%s", test.name, test.value, err, test.want)
		}
	}
	_, err := file.Parse("x.yaml", []byte("tables:\n  shop.t:\n    columns:\n      rename:\n        *a: b\n"), nil)
	if err == nil || !strings.HasPrefix(err.Error(), `x.yaml:5: tables."shop.t".columns.rename: not YAML: `) || !strings.HasSuffix(err.Error(), `quote it: "*a"`) {
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
	const same = `two.yaml:1: pipeline: "shop" stands in one.yaml, too; each pipeline needs its own
two.yaml:7: sink.node.dir: "data/shop" stands in one.yaml, too; each pipeline needs its own
two.yaml:7: sink.node.listen: "127.0.0.1:6400" stands in one.yaml, too; each pipeline needs its own`
	if err := file.CheckTogether([]*file.Config{one, &two}); err == nil || err.Error() != same {
		t.Errorf("all equal: %v", err)
	}
	two.Name, two.Node.Dir = "two", "data/../data/shop"
	if err := file.CheckTogether([]*file.Config{one, &two}); err == nil || !strings.Contains(err.Error(), "sink.node.dir") {
		t.Errorf("equal directories: %v", err)
	}
	two.Node.Dir, two.Node.Listen = "data/two", "127.0.0.1:6401"
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
