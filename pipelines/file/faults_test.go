package file_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"rowfall/pipelines/file"
)

// Each fault has its line, its path and a remedy.
func TestParseFaults(t *testing.T) {
	for _, test := range []struct{ name, old, replacement, want string }{
		{"syntax", "tables:", "tables: [", ": not YAML: did not find expected"},
		{"empty", minimal, "", "want one YAML document"},
		{
			"two documents", minimal, minimal + "---\n" + minimal,
			"want one YAML document with a pipeline, found 2",
		},
		{
			"unknown key", "pipeline: shop", "pipeline: shop\nsinks: 1",
			"x.yaml:2: sinks: is not a key here; did you mean sink?",
		},
		{
			"unknown nested key", "user: rowfall", "usr: rowfall",
			"source.mysql.usr: is not a key here; did you mean user?",
		},
		{"no name", "pipeline: shop\n", "", "pipeline: is required"},
		{"bad name", "pipeline: shop", "pipeline: Shop!", "lower-case letters, digits and hyphens"},
		{
			"key given twice", "pipeline: shop", "pipeline: shop\npipeline: other",
			"x.yaml:2: pipeline: is given twice, first on line 1; merge the two",
		},
		{"no environment", "${PW}", "${NOPE}", "the environment has no NOPE"},
		{"no end of variable", "${PW}", "${PW", "${ without }"},
		{"no such secret", "${PW}", "${file:no-such-file}", "no-such-file"},
		{
			"no addresses", "addresses: [127.0.0.1:3306], ", "",
			"source.mysql.addresses: is required",
		},
		{
			"host and port", "addresses: [127.0.0.1:3306]", "host: 127.0.0.1, port: 3306",
			"source.mysql.host: is not a key here; write addresses: [HOST:PORT]",
		},
		{
			"other name of a password", "password:", "passwd:",
			"source.mysql.passwd: is not a key here; write password",
		},
		{
			"other name of listen", "listen: 127", "bind: 127",
			"sink.node.bind: is not a key here; write listen: HOST:PORT",
		},
		{
			"server to read from", "user: rowfall", "user: rowfall, read_from: [b:1, a]",
			`source.mysql.read_from[1]: "a": want host:port, or the path of a socket`,
		},
		{
			"lag below a second", "source:",
			"source:\n  backfill: {pause_above: {replica_lag: 500ms}}",
			`x.yaml:3: source.backfill.pause_above.replica_lag: "500ms": want at least 1s`,
		},
		{
			"threads below 0", "source:",
			"source:\n  backfill: {pause_above: {threads_running: -1}}",
			`source.backfill.pause_above.threads_running: "-1": want a whole number from 0`,
		},
		{
			"limit of nothing", "source:", "source:\n  backfill: {pause_above: {threads: 1}}",
			"source.backfill.pause_above.threads: is not a key here",
		},
		{"bad address", "127.0.0.1:3306", "127.0.0.1", "want host:port"},
		{
			"address is no list", "[127.0.0.1:3306]", "127.0.0.1:3306",
			"source.mysql.addresses: want a list, found text; write [127.0.0.1:3306]",
		},
		{
			"write without -", `"shop.*": {}`, "\"shop.*\":\n    write:\n      hash: h",
			`x.yaml:7: tables."shop.*".write: want a list, found a mapping; put "- " before ` +
				`the first key of each item`,
		},
		{
			"write without brackets", `"shop.*": {}`, `"shop.*": {write: {hash: h}}`,
			`tables."shop.*".write: want a list, found a mapping; put [ ] around it: [{...}]`,
		},
		{"no user", "user: rowfall, ", "", "source.mysql.user: is required"},
		{
			"bad start", "user: rowfall", "user: rowfall, start: yesterday",
			"want snapshot, now, gtid:SET, FILE:OFFSET or time:2026-11-28T10:00:00Z",
		},
		{
			"bad TLS mode", "user: rowfall", "user: rowfall, tls: {mode: yes}",
			"want disabled, preferred, required, verify-ca, verify-identity",
		},
		{
			"no source",
			"source:\n  mysql: {addresses: [127.0.0.1:3306], user: rowfall, password: \"${PW}\"}\n",
			"", "source.mysql: is required",
		},
		{"no tables", "tables:\n  \"shop.*\": {}\n", "", "tables: is required"},
		{"alias by accident", `"shop.*": {}`, `*.*: {}`, "x.yaml:5"},
		{"tag by accident", `"shop.*": {}`, "\"shop.*\":\n    where: !deleted", "! begins one"},
		{
			"mapping by accident", `"shop.*": {}`, `"shop.*": {write: [{set: s, member: {id}}]}`,
			"put the value in quotes",
		},
		{
			"two kinds", `"shop.*": {}`, `"shop.*": {write: [{set: s, hash: h}]}`,
			"exactly one of hash, json",
		},
		{
			"no kind", `"shop.*": {}`, `"shop.*": {write: [{member: s}]}`,
			"exactly one of hash, json",
		},
		{
			"member of a hash", `"shop.*": {}`, `"shop.*": {write: [{hash: h, member: m}]}`,
			"write[0].member: is not a key here",
		},
		{
			"a list has no ttl", `"shop.*": {}`, `"shop.*": {write: [{list: l, ttl: 3d}]}`,
			"write[0].ttl: is not a key here",
		},
		{
			"list without a value", `"shop.*": {}`, `"shop.*": {write: [{list: l}]}`,
			`x.yaml:5: tables."shop.*".write[0]: a list output needs value`,
		},
		{
			"empty list", `"shop.*": {}`, `"shop.*": {write: [{list: l, value: v, max_len: 0}]}`,
			`x.yaml:5: tables."shop.*".write[0].max_len: "0": want a whole number above 0; ` +
				`remove max_len to keep every entry`,
		},
		{
			"length is no number", `"shop.*": {}`, `"shop.*": {write: [{stream: s, max_len: 5k}]}`,
			`write[0].max_len: "5k": want a whole number above 0`,
		},
		{
			"length is a list", `"shop.*": {}`, `"shop.*": {write: [{stream: s, max_len: [5]}]}`,
			`write[0].max_len: want text, found a list`,
		},
		{
			"no end of a list", `"shop.*": {}`,
			`"shop.*": {write: [{list: l, value: v, push: up}]}`,
			`x.yaml:5: tables."shop.*".write[0].push: "up": want right, left`,
		},
		{
			"snapshot is no boolean", `"shop.*": {}`,
			`"shop.*": {write: [{stream: s, snapshot: 1}]}`,
			`x.yaml:5: tables."shop.*".write[0].snapshot: want true or false`,
		},
		{
			"no message", `"shop.*": {}`, `"shop.*": {write: [{publish: c}]}`,
			`x.yaml:5: tables."shop.*".write[0]: a publish output needs message`,
		},
		{
			"value of a stream", `"shop.*": {}`, `"shop.*": {write: [{stream: s, value: v}]}`,
			`x.yaml:5: tables."shop.*".write[0].value: is not a key here`,
		},
		{
			"channel with a snapshot", `"shop.*": {}`,
			`"shop.*": {write: [{publish: c, message: m, snapshot: true}]}`,
			`x.yaml:5: tables."shop.*".write[0].snapshot: is not a key here`,
		},
		{
			"later option", `"shop.*": {}`, `"shop.*": {write: [{json: h, nest: {}}]}`,
			"nest: is not available in this version",
		},
		{
			"ttl without a unit", `"shop.*": {}`, `"shop.*": {write: [{hash: "h:{id}", ttl: 30}]}`,
			`write[0].ttl: "30": want a time with its unit such as 30d, 12h`,
		},
		{
			"ttl of nothing", `"shop.*": {}`, `"shop.*": {write: [{hash: "h:{id}", ttl: 0s}]}`,
			`write[0].ttl: "0s": want at least 1ms; without ttl a key does not expire`,
		},
		{
			"jitter without %", `"shop.*": {}`,
			`"shop.*": {write: [{hash: "h:{id}", ttl: 3d, ttl_jitter: 10}]}`,
			`write[0].ttl_jitter: "10": want a whole percentage from 0% to 100%, such as 10%`,
		},
		{
			"jitter beyond the ttl", `"shop.*": {}`,
			`"shop.*": {write: [{hash: "h:{id}", ttl: 3d, ttl_jitter: 101%}]}`,
			`write[0].ttl_jitter: "101%": want a whole percentage`,
		},
		{
			"jitter without ttl", `"shop.*": {}`,
			`"shop.*": {write: [{hash: "h:{id}", ttl_jitter: 10%}]}`,
			`write[0]: ttl_jitter needs a ttl`,
		},
		{
			"expire_at in braces", `"shop.*": {}`,
			`"shop.*": {write: [{hash: "h:{id}", expire_at: {ends}}]}`, `write[0].expire_at: `,
		},
		{
			"syntax of expire_at", `"shop.*": {}`,
			`"shop.*": {write: [{hash: "h:{id}", expire_at: "ends +"}]}`,
			`write[0].expire_at: in "ends +": `,
		},
		{
			"mask", `"shop.*": {}`, `"shop.*": {columns: {mask: {a: hide}}}`,
			`x.yaml:5: tables."shop.*".columns.mask.a: "hide": want sha256, redact or truncate:N`,
		},
		{
			"mask without a salt", `"shop.*": {}`, `"shop.*": {columns: {mask: {a: sha256}}}`,
			"columns.mask.a: sha256 needs a secret salt: write salt: ${VARIABLE}",
		},
		{
			"template in add", `"shop.*": {}`, `"shop.*": {columns: {add: {b: "{name}"}}}`,
			`names a column without braces: write name, not "{name}"`,
		},
		{"empty salt", "pipeline: shop", "pipeline: shop\nsalt: ''", "salt: is empty"},
		{
			"max_bytes", `"shop.*": {}`, `"shop.*": {columns: {max_bytes: {a: 0}}}`,
			"columns.max_bytes.a: \"0\": want a size above 0",
		},
		{
			"too_long", `"shop.*": {}`, `"shop.*": {columns: {max_bytes: {a: 1}, too_long: cut}}`,
			"want quarantine, truncate, omit, dead_letter, stop",
		},
		{
			"too_long alone", `"shop.*": {}`, `"shop.*": {columns: {too_long: omit}}`,
			"too_long: has no effect without max_bytes",
		},
		{
			"shared hash", `"shop.*": {}`, `"shop.*": {write: [{hash: h, field: f, shared: true}]}`,
			"write[0]: a hash output cannot be shared",
		},
		{
			"shared is no word", `"shop.*": {}`,
			`"shop.*": {write: [{set: s, member: m, shared: rows}]}`, "write[0].shared: ",
		},
		{
			"bad policy", `"shop.*": {}`, `"shop.*": {on_truncate: remove}`,
			"want delete, ignore, stop",
		},
		{
			"on_error", `"shop.*": {}`, `"shop.*": {on_error: ignore}`,
			"want quarantine, dead_letter, stop",
		},
		{
			"bad cascades", `"shop.*": {}`, `"shop.*": {cascades: later}`,
			"want stop, reconcile, ignore",
		},
		{
			"where with nothing", `"shop.*": {}`, "\"shop.*\":\n    where:",
			"x.yaml:6: tables.\"shop.*\".where: is empty",
		},
		{
			"where with an empty variable", `"shop.*": {}`, `"shop.*": {where: "${EMPTY}"}`,
			"where: is empty",
		},
		{
			"key with nothing", `"shop.*": {}`, `"shop.*": {write: [{hash: }]}`,
			"write[0].hash: is empty",
		},
		{
			"member with nothing", `"shop.*": {}`, `"shop.*": {write: [{set: s, member: ""}]}`,
			"write[0].member: is empty",
		},
		{
			"new name with nothing", `"shop.*": {}`, `"shop.*": {columns: {rename: {a: }}}`,
			"columns.rename.a: is empty",
		},
		{
			"bad when_null", `"shop.*": {}`, `"shop.*": {write: [{hash: h, when_null: maybe}]}`,
			"want error, skip",
		},
		{
			"no node", "sink:\n  node: {listen: 127.0.0.1:6400, dir: data/shop}\n", "",
			"sink.node: is required",
		},
		{
			"other sink", "dir: data/shop}", "dir: data/shop}\n  redis: {addresses: [a]}",
			"sink.redis: is not available in this version",
		},
		{"no dir", ", dir: data/shop", "", "sink.node.dir: is required"},
		{"no listen", "listen: 127.0.0.1:6400, ", "", "sink.node.listen: is required"},
		{
			"bad size", "dir: data/shop", "dir: data/shop, log: {memory: lots}",
			"want a size such as 64MiB",
		},
		{
			"bad fsync", "dir: data/shop", "dir: data/shop, log: {fsync: sometimes}",
			"want always, everysec, no",
		},
		{
			"bad number", "dir: data/shop", "dir: data/shop, max_atomic_rows: 0",
			"want a whole number from 1",
		},
		{"pattern without a table", `"shop.*": {}`, `shop: {}`, "x.yaml:5: tables.shop: "},
		{
			"TLS without a key", "dir: data/shop", "dir: data/shop, tls: {cert: a.pem}",
			"sink.node.tls.key: is required with a certificate",
		},
		{
			"bad TLS mode of the master", "dir: data/shop",
			"dir: data/shop, master_tls: {mode: preferred}",
			"master_tls.mode: \"preferred\": want disabled, required, verify-ca, verify-identity",
		},
		{
			"half a certificate for the master", "dir: data/shop",
			"dir: data/shop, master_tls: {cert: a.pem}",
			"x.yaml:7: sink.node.master_tls.key: is required with a certificate",
		},
		{
			"bad upstream", "dir: data/shop", "dir: data/shop, replicaof: localhost",
			"sink.node.replicaof: \"localhost\": want host:port",
		},
		{
			"bad version", "dir: data/shop", "dir: data/shop, assume_replicas: 5.0",
			`assume_replicas: "5.0": want a version such as 6.2 or 7.0, and at least 6.2`,
		},
		{
			"no slack", "dir: data/shop", "dir: data/shop, full_sync_slack: 10ms",
			`sink.node.full_sync_slack: "10ms": want at least 1s`,
		},
		{
			"bad lag", "dir: data/shop", "dir: data/shop, min_replicas_max_lag: soon",
			"want a time such as 500ms",
		},
		{"shards", "dir: data/shop", "dir: data/shop, shards: 4", "more than one shard"},
		{
			"listen without a port", "127.0.0.1:6400", "foo",
			`x.yaml:7: sink.node.listen: "foo": want host:port`,
		},
		{
			"listen at no port", "127.0.0.1:6400", "127.0.0.1:66400",
			`sink.node.listen: "127.0.0.1:66400": want host:port, with a port from 0 to 65535`,
		},
		{
			"MySQL at no port", "[127.0.0.1:3306]", "[a:3306, b:x/y]",
			`x.yaml:3: source.mysql.addresses[1]: "b:x/y": want host:port, with a port from 0 ` +
				`to 65535, or the path of a socket`,
		},
		{
			"its own upstream", "dir: data/shop", "dir: data/shop, replicaof: 127.0.0.1:6400",
			`sink.node.replicaof: "127.0.0.1:6400" is this node itself; give the address of ` +
				`another`,
		},
		{
			"pattern with half a quote", `"shop.*"`, "\"`shop.*\"",
			"x.yaml:5: tables.\"`shop.*\": the entry \"`shop.*\" has no closing backquote",
		},
		{
			"pattern unquoted to YAML", `"shop.*"`, "`a.b`.t",
			"x.yaml:5: tables: not YAML: found character that cannot start any token; quote " +
				"it: \"`a.b`.t\"",
		},
		{
			"template", `"shop.*": {}`, `"shop.*": {write: [{hash: "a:{id"}]}`,
			`x.yaml:5: tables."shop.*".write[0].hash: the template "a:{id" has a { without a }`,
		},
		{
			"json_native", `"shop.*": {}`, "\"shop.*\":\n    write:\n" +
				"      - json: a:{id}\n        json_native: true",
			`x.yaml:8: tables."shop.*".write[0].json_native: needs ` + "`sink: redis`, because a " +
				"node cannot hold values of modules in its snapshot; remove it, and the " +
				"document is a string",
		},
		{
			"json_native of another kind", `"shop.*": {}`,
			`"shop.*": {write: [{hash: "a:{id}", json_native: true}]}`,
			`x.yaml:5: tables."shop.*".write[0].json_native: is not a key here`,
		},
		{
			"template without a name", `"shop.*": {}`, `"shop.*": {write: [{hash: "a:{}{id}"}]}`,
			`x.yaml:5: tables."shop.*".write[0].hash: the template "a:{}{id}" has braces ` +
				`without a name`,
		},
		{
			"score", `"shop.*": {}`, "\"shop.*\":\n    write:\n" +
				"      - sorted_set: s\n        member: \"{id}\"\n        score: max(a, b",
			`x.yaml:9: tables."shop.*".write[0].score: in "max(a, b": unexpected token EOF`,
		},
		{
			"SQL in a score", `"shop.*": {}`, "\"shop.*\":\n    write:\n" +
				"      - sorted_set: s\n        member: \"{id}\"\n" +
				"        score: ifnull(a, b)) or c",
			`score: in "ifnull(a, b)) or c": this is SQL; in an expression write x ?? other`,
		},
		{
			"SQL in where", `"shop.*": {}`, "\"shop.*\":\n    where: a = 1 AND b <> 2",
			`x.yaml:6: tables."shop.*".where: in "a = 1 AND b <> 2": this is SQL; in an ` +
				`expression write == (not =), and (not AND), != (not <>)`,
		},
		{
			"NULL in add", `"shop.*": {}`,
			"\"shop.*\":\n    columns:\n      add:\n        x: a is not null",
			`x.yaml:8: tables."shop.*".columns.add.x: in "a is not null": this is SQL; in an ` +
				`expression write != nil (not is not null)`,
		},
		{
			"set without member", `"shop.*": {}`, `"shop.*": {write: [{set: s}]}`,
			`write[0]: a set output needs member`,
		},
		{
			"$ in a template", `"shop.*": {}`, "\"shop.*\":\n    write:\n      - hash: user:${id}",
			`x.yaml:7: tables."shop.*".write[0].hash: the environment has no id; set it, or ` +
				`write the value here; for the column id write {id}, without the $`,
		},
		{
			"$ in a member", `"shop.*": {}`, `"shop.*": {write: [{set: s, member: "${id}"}]}`,
			`write[0].member: the environment has no id; set it, or write the value here; for ` +
				`the column id write {id}, without the $`,
		},
		{
			"$ in a condition", `"shop.*": {}`, `"shop.*": {where: "${id} == 1"}`,
			`for the column id write id, without the $`,
		},
		{
			"tab", "  \"shop.*\": {}", "\t\"shop.*\": {}",
			"x.yaml:5: tables: a tab indents this line, and YAML takes spaces only; write spaces",
		},
		{
			"tab after spaces", `{}`, "\n  \twhere: a == b",
			`x.yaml:6: tables."shop.*": a tab indents this line`,
		},
		{
			"tab further down", `{}`, "\n    where: a == b\n\tcascades: stop",
			`x.yaml:7: tables."shop.*".where: a tab indents this line`,
		},
		{
			"comma in a condition", `"shop.*": {}`,
			`"shop.*": {where: max(a, b) > 1, ignore: false}`,
			`x.yaml:5: tables."shop.*".where: a comma ends a value inside { }; put the whole ` +
				`value in quotes`,
		},
		{
			"comma in a password", `"${PW}"`, `p,w`,
			`x.yaml:3: source.mysql.password: a comma ends a value inside { }; put the whole ` +
				`value in quotes`,
		},
		{
			"list in a condition", `"shop.*": {}`, `"shop.*": {where: a in [1, 2]}`,
			`x.yaml:5: tables: not YAML: did not find expected ',' or '}'; inside { } and [ ] ` +
				`a value ends at a comma, at a bracket and at a closing quote: put the whole ` +
				`value ` +
				`in quotes`,
		},
		{
			"template in braces", `"shop.*": {}`, `"shop.*": {write: [{hash: user:{id}}]}`,
			`x.yaml:5: tables: not YAML: did not find expected ',' or '}'; inside { } and [ ] ` +
				`a value ends`,
		},
		{
			"bad level", "pipeline: shop", "pipeline: shop\nlog: {level: loud}",
			"want trace, debug, info, warn, error",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Replace(minimal, test.old, test.replacement, 1)
			if text == minimal {
				t.Fatal("the replacement changes nothing")
			}
			_, err := file.Parse("x.yaml", []byte(text), environment)
			if err == nil {
				t.Fatalf("no error for:\n%s", text)
			}
			var fault *file.Error
			if !errors.As(err, &fault) {
				t.Errorf("%T is not an Error", err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error\n%v\nlacks %q", err, test.want)
			}
		})
	}
}

// The YAML library reports a missing quote at the end of the file, or at the next quote.
func TestQuoteFaults(t *testing.T) {
	const unclosed = "has no closing quote; add one"
	for _, test := range []struct{ name, tables, want string }{
		{
			"in a block", "  shop.t:\n    where: 'a\n  shop.u: {}\n",
			`x.yaml:6: tables."shop.t": not YAML: the quoted value of where ` + unclosed,
		},
		{
			"in braces", "  shop.t: {where: \"a}\n  shop.u: {}\n",
			"x.yaml:5: tables: not YAML: the quoted value of where " + unclosed,
		},
		{
			"before another value in quotes", "  shop.t:\n    where: \"a\n    cascades: \"stop\"\n",
			`x.yaml:6: tables."shop.t": not YAML: the quoted value of where ` + unclosed,
		},
		{
			"of a table", "  shop.t: {where: a != 'x'}\n  'shop.u: {}\n",
			"x.yaml:6: tables: not YAML: a quoted text " + unclosed,
		},
		{
			"behind text that has quotes and is none",
			"  shop.t:\n    where: |\n      'a\n    # don't\n    cascades: \"it's\n",
			`x.yaml:9: tables."shop.t": not YAML: the quoted value of cascades ` + unclosed,
		},
		{
			"text behind it", "  shop.t:\n    where: \"a\" > b\n",
			`x.yaml:6: tables."shop.t": not YAML: the quoted value of where is followed ` +
				`by text; put the whole value in ' '`,
		},
		{
			"over two lines, then another fault",
			"  shop.t:\n    where: \"a\n      == b\"\n    cascades: [stop\n",
			`x.yaml:8: tables."shop.t": not YAML: did not find expected ',' or ']'`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Replace(minimal, "  \"shop.*\": {}\n", test.tables, 1)
			_, err := file.Parse("x.yaml", []byte(text), environment)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got\n%v\nwant\n%s", err, test.want)
			}
		})
	}
}

// A salt that is rejected is one fault: that a mask has no salt is a consequence.
func TestMissingSalt(t *testing.T) {
	text := "salt: ${SHOP_SALT}\n" + strings.Replace(minimal, `"shop.*": {}`,
		`"shop.*": {columns: {mask: {a: sha256}}}`, 1)
	_, err := file.Parse("x.yaml", []byte(text), environment)
	const want = `x.yaml:1: salt: the environment has no SHOP_SALT; set it, or write the value here`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// An entry that is given twice is one fault, on its own line. It was two, and the second named the
// line of the entry itself as that of the other.
func TestEntryTwice(t *testing.T) {
	text := strings.Replace(minimal, "  \"shop.*\": {}\n",
		"  shop.t: {where: a == 1}\n  shop.u: {}\n  shop.t: {where: b == 1}\n", 1)
	_, err := file.Parse("x.yaml", []byte(text), environment)
	const want = `x.yaml:7: tables."shop.t": is given twice, first on line 5; merge the two`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// No fault hides another. "want exactly one of" was omitted after any other fault, and only the
// first fault of the mapping was reported.
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
		`x.yaml:5: tables."shop.*".write[0]: want exactly one of hash, json, ` +
			`string, set, sorted_set, list, stream, publish`,
		`x.yaml:5: tables."shop.*".write[0].member: is not a key here`,
		`x.yaml:5: tables."shop.*".write[1]: want exactly one of hash, json, ` +
			`string, set, sorted_set, list, stream, publish`,
		`x.yaml:5: tables."shop.*".write[2]: want a mapping (name: value), found text`,
		`x.yaml:5: tables."shop.*".write[3]: a list output needs value`,
		`x.yaml:6: tables."shop.t".write[1].member: is empty; write its value, or remove the key`,
		`x.yaml:6: tables."shop.t".where: in "a = 1": this is SQL; in an expression ` +
			`write == (not =) (at character 3 of the expression)`,
		`x.yaml:6: tables."shop.t".write[0].hash: the template "a:{id" has a { without a }; ` +
			`write {{ for a brace`,
		`x.yaml:7: tables.crm.columns.add.x: a comma ends a value inside { }; ` +
			`put the whole value in quotes`,
		`x.yaml:7: tables.crm: the entry "crm" names no table; write database.table, ` +
			`where * matches any name`,
		`x.yaml:9: sink.node.listen: "foo": want host:port`,
	}
	if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", err, strings.Join(want, "\n"))
	}
}
