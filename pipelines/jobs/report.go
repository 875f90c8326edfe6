package jobs

import "time"

// logInterval is the time between two log lines about the progress of jobs.
const logInterval = 10 * time.Second

// report logs the progress of the jobs every logInterval: the rows read, the rate since the last
// line, and, if the number of rows is known, the estimate of what is left. The estimate comes from
// the server's statistics of its tables.
func (e *Engine) report() {
	now := time.Now()
	seconds := now.Sub(e.logged).Seconds()
	if seconds < logInterval.Seconds() {
		return
	}
	rate := float64(e.rows-e.loggedRows) / seconds
	e.logged, e.loggedRows = now, e.rows
	line := e.log.Info().Int64("rows", e.rows).Int64("rows_per_second", int64(rate+0.5))
	if e.remaining > 0 {
		line.Int64("of_about", e.rows+e.remaining)
		if rate >= 1 {
			left := time.Duration(float64(e.remaining) / rate * float64(time.Second))
			line.Stringer("about_left", left.Round(time.Second))
		}
	}
	line.Int("tables_left", len(e.waiting)+len(e.running)).Int("chunks_read_again", e.repeated).
		Msg("reading tables")
}
