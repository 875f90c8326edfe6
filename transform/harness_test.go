package transform_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"rowfall/binlog"
	"rowfall/replication/resp"
	"rowfall/transform"
)

var sqlTypes = map[string]binlog.Type{
	"tinyint":   binlog.TypeTinyInt,
	"smallint":  binlog.TypeSmallInt,
	"int":       binlog.TypeInt,
	"bigint":    binlog.TypeBigInt,
	"decimal":   binlog.TypeDecimal,
	"float":     binlog.TypeFloat,
	"double":    binlog.TypeDouble,
	"bit":       binlog.TypeBit,
	"year":      binlog.TypeYear,
	"date":      binlog.TypeDate,
	"time":      binlog.TypeTime,
	"datetime":  binlog.TypeDatetime,
	"timestamp": binlog.TypeTimestamp,
	"char":      binlog.TypeChar,
	"varchar":   binlog.TypeVarchar,
	"text":      binlog.TypeText,
	"binary":    binlog.TypeBinary,
	"varbinary": binlog.TypeVarbinary,
	"blob":      binlog.TypeBlob,
	"enum":      binlog.TypeEnum,
	"set":       binlog.TypeSet,
	"json":      binlog.TypeJSON,
}

// parseTable parses "shop.users: id int unsigned pk; name varchar(80) null". The words after a type
// are unsigned, null, invisible, pk, and uN for a column of unique key N, which counts as one with
// NULLs if a column is null.
func parseTable(t testing.TB, text string) *binlog.Table {
	t.Helper()
	full, columns, ok := strings.Cut(text, ":")
	database, name, ok2 := strings.Cut(strings.TrimSpace(full), ".")
	if !ok || !ok2 {
		t.Fatalf("table %q", text)
	}
	out := &binlog.Table{Database: database, Name: name}
	for i, def := range strings.Split(columns, ";") {
		words := strings.Fields(def)
		base, length, _ := strings.Cut(words[1], "(")
		c := binlog.Column{Name: words[0], SQLType: words[1], Type: sqlTypes[base]}
		if c.Type == binlog.TypeInvalid {
			t.Fatalf("type %q", words[1])
		}
		// Both numbers are optional.
		_, _ = fmt.Sscanf(length, "%d,%d", &c.Length, &c.Decimals)
		if c.Type == binlog.TypeSet || c.Type == binlog.TypeEnum {
			c.Values = strings.Split(strings.NewReplacer("'", "", ")", "").Replace(length), ",")
		}
		for _, w := range words[2:] {
			switch w {
			case "unsigned":
				c.Unsigned = true
				c.SQLType += " unsigned"
			case "null":
				c.Nullable = true
			case "invisible":
				c.Invisible = true
			case "pk":
				out.Primary = append(out.Primary, i)
			default:
				n, err := strconv.Atoi(strings.TrimPrefix(w, "u"))
				if err != nil {
					t.Fatalf("word %q", w)
				}
				for len(out.Unique) <= n {
					out.Unique = append(out.Unique, nil)
				}
				out.Unique[n] = append(out.Unique[n], i)
			}
		}
		out.Columns = append(out.Columns, c)
	}
	isNullable := func(key []int) bool {
		return slices.ContainsFunc(key, func(i int) bool { return out.Columns[i].Nullable })
	}
	for _, key := range out.Unique {
		if isNullable(key) {
			out.NullableUnique = append(out.NullableUnique, key)
		}
	}
	out.Unique = slices.DeleteFunc(out.Unique, isNullable)
	return out
}

var outputKinds = map[string]transform.OutputKind{
	"hash":       transform.Hash,
	"json":       transform.JSON,
	"string":     transform.String,
	"set":        transform.Set,
	"sorted_set": transform.SortedSet,
	"list":       transform.List,
	"stream":     transform.Stream,
	"publish":    transform.Publish,
}

// testSalt is the salt of every mapping of parseMapping.
const testSalt = "pepper"

// parseMapping parses the tables section of a pipeline file. Entry i is at line i+1.
func parseMapping(t testing.TB, text string) *transform.Mapping {
	t.Helper()
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil || len(document.Content) != 1 {
		t.Fatalf("mapping: %v\n%s", err, text)
	}
	tables := slice(ordered(t, document.Content[0]))
	m := &transform.Mapping{
		FieldExpiry: "rowfall:state:test:field_expiry", Salt: testSalt,
	}
	for _, entry := range tables {
		r := transform.TableRule{
			Pattern: entry.Key.(string),
			Path:    fmt.Sprintf("tables.%q", entry.Key), Line: len(m.Tables) + 1,
		}
		for _, kv := range slice(entry.Value) {
			switch kv.Key {
			case "ignore":
				r.Ignore = kv.Value.(bool)
			case "on_error":
				r.OnError = map[string]transform.OnError{
					"dead_letter": transform.DeadLetter, "stop": transform.StopAtError,
				}[kv.Value.(string)]
			case "where":
				r.Where = kv.Value.(string)
			case "key_columns":
				r.KeyColumns = texts(kv.Value)
			case "columns":
				parseColumns(t, &r.Columns, slice(kv.Value))
			case "write":
				for i, w := range kv.Value.([]any) {
					o := transform.Output{Path: fmt.Sprintf("%s.write[%d]", r.Path, i)}
					for _, kv := range slice(w) {
						parseOutput(t, &o, kv.Key.(string), kv.Value)
					}
					r.Write = append(r.Write, o)
				}
			case "on_truncate", "on_drop", "on_alter", "cascades":
				// They do not change the commands of a row.
			default:
				t.Fatalf("key %v", kv.Key)
			}
		}
		m.Tables = append(m.Tables, r)
	}
	return m
}

// pair is an entry of a YAML mapping. A list of pairs keeps the order of the entries.
type pair struct{ Key, Value any }

// ordered converts a YAML node into []pair, []any and scalar values.
func ordered(t testing.TB, n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		pairs := make([]pair, 0, len(n.Content)/2)
		for i := 0; i < len(n.Content); i += 2 {
			pairs = append(pairs, pair{n.Content[i].Value, ordered(t, n.Content[i+1])})
		}
		return pairs
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			list = append(list, ordered(t, c))
		}
		return list
	}
	var v any
	if err := n.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func slice(v any) []pair {
	s, _ := v.([]pair)
	return s
}

func texts(v any) (out []string) {
	for _, s := range v.([]any) {
		out = append(out, s.(string))
	}
	return out
}

func parseColumns(t testing.TB, c *transform.Columns, kvs []pair) {
	for _, kv := range kvs {
		switch kv.Key {
		case "include":
			c.Include = texts(kv.Value)
		case "exclude":
			c.Exclude = texts(kv.Value)
		case "rename":
			c.Rename = map[string]string{}
			for _, r := range slice(kv.Value) {
				c.Rename[r.Key.(string)] = r.Value.(string)
			}
		case "mask":
			c.Mask = map[string]string{}
			for _, m := range slice(kv.Value) {
				c.Mask[m.Key.(string)] = m.Value.(string)
			}
		case "max_bytes":
			c.MaxBytes = map[string]int{}
			for _, m := range slice(kv.Value) {
				c.MaxBytes[m.Key.(string)] = m.Value.(int)
			}
		case "too_long":
			c.TooLong = map[string]transform.OnTooLong{
				"quarantine": transform.QuarantineTooLong, "truncate": transform.TruncateTooLong,
				"omit": transform.OmitTooLong, "dead_letter": transform.DeadLetterTooLong,
				"stop": transform.StopTooLong,
			}[kv.Value.(string)]
		case "add":
			for _, a := range slice(kv.Value) {
				add := transform.Addition{Name: a.Key.(string), Expr: a.Value.(string)}
				c.Add = append(c.Add, add)
			}
		default:
			t.Fatalf("key %v", kv.Key)
		}
	}
}

func parseOutput(t testing.TB, o *transform.Output, key string, value any) {
	if k, ok := outputKinds[key]; ok {
		o.Kind, o.Key = k, value.(string)
		return
	}
	switch key {
	case "field":
		o.Field = value.(string)
	case "value":
		o.Value = value.(string)
	case "member":
		o.Member = value.(string)
	case "score":
		o.Score = value.(string)
	case "message":
		o.Message = value.(string)
	case "max_len":
		o.MaxLen = value.(int)
	case "push":
		if value == "left" {
			o.Push = transform.PushLeft
		}
	case "snapshot":
		o.Snapshot = value.(bool)
	case "shared":
		o.Shared = value.(bool)
	case "when_null":
		if err := transform.CommonSettings()[0].Set(o, value.(string)); err != nil {
			t.Fatal(err)
		}
	default:
		for _, kind := range transform.Kinds() {
			for _, s := range kind.Settings {
				if s.Name == key {
					if err := s.Set(o, fmt.Sprint(value)); err != nil {
						t.Fatal(err)
					}
					return
				}
			}
		}
		t.Fatalf("key %v", key)
	}
}

// textRow returns a row with the given texts; nil is NULL.
func textRow(table *binlog.Table, cells [][]byte) *binlog.Row {
	r := new(binlog.Row)
	r.SetText(binlog.NewTextLayout(table), cells)
	return r
}

// parseCells parses the texts of a row: words, strings quoted as in Go, and NULL.
func parseCells(t testing.TB, table *binlog.Table, text string) [][]byte {
	t.Helper()
	var cells [][]byte
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		var word string
		if text[0] == '"' {
			quoted, err := strconv.QuotedPrefix(text)
			if err != nil {
				t.Fatalf("cells %q: %v", text, err)
			}
			word, _ = strconv.Unquote(quoted)
			text = text[len(quoted):]
			cells = append(cells, []byte(word))
			continue
		}
		word, text, _ = strings.Cut(text, " ")
		if word == "NULL" {
			cells = append(cells, nil)
		} else {
			cells = append(cells, []byte(word))
		}
	}
	if len(cells) != len(table.Columns) {
		t.Fatalf("%d cells for %d columns of %s", len(cells), len(table.Columns), table.FullName())
	}
	return cells
}

// parseChange parses "insert CELLS", "update CELLS -> CELLS" or "delete CELLS".
func parseChange(t testing.TB, table *binlog.Table, line string) *binlog.Change {
	t.Helper()
	row := func(text string) *binlog.Row { return textRow(table, parseCells(t, table, text)) }
	op, rest, _ := strings.Cut(line, " ")
	switch op {
	case "insert":
		return &binlog.Change{Table: table, Op: binlog.Insert, After: row(rest)}
	case "delete":
		return &binlog.Change{Table: table, Op: binlog.Delete, Before: row(rest)}
	case "update":
		before, after, _ := strings.Cut(rest, " -> ")
		return &binlog.Change{
			Table: table, Op: binlog.Update, Before: row(before), After: row(after),
		}
	}
	t.Fatalf("change %q", line)
	return nil
}

// commands parses RESP into commands.
func commands(t testing.TB, b []byte) (out [][]string) {
	t.Helper()
	for len(b) > 0 {
		args, n, err := resp.ParseCommand(b, nil)
		if err != nil {
			t.Fatalf("not RESP: %v: %q", err, b)
		}
		var words []string
		for _, a := range args {
			words = append(words, string(a))
		}
		out, b = append(out, words), b[n:]
	}
	return out
}

// readable returns a command as one line, with quotes where a word needs them.
func readable(command []string) string {
	words := slices.Clone(command)
	for i, w := range words {
		if w == "" || strings.ContainsAny(w, " \"\\") || !strconv.CanBackquote(w) {
			words[i] = strconv.Quote(w)
		}
	}
	return strings.Join(words, " ")
}

func compile(t testing.TB, mapping, table string) *transform.Plan {
	t.Helper()
	p, err := transform.Compile(parseMapping(t, mapping), parseTable(t, table))
	if err != nil {
		t.Fatal(err)
	}
	if p == nil {
		t.Fatal("not mapped")
	}
	return p
}
