package transform_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
	"rowfall/transform"
)

const usersTable = "shop.users: id int unsigned pk; email varchar(80) u0; " +
	"name varchar(80) null; age int null; balance decimal(10,2); ratio double; " +
	"big bigint unsigned null; a varchar(9) u1; b varchar(9) u1;" +
	" born date null; at time; flags set('x','y'); blob1 blob; small tinyint; first varchar(9);" +
	" phone varchar(20) null u2; area int null u3; local int u3"

// compileUsers compiles an entry for usersTable.
func compileUsers(t *testing.T, entry string) (*transform.Plan, error) {
	t.Helper()
	return transform.Compile(parseMapping(t, "shop.users: "+entry), parseTable(t, usersTable))
}

// TestBadMappings has a line for each rule of the mapping, with a part of the message that a breach
// of the rule must cause.
func TestBadMappings(t *testing.T) {
	for _, c := range []struct{ name, mapping, path, message string }{
		{
			"unknown column in a key", `{write: [{hash: "u:{idd}"}]}`, "write[0].hash",
			`no column "idd" for the template "u:{idd}"; did you mean "id"?`,
		},
		{
			"new name in a key", `{columns: {rename: {id: nr}}, write: [{hash: "u:{nr}"}]}`,
			"write[0].hash", "columns.rename makes nr the name of the field alone: write id",
		},
		{
			"new name in where", `{columns: {rename: {age: years}}, where: years > 1}`, "where",
			`no column "years"; columns.rename makes years the name of the field alone: write age`,
		},
		{
			"new name as a key column", `{columns: {rename: {id: nr}}, key_columns: [nr]}`,
			"key_columns", "columns.rename makes nr the name of the field alone: write id",
		},
		{
			"part of a document in a key", `{write: [{hash: "u:{name.first}"}]}`, "write[0].hash",
			`only an expression reads a part of a JSON document: json(name, "$.first")`,
		},
		{
			"unknown filter", `{write: [{hash: "u:{id|hexx}"}]}`, "write[0].hash",
			`did you mean "hex"?`,
		},
		{
			"filter on a name", `{write: [{hash: "{table|hex}:{id}"}]}`, "write[0].hash",
			"takes no filter",
		},
		{"open brace", `{write: [{hash: "u:{id"}]}`, "write[0].hash", "{ without a }"},
		{"closing brace", `{write: [{hash: "u:{id}}"}]}`, "write[0].hash", "} without a {"},
		{
			"two expiries", `{write: [{hash: "u:{id}", ttl: 1d, expire_at: born}]}`, "write[0]",
			"ttl and expire_at exclude each other; remove one of them",
		},
		{
			"jitter without ttl", `{write: [{hash: "u:{id}", ttl_jitter: 10%}]}`, "write[0]",
			"ttl_jitter needs a ttl, which it shortens; add ttl, or remove ttl_jitter",
		},
		{
			"expire_at is no time", `{write: [{hash: "u:{id}", expire_at: email}]}`,
			"write[0].expire_at",
			`expire_at needs a time: a date, or a number of seconds since 1970; "email" is text`,
		},
		{
			"expire_at is TIME", `{write: [{hash: "u:{id}", expire_at: at}]}`, "write[0].expire_at",
			`"at" is a time`,
		},
		{
			"expire_at is unknown", `{write: [{hash: "u:{id}", expire_at: borne}]}`,
			"write[0].expire_at",
			`in "borne": shop.users has no column "borne"; did you mean "born"?`,
		},
		{
			"expire_at is excluded",
			`{columns: {exclude: [born]}, write: [{hash: "u:{id}", expire_at: born}]}`,
			"write[0].expire_at",
			"the column born is excluded and must not be published",
		},
		{
			"no unique key", `{write: [{hash: "u:{name}"}]}`, "write[0].hash",
			`must contain a primary or unique NOT NULL key of shop.users, ` +
				`so that each row has its own: (id) and (email) and (a, b); add it to the key, ` +
				`or let the row be a field`,
		},
		{
			"no unique key: shared", `{write: [{set: names, member: "{name}"}]}`, "write[0]",
			"or set shared: true if several rows may yield one member",
		},
		{
			"shared sorted set",
			`{write: [{sorted_set: x, member: "{name}", score: id, shared: true}]}`, "write[0]",
			"a sorted_set output cannot be shared: only the members of a set can",
		},
		{
			"shared with a ttl",
			`{write: [{set: x, member: "{name}", ttl: 1h, shared: true}]}`, "write[0]",
			"a shared output cannot have ttl or expire_at",
		},
		{
			"shared with a masked key",
			`{columns: {mask: {id: redact}}, write: [{set: x, member: "{name}", shared: true}]}`,
			"write[0]", "the texts of key columns of shop.users cannot be told apart",
		},
		{
			"shared field", `{write: [{hash: x, field: "{name}", shared: true}]}`, "write[0]",
			"a hash output cannot be shared",
		},
		{
			"shared string", `{write: [{string: "x:{name}", value: "1", shared: true}]}`,
			"write[0]", "a string output cannot be shared",
		},
		{
			"shared with an excluded key",
			`{columns: {exclude: [id]}, write: [{set: x, member: "{name}", shared: true}]}`,
			"write[0]", "a shared output stores the key of each row beside the data: " +
				"the column id is excluded",
		},
		{
			"nullable unique key", `{write: [{string: "p:{phone}", value: "{id}"}]}`,
			"write[0].string",
			`the key "p:{phone}" contains no primary or unique NOT NULL key of shop.users, ` +
				"and its unique key (phone) allows NULL in several rows; " +
				"add `when_null: skip` here to omit rows with NULL",
		},
		{
			"nullable unique key: error",
			`{write: [{string: "p:{phone}", value: "{id}", when_null: error}]}`, "write[0].string",
			"add `when_null: skip` here",
		},
		{
			"half a nullable unique key",
			`{write: [{string: "p:{local}", value: "{id}", when_null: skip}]}`, "write[0].string",
			"must contain a primary or unique NOT NULL key of shop.users",
		},
		{
			"nullable unique key in lower case",
			`{write: [{string: "p:{phone|lower}", value: "{id}", when_null: skip}]}`,
			"write[0].string",
			"a filter makes different keys",
		},
		{
			"nullable key_columns", `{key_columns: [phone]}`, "key_columns",
			"(phone) contains no primary or unique NOT NULL key of shop.users",
		},
		{"half a unique key", `{write: [{hash: "u:{a}"}]}`, "write[0].hash", "(a, b)"},
		{
			"parts run together", `{write: [{hash: "u:{a}{b}"}]}`, "write[0].hash",
			"the parts {a} and {b} have no text between them",
		},
		{
			"parts run together by a dash", `{write: [{hash: "u:{a}-{b}"}]}`, "write[0].hash",
			"put a : between them",
		},
		{
			"lower loses uniqueness", `{write: [{hash: "u:{email|lower}"}]}`, "write[0].hash",
			"a filter makes different keys",
		},
		{
			"reserved key", `{write: [{hash: "rowfall:{id}"}]}`, "write[0].hash",
			"is reserved for Rowfall",
		},
		{
			"uuid of text", `{write: [{hash: "u:{email|uuid}"}]}`, "write[0].hash",
			"takes 16 bytes of BINARY",
		},
		{"no kind", `{write: [{member: "{id}"}]}`, "write[0]", "names no kind"},
		{"set without member", `{write: [{set: x}]}`, "write[0]", "a set output needs member"},
		{
			"sorted set without score", `{write: [{sorted_set: x, member: "{id}"}]}`, "write[0]",
			"needs score",
		},
		{"string without value", `{write: [{string: "x:{id}"}]}`, "write[0]", "needs value"},
		{
			"hash with member", `{write: [{hash: "x:{id}", member: x}]}`, "write[0]",
			"a hash output has no member",
		},
		{
			"value without field", `{write: [{hash: "x:{id}", value: x}]}`, "write[0]",
			"value belongs to a hash with a field",
		},
		{
			"score of text", `{write: [{sorted_set: x, member: "{id}", score: email}]}`,
			"write[0].score",
			"a score needs a number or a date",
		},
		{
			"score of a time", `{write: [{sorted_set: x, member: "{id}", score: at}]}`,
			"write[0].score",
			"a score needs a number or a date",
		},
		{
			"where of a hash", `{write: [{hash: "x:{id}", where: id > 1}]}`, "write[0]",
			"a hash output has no where",
		},
		{
			"where of a text", `{write: [{list: x, value: "{id}", where: email}]}`,
			"write[0].where", "where needs a condition, true or false for every change",
		},
		{
			"where of an unknown column", `{write: [{stream: x, where: emial != old.email}]}`,
			"write[0].where", `did you mean "email"?`,
		},
		{
			"old in where of a table", `{where: small != old.small}`, "where",
			"which only the setting where of a list, stream or publish output has",
		},
		{"exclude", `{columns: {exclude: [emial]}}`, "columns.exclude", `did you mean "email"?`},
		{"include", `{columns: {include: [nme]}}`, "columns.include", `did you mean "name"?`},
		{"rename", `{columns: {rename: {nme: n}}}`, "columns.rename", `did you mean "name"?`},
		{
			"rename onto another", `{columns: {rename: {name: email}}}`, "columns.rename",
			`would both be the field "email"`,
		},
		{
			"rename to nothing", `{columns: {rename: {name: ""}}}`, "columns.rename.name",
			"the new name of name is empty",
		},
		{
			"add onto a column", `{columns: {add: {name: "email"}}}`, "columns.add.name",
			"already has a field",
		},
		{
			"nothing left", `{columns: {include: [name], exclude: [name]}}`, "columns",
			"no column of shop.users is left",
		},
		{
			"excluded in a key", `{columns: {exclude: [email]}, write: [{hash: "u:{email}"}]}`,
			"write[0].hash", "is excluded and must not be published",
		},
		{
			"excluded in add", `{columns: {exclude: [email], add: {x: upper(email)}}}`,
			"columns.add.x", "is excluded and must not be published",
		},
		{
			"excluded score",
			`{columns: {exclude: [small]}, write: [{sorted_set: x, member: "{id}", score: small}]}`,
			"write[0].score", "is excluded and must not be published",
		},
		{"key_columns unknown", `{key_columns: [idd]}`, "key_columns", `did you mean "id"?`},
		{
			"key_columns not unique", `{key_columns: [name]}`, "key_columns",
			"contains no primary or unique NOT NULL key of shop.users; its keys are (id)",
		},
		{"key_columns twice", `{key_columns: [id, id]}`, "key_columns", "is listed twice"},
		{"where is no condition", `{where: small}`, "where", "where needs a condition"},
		{
			"where may be nil", `{where: 'name == nil ? nil : true'}`, "where",
			"where needs a condition",
		},
		{
			"where syntax", `{where: 'id = 1'}`, "where",
			`in "id = 1": this is SQL; in an expression write == (not =) (at character 4 of the ` +
				`expression)`,
		},
		{
			"where with a word of SQL", `{where: 'id == 1 AND name IS NULL'}`, "where",
			"write and (not AND), == nil (not IS NULL)",
		},
		{"add syntax", `{columns: {add: {x: "id <> 1"}}}`, "columns.add.x", "write != (not <>)"},
		{
			"where unknown column", `{where: 'id > 1 and naem != "x"'}`, "where",
			`did you mean "name"? (at character 12 of the expression)`,
		},
		{
			"long template", `{write: [{hash: "u:{id}` + strings.Repeat("x", 1024) + `"}]}`,
			"write[0].hash", "is longer than 1024 bytes",
		},
		{
			"mask of no column", `{columns: {mask: {emial: redact}}}`, "columns.mask.emial",
			`did you mean "email"?`,
		},
		{
			"masked key", `{columns: {mask: {id: redact}}}`, "",
			`in the key "{table}:{pk...}" the column id is masked or cut`,
		},
		{
			"cut key", `{columns: {max_bytes: {email: 3}, too_long: truncate}, ` +
				`write: [{set: x, member: "{email}"}]}`, "write[0]", "email is masked or cut",
		},
		{
			"masked score",
			`{columns: {mask: {small: sha256}}, ` +
				`write: [{sorted_set: x, member: "{id}", score: small}]}`,
			"write[0].score", "a score needs a number or a date",
		},
		{
			"masked number", `{columns: {mask: {small: sha256}, add: {x: small + 1}}}`,
			"columns.add.x", "do not fit together",
		},
		{
			"limit of no column", `{columns: {max_bytes: {nme: 1}}}`, "columns.max_bytes.nme",
			`did you mean "name"?`,
		},
		{
			"limit of a number", `{columns: {max_bytes: {small: 1}}}`, "columns.max_bytes.small",
			"max_bytes is for text, bytes, JSON and vectors",
		},
		{"add always nil", `{columns: {add: {x: nil}}}`, "columns.add.x", "always nil"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := compileUsers(t, c.mapping)
			var e *transform.MappingError
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			path := strings.TrimSuffix(`tables."shop.users".`+c.path, ".")
			if !strings.Contains(e.Message, c.message) || e.Path != path || e.Line != 1 {
				t.Errorf("got line %d, path %s:\n%s\nwant %s", e.Line, e.Path, e.Message, c.message)
			}
		})
	}
}

// Compile reports every fault of an entry at once, but not those that follow from another fault: if
// key_columns is wrong, {pk...} cannot be checked.
func TestEveryFaultOfAnEntry(t *testing.T) {
	for _, c := range []struct {
		mapping string
		want    []string
	}{
		{
			`{where: "id = 1", columns: {exclude: [emial], include: [nme], rename: {agee: a}, ` +
				`add: {x: upper(nam), y: 1 + "a"}}, write: [{hash: "u:{idd}"}, {set: s}]}`,
			[]string{
				`"emial"`, `"agee"`, `"nme"`, `"nam"`, "do not fit together", "== (not =)",
				`"idd"`, "needs member",
			},
		},
		{`{key_columns: [idd], write: [{hash: "{pk...}"}]}`, []string{`"idd"`}},
		{`{columns: {include: [nme]}}`, []string{`"nme"`}},
		{
			`{write: [{hash: "x:{id}", member: x, score: age}, {sorted_set: "y:{id}"}]}`,
			[]string{
				"a hash output has no member", "a hash output has no score",
				"a sorted_set output needs member", "a sorted_set output needs score",
			},
		},
		{
			`{columns: {include: [name], exclude: [name]}, where: small}`,
			[]string{"no column of shop.users is left", "where needs a condition"},
		},
	} {
		_, err := compileUsers(t, c.mapping)
		faults := transform.MappingErrors(fmt.Errorf("wrapped: %w", err))
		if len(faults) != len(c.want) {
			t.Errorf("%s: %d faults, want %d:\n%v", c.mapping, len(faults), len(c.want), err)
			continue
		}
		for i, f := range faults {
			if !strings.Contains(f.Message, c.want[i]) {
				t.Errorf("%s: fault %d is %v, want %s", c.mapping, i, f, c.want[i])
			}
		}
	}
}

// Faults that show without a schema are found by Validate, each with its place.
func TestValidate(t *testing.T) {
	for _, c := range []struct {
		mapping string
		want    []string
	}{
		{
			`shop: {}`,
			[]string{`line 1: tables."shop": the entry "shop" names no table; ` +
				`write database.table, where * matches any name`},
		},
		{`"shop.": {}`, []string{"names no table"}},
		{
			"\"`shop.t\": {}",
			[]string{"has no closing backquote; add it, or write `` in backquotes for one " +
				"backquote"},
		},
		{
			`MySQL.user: {}`,
			[]string{"MySQL is a system schema and is never mapped; remove the entry"},
		},
		{
			"{shop.t: {}, \"`shop`.`t`\": {}}",
			[]string{"line 2: tables.\"`shop`.`t`\": the entry \"`shop`.`t`\" names the same " +
				"tables as \"shop.t\" on line 1; merge the two"},
		},
		{`shop.t: {where: "a = 1", columns: {add: {x: "b AND c"}}, write: [{hash: "u:{id"}, ` +
			`{set: s}, {string: "x:{id|hexx}", value: "}"}]}`, []string{
			`tables."shop.t".where: in "a = 1": this is SQL`,
			`tables."shop.t".columns.add.x: in "b AND c": this is SQL`,
			`tables."shop.t".write[0].hash: the template "u:{id" has a { without a }`,
			`tables."shop.t".write[1]: a set output needs member`,
			`tables."shop.t".write[2].string: the template "x:{id|hexx}" has no filter "hexx"; ` +
				`did you mean "hex"?`,
			`tables."shop.t".write[2].value: the template "}" has a } without a {`,
		}},
		{`{a: {}, b: {}}`, []string{`"a" names no table`, `"b" names no table`}},
		{
			"{shop.t: {ignore: true, where: '='}, \"`bb.dot`.t\": {where: nope == 1, " +
				"write: [{sorted_set: s, member: x, score: two words}]}}",
			nil,
		},
	} {
		faults := parseMapping(t, c.mapping).Validate()
		if len(faults) != len(c.want) {
			t.Errorf("%s: got %v, want %d", c.mapping, faults, len(c.want))
			continue
		}
		for i, f := range faults {
			if !strings.Contains(f.Error(), c.want[i]) {
				t.Errorf("%s: fault %d is\n%v, want\n%s", c.mapping, i, f, c.want[i])
			}
		}
	}
}

// A wildcard skips helper tables of a schema change, and SkipReason reports why. Users took such a
// table for mapped.
func TestSkipReason(t *testing.T) {
	m := parseMapping(t, `
"shop.*": {}
shop._x_new: {}
shop._y_new: {ignore: true}
"*._z_new": {}
`)
	for table, want := range map[string]string{
		"shop._users_new": "its name matches _*_new, as the helper tables of schema changes do",
		"shop._vt_HOLD_1": "its name matches _vt_*",
		"shop._users_gho": "add an entry for its full name",
		"shop.users":      "", "shop._x_new": "", "shop._y_new": "", "shop._z_new": "",
		"other._users_new": "", "mysql._users_new": "",
	} {
		database, name, _ := strings.Cut(table, ".")
		got := m.SkipReason(database, name)
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", table, got, want)
		}
		rule, err := m.Rule(database, name)
		if err != nil || want != "" && rule != nil {
			t.Errorf("%s is mapped and has a reason to be skipped (%v)", table, err)
		}
	}
}

func TestGoodMappings(t *testing.T) {
	for _, mapping := range []string{
		`{write: [{hash: "u:{email}"}]}`,
		`{write: [{hash: "u:{a}:{b}"}]}`,
		`{write: [{hash: "u:{a|hex}-{b|hex}"}]}`,
		`{write: [{hash: "u:{name}:{id}"}], columns: {include: [age]}}`,
		`{write: [{hash: "{{u:{id}}}:x"}]}`,
		`{write: [{hash: "u:{id|upper}"}]}`,
		`{write: [{set: "u:{name}", member: "{id}", when_null: skip}, {set: "u2", ` +
			`member: "{name}:{id}"}]}`,
		`{write: [{hash: "u:{a}", field: "{b}"}]}`,
		`{write: [{sorted_set: "u", member: "{id}", score: "first == 'x' ? 1 : 2.5"}, ` +
			`{sorted_set: "v", member: "{id}", score: born}]}`,
		`{where: "age == nil or (age ?? 0) > 17", columns: {exclude: [age]}}`,
		`{key_columns: [email], write: [{hash: "{pk...}"}]}`,
		`{where: '"x" in flags and small in 1..3 and first in ["a", "b"]'}`,
	} {
		if p, err := compileUsers(t, mapping); err != nil || p == nil {
			t.Errorf("%s: %v", mapping, err)
		}
	}
}

func TestTablesWithoutKey(t *testing.T) {
	keyless := parseTable(t, "shop.log: at datetime; text varchar(9) null")
	var nm *transform.NotMappedError
	p, err := transform.Compile(parseMapping(t, `"shop.*": {}`), keyless)
	if p != nil || !errors.As(err, &nm) || nm.Table != "shop.log" {
		t.Errorf("wildcard: %v, %v", p, err)
	}
	var e *transform.MappingError
	const want = "name the columns that identify a row in key_columns"
	_, err = transform.Compile(parseMapping(t, `shop.log: {}`), keyless)
	if !errors.As(err, &e) || !strings.Contains(e.Message, want) {
		t.Errorf("entry: %v", err)
	}
	_, err = transform.Compile(parseMapping(t, `shop.log: {key_columns: [at]}`), keyless)
	if err != nil {
		t.Errorf("key_columns: %v", err)
	}
}

// A wildcard skips a table whose rows cannot be followed, such as a sequence. An entry for one such
// table is an error.
func TestTablesNotFollowed(t *testing.T) {
	sequence := parseTable(t, "shop.seq: next_not_cached_value bigint pk")
	sequence.NotFollowed = "it is a sequence"
	var nm *transform.NotMappedError
	p, err := transform.Compile(parseMapping(t, `"shop.*": {}`), sequence)
	if p != nil || !errors.As(err, &nm) || nm.Reason != sequence.NotFollowed {
		t.Errorf("wildcard: %v, %v", p, err)
	}
	var e *transform.MappingError
	_, err = transform.Compile(parseMapping(t, `shop.seq: {}`), sequence)
	if !errors.As(err, &e) || !strings.Contains(e.Message, "it is a sequence") {
		t.Errorf("entry: %v", err)
	}
}

func TestConflicts(t *testing.T) {
	const (
		users  = "shop.users: id int pk; name varchar(9) u0"
		orders = "shop.orders: id int pk; code varchar(9) u0"
	)
	for _, c := range []struct{ name, mapping, other, message string }{
		{"defaults", `"*.*": {}`, orders, ""},
		{
			"equal names in two databases", `"*.*": {}`, "test.users: id int pk",
			"put {database} into the key",
		},
		{
			"databases in the key", `"*.*": {write: [{hash: "{database}:{table}:{pk...}"}]}`,
			"test.users: id int pk", "",
		},
		{
			"one prefix", `"*.*": {write: [{hash: "x:{id}"}]}`, orders,
			"give one of them its own prefix",
		},
		{
			"text may be anything",
			`{shop.users: {write: [{hash: "user:{name}"}]}, shop.orders: ` +
				`{write: [{hash: "user:orders:{id}"}]}}`,
			orders,
			`the key "user:orders:{id}" of shop.orders could equal the key "user:{name}" of ` +
				`shop.users`,
		},
		{
			"a number is digits",
			`{shop.users: {write: [{hash: "user:{id}"}]}, shop.orders: ` +
				`{write: [{hash: "user:orders:{id}"}]}}`,
			orders, "",
		},
		{
			"one table", `shop.users: {write: [{hash: "user:{id}"}, {json: "user:{id}"}]}`, orders,
			"could equal",
		},
		{
			"one set",
			`{shop.users: {write: [{set: all, member: "u{id}"}]}, shop.orders: {write: [{set: ` +
				`all, member: "o{id}"}]}}`,
			orders, "",
		},
		{
			"one set, equal members",
			`{shop.users: {write: [{set: all, member: "{id}"}]}, shop.orders: {write: [{set: ` +
				`all, member: "{id}"}]}}`,
			orders, `could equal "{id}" in it`,
		},
		{
			"one shared set, equal members",
			`"shop.*": {write: [{set: all, member: "{id}", shared: true}, {set: all, member: x, ` +
				`shared: true}]}`,
			orders, "",
		},
		{
			"a shared set and one that is not",
			`{shop.users: {write: [{set: all, member: "{id}", shared: true}]}, shop.orders: ` +
				`{write: [{set: all, member: "o{id}"}]}}`,
			orders, "only one of the two is shared; set shared: true for both",
		},
		{
			"a shared set and a hash",
			`{shop.users: {write: [{set: all, member: "{id}", shared: true}]}, shop.orders: ` +
				`{write: [{hash: all, field: "{id}"}]}}`,
			orders, "could equal the key",
		},
		{
			"two kinds",
			`{shop.users: {write: [{set: all, member: "u{id}"}]}, shop.orders: ` +
				`{write: [{sorted_set: all, member: "o{id}", score: id}]}}`,
			orders, "could equal the key",
		},
		{
			"a hash and its field",
			`{shop.users: {write: [{hash: "u:{id}"}]}, shop.orders: {write: [{hash: "u:{id}", ` +
				`field: "{code}"}]}}`,
			orders, "could equal the key",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := parseMapping(t, c.mapping)
			var plans []*transform.Plan
			for _, table := range []string{users, c.other} {
				p, err := transform.Compile(m, parseTable(t, table))
				if err != nil {
					t.Fatal(err)
				}
				if p != nil {
					plans = append(plans, p)
				}
			}
			err := transform.Conflicts(plans)
			if c.message == "" && err != nil ||
				c.message != "" && (err == nil || !strings.Contains(err.Error(), c.message)) {
				t.Errorf("got %v, want %q", err, c.message)
			}
		})
	}
}

// Conflicts reports each output that collides with an earlier one, once.
func TestEveryConflict(t *testing.T) {
	m := parseMapping(t, `shop.users: {write: [
		{hash: "a:{id}"}, {json: "a:{id}"}, {json: "b:{id}"},
		{string: "b:{id}", value: x}, {string: "b:{id}", value: y}]}`)
	p, err := transform.Compile(m, parseTable(t, "shop.users: id int pk"))
	if err != nil {
		t.Fatal(err)
	}
	faults := transform.MappingErrors(transform.Conflicts([]*transform.Plan{p}))
	if len(faults) != 3 || !strings.HasSuffix(faults[2].Path, "write[4]") {
		t.Errorf("got %v", faults)
	}
}

func TestRule(t *testing.T) {
	m := parseMapping(t, `
"*.*": {columns: {exclude: [secret]}}
"shop.*": {where: "true", columns: {exclude: [token]}}
"shop.user*": {columns: {rename: {a: b}}}
shop.users: {columns: {exclude: [password]}}
"*.*_log": {ignore: true}
shop._x_new: {}
"blog.a*": {}
"blog.*z": {}
mysql.user: {}
`)
	for _, c := range []struct{ table, pattern, exclude, err string }{
		{"crm.x", "*.*", "secret", ""},
		{"shop.orders", "shop.*", "token secret", ""},
		{"shop.user_tags", "shop.user*", "secret token", ""},
		{"shop.users", "shop.users", "password secret token", ""},
		{"shop.audit_log", "", "", ""},
		{"shop._x_new", "shop._x_new", "", ""},
		{"shop._users_gho", "", "", ""},
		{"shop._users_del", "", "", ""},
		{"shop._vt_HOLD_1", "", "", ""},
		{"mysql.user", "", "", ""},
		{"information_schema.tables", "", "", ""},
		{"sys.x", "", "", ""},
		{
			"blog.abz", "", "",
			`matches "blog.a*" and "blog.*z" (line 8) and neither is more specific; ` +
				`add an entry "blog.abz"`,
		},
	} {
		database, name, _ := strings.Cut(c.table, ".")
		r, err := m.Rule(database, name)
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: got %v, want %s", c.table, err, c.err)
			}
		case err != nil:
			t.Errorf("%s: %v", c.table, err)
		case c.pattern == "":
			if r != nil {
				t.Errorf("%s: mapped by %s", c.table, r.Pattern)
			}
		case r == nil || r.Pattern != c.pattern ||
			strings.Join(r.Columns.Exclude, " ") != c.exclude:
			t.Errorf("%s: got %+v, want %s excluding %s", c.table, r, c.pattern, c.exclude)
		}
	}
	if faults := m.Validate(); len(faults) != 1 ||
		!strings.Contains(faults[0].Message, "is never mapped") {
		t.Errorf("validate: %v", faults)
	}
}

// A hint about a name with a dot has backquotes. The hint used to repeat the text that had failed.
func TestDottedNames(t *testing.T) {
	m := parseMapping(
		t,
		"{\"`bb.dot`.*\": {}, \"`bb.`*.*\": {columns: {exclude: [x]}}, \"`bb.dot`.u*\": {}, "+
			"\"*.?s\": {}}",
	)
	r, err := m.Rule("bb.dot", "t")
	if err != nil || r == nil || r.Pattern != "`bb.dot`.*" || !r.Wildcard ||
		!slices.Equal(r.Columns.Exclude, []string{"x"}) {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err := m.Rule("bb", "dot.t"); r != nil || err != nil {
		t.Errorf("got %+v, %v", r, err)
	}
	_, err = m.Rule("bb.dot", "us")
	if err == nil || !strings.Contains(err.Error(), "add an entry \"`bb.dot`.us\"") {
		t.Errorf("got %v", err)
	}
	tables := []*binlog.Table{
		{Database: "bb.dot", Name: "t"},
		{Database: "bb.dot", Name: "users"},
		{Database: "bb", Name: "dott"},
		{Database: "a*", Name: "t"},
	}
	for pattern, want := range map[string]string{
		"bb.dot.t":       "the server has no table bb.dot.t; did you mean \"`bb.dot`.t\"?",
		"bb.dot.usrs":    "did you mean \"`bb.dot`.users\"?",
		"\"`bb.dot`.t\"": "", "\"`a*`.t\"": "",
	} {
		missing, _ := parseMapping(t, pattern+": {}").UnknownNames(tables)
		if (len(missing) == 0) != (want == "") ||
			len(missing) > 0 && !strings.Contains(missing[0].Message, want) {
			t.Errorf("%s: got %v, want %s", pattern, missing, want)
		}
	}
}

func TestUnknownNames(t *testing.T) {
	m := parseMapping(t, `
"shop.*": {columns: {exclude: [emial, id], rename: {nme: n}}}
shop.usrs: {}
shop.users: {columns: {exclude: [never_checked_here]}}
"crm.*": {columns: {exclude: [nothing_there_yet]}}
`)
	var got []string
	missing, columns := m.UnknownNames([]*binlog.Table{parseTable(t, usersTable)})
	for _, e := range append(columns, missing...) {
		got = append(got, e.Error())
	}
	want := []string{
		`line 1: tables."shop.*".columns.exclude: no table that matches "shop.*" has a column ` +
			`"emial"; did you mean "email"?`,
		`line 1: tables."shop.*".columns.rename: no table that matches "shop.*" has a column ` +
			`"nme"; did you mean "name"?`,
		`line 2: tables."shop.usrs": the server has no table shop.usrs; did you mean "shop.users"?`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
