package pipelines

import "slices"

// TableWarning is what is most likely a mistake in the mapping of a table, although the mapping
// fits the table.
type TableWarning struct {
	Table string `json:"table"`
	// Warning begins with the file, line and path of the setting.
	Warning string `json:"warning"`
}

// recordWarnings records the warnings of all tables for status, and logs those that are new in this
// run: all of them at the start, and later those of tables that were created or altered.
func (l *loop) recordWarnings() {
	var list []TableWarning
	current := make(map[TableWarning]bool)
	add := func(warning TableWarning) {
		if !l.warned[warning] {
			l.log.Warn().Str("table", warning.Table).Msg(warning.Warning)
		}
		current[warning] = true
		list = append(list, warning)
	}
	for _, warning := range slices.Concat(l.unknownNames, l.droppedWarnings()) {
		add(warning)
	}
	for _, plan := range l.tables.plans() {
		for _, w := range plan.Warnings() {
			add(TableWarning{plan.Table().FullName(), l.config.Locate(w).Error()})
		}
	}
	l.warned = current
	l.stats.warnings.Store(&list)
}
