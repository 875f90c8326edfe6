package pipelines

import (
	"maps"
	"slices"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
	"rowfall/transform"
)

// A table that an entry of the mapping names, without wildcards, may be dropped, or renamed to
// another name. The data then record that it was, and the entry waits for a table of this name. So
// only data that are new can have an entry whose table is misspelt.

// recordDropped records that a table is gone, if an entry names this table alone.
func (l *loop) recordDropped(n ddl.TableName) error {
	rule, err := l.config.Mapping.Rule(n.Database, n.Table)
	if err != nil {
		return &StopError{Err: err}
	}
	if rule == nil || rule.Wildcard {
		return nil
	}
	l.tables.dropped[n.String()] = l.progress.Position.String()
	l.tables.saveDropped(&l.unit, l.config.Name, n.String())
	return nil
}

// saveDropped puts the position at which a table was dropped into a unit.
func (s *tableSet) saveDropped(u *sink.Unit, pipeline, full string) {
	u.SetState(pipeline, tablestate.DroppedPrefix+full, []byte(s.dropped[full]))
}

// missingIsDropped records as dropped the tables of entries that neither the server nor the data
// have. An older version may have built the data, so the position may not be known.
func (l *loop) missingIsDropped(missing []*transform.MappingError) {
	for _, e := range missing {
		rule := l.ruleAt(e.Path)
		if rule.Ignore || l.tables.exact(rule.Pattern) != nil {
			continue
		}
		isKnown := false
		for full := range l.tables.dropped {
			isKnown = isKnown || isEntryOf(rule, full)
		}
		if p, err := binlog.ParseTablePattern(rule.Pattern); err == nil && !isKnown {
			l.tables.dropped[string(p.Database)+"."+string(p.Table)] = ""
		}
	}
}

// ruleAt returns the entry at a path.
func (l *loop) ruleAt(path string) *transform.TableRule {
	for i := range l.config.Mapping.Tables {
		if r := &l.config.Mapping.Tables[i]; r.Path == path {
			return r
		}
	}
	return new(transform.TableRule)
}

// isEntryOf reports whether an entry without wildcards names a table, given as database.table.
func isEntryOf(r *transform.TableRule, full string) bool {
	p, err := binlog.ParseTablePattern(r.Pattern)
	return err == nil && !p.IsWildcard() &&
		binlog.FoldName(string(p.Database)+"."+string(p.Table)) == binlog.FoldName(full)
}

// droppedWarnings returns a warning for each table that was dropped and that an entry names.
func (l *loop) droppedWarnings() (list []TableWarning) {
	for _, full := range slices.Sorted(maps.Keys(l.tables.dropped)) {
		after := ""
		if at := l.tables.dropped[full]; at != "" {
			after = " after " + at
		}
		path := "tables"
		for i := range l.config.Mapping.Tables {
			if r := &l.config.Mapping.Tables[i]; isEntryOf(r, full) {
				path = r.Path
			}
		}
		warning := l.config.Fault(path, "the table %s was dropped or renamed%s; its entry applies "+
			"when a table of this name is created again", full, after)
		list = append(list, TableWarning{full, warning.Error()})
	}
	return list
}
