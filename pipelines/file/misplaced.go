package file

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"rowfall/transform"
)

// The messages of this file say where a key or a list belongs that is at a wrong place of an entry
// of tables.

// entryKeys are the keys of an entry that users write in an output, and columnsKeys those of
// columns, which they also write directly in the entry.
var (
	entryKeys   = []string{"key_columns", "where", "columns", "on_error", "ignore"}
	columnsKeys = []string{
		"include", "exclude", "rename", "mask", "max_bytes", "too_long", "add",
	}
)

// belongsInEntry returns the end of a message about a key that an entry does not have.
func belongsInEntry(key string) string {
	switch {
	case slices.Contains(transform.Keywords(), key):
		return fmt.Sprintf("; write it as an item of write: write: [{%s: ...}]", key)
	case slices.Contains(columnsKeys, key):
		return fmt.Sprintf("; write it below columns: columns: {%s: ...}", key)
	case len(kindsWith(key)) > 0, slices.Contains(settingNames(transform.CommonSettings()), key):
		return "; it is a setting of an output: write it in an item of write"
	}
	return ""
}

// belongsInOutput returns the end of a message about a key that an output does not have. keyword is
// the kind of the output; empty if the kind is not known.
func belongsInOutput(keyword, key string) string {
	switch with := kindsWith(key); {
	case keyword != "" && len(with) > 0 && slices.Contains(entryKeys, key):
		return fmt.Sprintf("; a %s output has no %s: write it at the table, beside write", keyword,
			key)
	case keyword != "" && len(with) > 0:
		return fmt.Sprintf("; a %s output has no %s; remove it (outputs with it: %s)", keyword, key,
			strings.Join(with, ", "))
	case slices.Contains(columnsKeys, key):
		return "; write it below columns of the table, beside write"
	case len(with) == 0 && slices.Contains(entryKeys, key):
		return "; write it at the table, beside write"
	}
	return ""
}

// kindsWith returns the keywords of the kinds of outputs that have a setting.
func kindsWith(setting string) []string {
	var with []string
	for _, k := range transform.Kinds() {
		if slices.Contains(settingNames(k.Settings), setting) {
			with = append(with, k.Keyword)
		}
	}
	return with
}

// sectionNotList is section for a value that users write as a list. remedy returns what to write
// instead, from the first item of the list, or from NAME if that item is no plain text.
func (v value) sectionNotList(remedy func(first string) string) *section {
	if v.node == nil || v.node.Kind != yaml.SequenceNode {
		return v.section()
	}
	first := "NAME"
	if items := v.node.Content; len(items) > 0 && plain(items[0]) && !isNull(items[0]) {
		first = items[0].Value
	}
	v.errorf("want a mapping (name: value), found a list; write %s", remedy(first))
	return &section{doc: v.doc, path: v.path}
}

// pair returns a remedy for sectionNotList: a mapping of the first item.
func pair(value string) func(first string) string {
	return func(first string) string { return fmt.Sprintf("{%s: %s}", first, value) }
}
