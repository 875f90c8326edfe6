package pipelines

// logWarnings logs what is most likely a mistake in the mapping of the tables, although the mapping
// fits them. It is called when a pipeline starts.
func (l *loop) logWarnings() {
	for _, plan := range l.tables.plans() {
		for _, w := range plan.Warnings() {
			l.log.Warn().Str("table", plan.Table().FullName()).Msg(l.config.Locate(w).Error())
		}
	}
}
