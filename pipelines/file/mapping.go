package file

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"rowfall/transform"
)

func (c *Config) readTables(v value) {
	tables := v.section()
	if len(tables.keys) == 0 {
		tables.doc.errorf(v.node, "tables",
			`is required: "database.table" or "database.*" and what to make of its rows`)
	}
	for _, pattern := range tables.keys {
		entry := tables.get(pattern)
		c.Mapping.Tables = append(c.Mapping.Tables, readRule(entry, pattern))
	}
}

// readRule reads the rule of the tables that pattern matches.
func readRule(v value, pattern string) transform.TableRule {
	s := v.sectionNotList(func(string) string { return "the list below write: write: [...]" })
	s.belongs = belongsInEntry
	r := transform.TableRule{
		Pattern: pattern, Path: v.path, Line: v.line(), Lines: make(map[string]int),
	}
	// withLine records the line of a part of the rule, for faults that are found later.
	withLine := func(part string, v value) value {
		if v.node != nil {
			r.Lines[part] = v.line()
		}
		return v
	}
	r.Ignore = s.get("ignore").boolean()
	r.KeyColumns = withLine("key_columns", s.get("key_columns")).texts()
	r.Where = withLine("where", s.get("where")).withColumns(inExpression).nonEmptyText()
	columns := withLine("columns", s.get("columns")).sectionNotList(
		func(first string) string { return fmt.Sprintf("{include: [%s, ...]}", first) },
	)
	readColumns(columns, &r.Columns, withLine)
	for _, item := range s.get("write").list() {
		r.Write = append(r.Write, readOutput(item))
	}
	readReactions(s, &r)
	s.rejectUnknown()
	return r
}

// readColumns reads the section columns of an entry. withLine records the line of a part of the
// entry.
func readColumns(
	columns *section, c *transform.Columns, withLine func(part string, v value) value,
) {
	c.Include = withLine("columns.include", columns.get("include")).texts()
	c.Exclude = withLine("columns.exclude", columns.get("exclude")).texts()
	rename := withLine("columns.rename", columns.get("rename")).sectionNotList(pair("FIELD"))
	for _, from := range rename.keys {
		if c.Rename == nil {
			c.Rename = make(map[string]string)
		}
		c.Rename[from] = withLine("columns.rename."+from, rename.get(from)).nonEmptyText()
	}
	add := withLine("columns.add", columns.get("add")).sectionNotList(pair("EXPRESSION"))
	for _, name := range add.keys {
		expr := withLine("columns.add."+name, add.get(name)).withColumns(inExpression)
		c.Add = append(c.Add, transform.Addition{
			Name: name, Expr: expr.nonEmptyText(),
		})
	}
	mask := withLine("columns.mask", columns.get("mask")).sectionNotList(pair("redact"))
	for _, name := range mask.keys {
		if c.Mask == nil {
			c.Mask = make(map[string]string)
		}
		c.Mask[name] = withLine("columns.mask."+name, mask.get(name)).text()
	}
	limits := withLine("columns.max_bytes", columns.get("max_bytes")).
		sectionNotList(pair("SIZE"))
	for _, name := range limits.keys {
		if c.MaxBytes == nil {
			c.MaxBytes = make(map[string]int)
		}
		var bytes int64
		withLine("columns.max_bytes."+name, limits.get(name)).
			read(size{p: &bytes, positive: true, most: transform.MaxValueBytes})
		c.MaxBytes[name] = int(bytes)
	}
	tooLong := columns.get("too_long")
	c.TooLong = map[string]transform.OnTooLong{
		"quarantine": transform.QuarantineTooLong, "truncate": transform.TruncateTooLong,
		"omit": transform.OmitTooLong, "dead_letter": transform.DeadLetterTooLong,
		"stop": transform.StopTooLong,
	}[tooLong.oneOf("quarantine", "truncate", "omit", "dead_letter", "stop")]
	// The other reactions also apply to values that are too long for Redis.
	changes := c.TooLong == transform.TruncateTooLong || c.TooLong == transform.OmitTooLong
	if changes && len(c.MaxBytes) == 0 {
		tooLong.errorf("has no effect without max_bytes; add max_bytes, or remove it")
	}
	columns.rejectUnknown()
}

// readReactions reads what happens to a table after statements and faults.
func readReactions(s *section, r *transform.TableRule) {
	onRemoval := map[string]transform.OnRemoval{
		"delete": transform.RemoveKeys, "ignore": transform.KeepKeys,
		"stop": transform.StopAtRemoval,
	}
	r.OnTruncate = onRemoval[s.get("on_truncate").oneOf("delete", "ignore", "stop")]
	r.OnDrop = onRemoval[s.get("on_drop").oneOf("delete", "ignore", "stop")]
	r.OnAlter = map[string]transform.OnAlter{
		"reconcile": transform.Reconcile, "ignore": transform.IgnoreAlter,
		"quarantine": transform.QuarantineAtAlter, "stop": transform.StopAtAlter,
	}[s.get("on_alter").oneOf("reconcile", "ignore", "quarantine", "stop")]
	r.OnError = map[string]transform.OnError{
		"quarantine": transform.Quarantine, "dead_letter": transform.DeadLetter,
		"stop": transform.StopAtError,
	}[s.get("on_error").oneOf("quarantine", "dead_letter", "stop")]
	r.OnCascade = map[string]transform.OnCascade{
		"stop": transform.StopAtCascade, "reconcile": transform.ReconcileCascades,
		"ignore": transform.IgnoreCascades,
	}[s.get("cascades").oneOf("stop", "reconcile", "ignore")]
}

// The forms in which templates and expressions name a column.
const (
	inTemplate   = "{%s}"
	inExpression = "%s"
)

// readOutput reads one item of write. The kinds and their settings are those of transform.Kinds.
func readOutput(v value) transform.Output {
	faults := len(v.doc.faults)
	s := v.section()
	o := transform.Output{Path: v.path, Line: v.line()}
	found, keyword := 0, ""
	var settings []transform.Setting
	for _, k := range transform.Kinds() {
		if key := s.get(k.Keyword); key.node != nil {
			found++
			keyword = k.Keyword
			o.Kind, o.Key = k.Number, key.withColumns(inTemplate).nonEmptyText()
			settings = k.Settings
		}
	}
	s.notYet(notYetSettings()...)
	if found != 1 && v.node.Kind == yaml.MappingNode { // other values were reported above
		v.errorf("want exactly one of %s", strings.Join(transform.Keywords(), ", "))
	}
	if found != 1 {
		keyword = ""
	}
	s.belongs = func(key string) string { return belongsInOutput(keyword, key) }
	for _, setting := range slices.Concat(settings, transform.CommonSettings()) {
		readSetting(s.get(setting.Name), setting, &o)
	}
	if o.Kind == transform.JSON {
		rejectNative(s.find("json_native"))
	}
	s.rejectUnknown()
	if len(v.doc.faults) > faults {
		o.Kind = 0 // the mapping is not validated further: more faults would be consequences
	}
	return o
}

// rejectNative rejects json_native, which makes a json output write values of the module RedisJSON.
func rejectNative(v value) {
	if v.boolean() {
		v.errorf("needs `sink: redis`, because a node cannot hold values of modules in its " +
			"snapshot; remove it, and the document is a string")
	}
}

// readSetting reads a setting of an output, if the file has it.
func readSetting(v value, setting transform.Setting, o *transform.Output) {
	if v.node == nil {
		return
	}
	var text string
	faults := len(v.doc.faults)
	switch setting.Form {
	case transform.Template, transform.ValueTemplate:
		text = v.withColumns(inTemplate).nonEmptyText()
	case transform.Expression:
		text = v.withColumns(inExpression).nonEmptyText()
	case transform.Word:
		text = v.oneOf(setting.Words...)
	case transform.Number:
		text = v.text()
	case transform.Boolean:
		text = strconv.FormatBool(v.boolean())
	case transform.Scalar:
		text = v.nonEmptyText()
	}
	if len(v.doc.faults) > faults {
		return
	}
	if err := setting.Set(o, text); err != nil {
		v.errorf("%v", err)
	}
}

// laterSettings are documented keys of outputs that may not be implemented yet.
var laterSettings = []string{
	"ttl", "ttl_jitter", "expire_at", "nest", "lookup",
}

// notYetSettings returns the keys of laterSettings that transform does not have.
func notYetSettings() []string {
	known := settingNames(transform.CommonSettings())
	for _, k := range transform.Kinds() {
		known = append(known, settingNames(k.Settings)...)
	}
	return slices.DeleteFunc(slices.Clone(laterSettings), func(key string) bool {
		return slices.Contains(known, key)
	})
}

func settingNames(settings []transform.Setting) []string {
	names := make([]string, len(settings))
	for i := range settings {
		names[i] = settings[i].Name
	}
	return names
}
