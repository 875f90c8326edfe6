package pipelines

import (
	"context"
	"slices"
	"time"
)

// warningsInterval is how often the settings of an idle server are read again.
const warningsInterval = time.Minute

// TableWarning is what is most likely a mistake in the mapping of a table, although the mapping
// fits the table. Without a table, it is about a setting of the server.
type TableWarning struct {
	Table string `json:"table,omitempty"`
	// Warning begins with the file, line and path of the setting if it is about the mapping.
	Warning string `json:"warning"`
}

// updateServerWarnings reads the warnings about the server again, at most every warningsInterval,
// so that the warning about a setting that was corrected disappears.
func (l *loop) updateServerWarnings(ctx context.Context) {
	if l.isOffline || time.Since(l.warningsRead) < warningsInterval {
		return
	}
	l.warningsRead = time.Now()
	list, err := l.server.Warnings(ctx)
	switch {
	case err != nil:
		l.log.Warn().Err(err).Msg("the settings of the server cannot be read again")
	case !slices.Equal(list, l.serverWarnings):
		l.serverWarnings = list
		l.recordWarnings()
	}
}

// recordWarnings records the warnings about the server and all tables for status. It logs those
// that are new in this run: all of them at the start, and later those of tables that were created
// or altered.
func (l *loop) recordWarnings() {
	var list []TableWarning
	current := make(map[TableWarning]bool)
	add := func(warning TableWarning) {
		if !l.warned[warning] {
			event := l.log.Warn()
			if warning.Table != "" {
				event.Str("table", warning.Table)
			}
			event.Msg(warning.Warning)
		}
		current[warning] = true
		list = append(list, warning)
	}
	for _, w := range l.serverWarnings {
		add(TableWarning{Warning: w.String()})
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
