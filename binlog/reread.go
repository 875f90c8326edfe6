package binlog

// RereadError is the error of changes that are not known because of how they were logged. The table
// that they belong to must be read again.
type RereadError struct {
	// Cause says what was logged.
	Cause string
	// Setting says what to set so that it does not happen again; empty if nothing prevents it.
	Setting string
}

// Error returns the cause and what to do for a table in quarantine.
func (e *RereadError) Error() string { return e.Cause + "; " + e.Remedy() }

// Remedy returns the end of the text of Error: what to do for a table in quarantine.
func (e *RereadError) Remedy() string {
	const read = "read the table again with rowfall backfill"
	if e.Setting == "" {
		return read
	}
	return e.Setting + ", and then " + read
}
