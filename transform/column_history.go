package transform

import (
	"maps"
	"slices"

	"rowfall/binlog"
)

// ColumnHistory is what the data know of columns that a table had before. With it, Compile tells a
// column that was dropped from a name that is misspelt, and finds a column that an entry excludes
// or masks under a name that the entry does not list. The zero value is that of a new table.
type ColumnHistory struct {
	// Known is set if the mapping has fitted the table before: its names are not misspelt. Then
	// names that restrict nothing private (include, rename and max_bytes) may be missing.
	Known bool `json:"-"`
	// Dropped are the columns that the mapping names and that statements have dropped. Only
	// these, and those of Renamed, may be missing of the columns that are excluded or masked.
	Dropped []string `json:"dropped,omitempty"`
	// Renamed maps the present names of renamed columns to the names by which the mapping names
	// them.
	Renamed map[string]string `json:"renamed,omitempty"`
}

// IsEmpty reports whether there is nothing to store.
func (h *ColumnHistory) IsEmpty() bool { return len(h.Dropped)+len(h.Renamed) == 0 }

// Clone returns a copy that shares nothing with h.
func (h *ColumnHistory) Clone() *ColumnHistory {
	return &ColumnHistory{
		Known: h.Known, Dropped: slices.Clone(h.Dropped), Renamed: maps.Clone(h.Renamed),
	}
}

// Alter records what a statement has done to the columns of a table. renamed maps new names to old
// ones, as ddl.Effect does. rule is the table's, nil if the table is not mapped.
func (h *ColumnHistory) Alter(rule *Rule, before, after *binlog.Table, renamed map[string]string) {
	if rule == nil {
		return
	}
	var wasRenamed []string // folded
	for _, old := range renamed {
		wasRenamed = append(wasRenamed, binlog.FoldName(old))
	}
	names, survives := make(map[string]string), make(map[string]bool)
	for _, name := range after.ColumnNames() {
		old, isNew := renamed[name]
		if !isNew {
			folded := binlog.FoldName(name)
			if before.Column(name) < 0 || slices.Contains(wasRenamed, folded) {
				continue // the statement has added it
			}
			old = name
		}
		survives[binlog.FoldName(old)] = true
		origin := h.origin(old)
		if binlog.FoldName(origin) != binlog.FoldName(name) && rule.names(origin) {
			names[name] = origin
		}
	}
	for _, old := range before.ColumnNames() {
		if origin := h.origin(old); !survives[binlog.FoldName(old)] && rule.names(origin) {
			h.Dropped = append(h.Dropped, origin)
		}
	}
	h.Renamed = names
	h.Dropped = slices.DeleteFunc(h.Dropped, func(name string) bool {
		return after.Column(name) >= 0 || h.newName(name) != ""
	})
	slices.Sort(h.Dropped)
	h.Dropped = slices.Compact(h.Dropped)
}

// origin returns the name by which the mapping may name a column.
func (h *ColumnHistory) origin(name string) string {
	for renamed, origin := range h.Renamed {
		if binlog.FoldName(renamed) == binlog.FoldName(name) {
			return origin
		}
	}
	return name
}

// newName returns the present name of the column that the mapping names, or "".
func (h *ColumnHistory) newName(origin string) string {
	for _, name := range slices.Sorted(maps.Keys(h.Renamed)) {
		if binlog.FoldName(h.Renamed[name]) == binlog.FoldName(origin) {
			return name
		}
	}
	return ""
}

// explain returns what has become of a column that the table no longer has, or "".
func (h *ColumnHistory) explain(name string) string {
	if now := h.newName(name); now != "" {
		return "it was renamed to " + now
	}
	if containsName(h.Dropped, name) {
		return "it was dropped"
	}
	return ""
}

// containsName reports whether a list contains a column's name.
func containsName(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool {
		return binlog.FoldName(s) == binlog.FoldName(name)
	})
}

// names reports whether the entries that match the table name a column in a list of columns.
func (r *Rule) names(column string) bool {
	c := &r.Columns
	return r.isPrivate(column) || containsName(c.Include, column) ||
		containsName(slices.Collect(maps.Keys(c.Rename)), column) ||
		containsName(slices.Collect(maps.Keys(c.MaxBytes)), column)
}

// isPrivate reports whether an entry that matches the table excludes or masks a column.
func (r *Rule) isPrivate(column string) bool {
	if containsName(r.Columns.Exclude, column) {
		return true
	}
	for _, m := range slices.Concat(r.masks, []map[string]string{r.Columns.Mask}) {
		if containsName(slices.Collect(maps.Keys(m)), column) {
			return true
		}
	}
	return false
}

// missing handles a name of a list of columns that the table does not have. If the column was
// dropped, that is a warning: the name applies when the column is added again. private is set for a
// list that protects columns: what has become of the column must then be certain.
func (c *compiler) missing(part, name string, private bool) error {
	const applies = "the name applies again when a column has it"
	if why := c.history.explain(name); why != "" {
		c.warn(part, "%s has no column %q any more: %s; %s", c.table.FullName(), name, why, applies)
		return nil
	}
	switch {
	case !c.history.Known:
		_, err := c.column(part, name)
		return err
	case private:
		return c.fail(part, "%s has no column %q any more, and no statement in the binlog says "+
			"whether the column was dropped or renamed; remove the name if it was dropped, "+
			"replace it by the new name if it was renamed, "+
			"and build the data again with --from snapshot --replace", c.table.FullName(), name)
	}
	c.warn(part, "%s has no column %q any more; %s", c.table.FullName(), name, applies)
	return nil
}

// renamedPrivate returns a fault for each column that is excluded or masked by a name that it no
// longer has, and that would be written under its new name.
func (c *compiler) renamedPrivate() []error {
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(c.history.Renamed)) {
		origin, k := c.history.Renamed[name], c.table.Column(name)
		if k < 0 || c.view.IsExcluded(k) || c.view.IsMasked(k) || !c.rule.isPrivate(origin) {
			continue
		}
		part, is := "columns.exclude", "excluded"
		if !containsName(c.rule.Columns.Exclude, origin) {
			part, is = "columns.mask", "masked"
			if _, own := c.rule.Columns.Mask[origin]; own {
				part += "." + origin
			}
		}
		faults = append(faults, c.fail(part, "the column %s of %s, which is %s, was renamed to "+
			"%s, which would be written as it is; rename it back, or add %s here "+
			"and build the data again with --from snapshot --replace",
			origin, c.table.FullName(), is, name, name))
	}
	return faults
}
