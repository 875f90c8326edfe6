package query

import "rowfall/binlog/mysql"

// FormatWarnings returns the global settings of a server because of which changes of rows may be
// logged in a form that cannot be applied. A session can override each of them, so a stream handles
// such changes whatever the global settings are: the tables that they concern go into quarantine.
func FormatWarnings(s mysql.Server) []Problem {
	var warnings []Problem
	if s.RowFormat != "" && s.RowFormat != "ROW" {
		warnings = append(warnings, Problem{
			"binlog_format is " + s.RowFormat + ", so statements are logged as their text " +
				"instead of as rows, and the mapped tables that they change go into quarantine",
			"SET GLOBAL binlog_format = ROW, put it into the server's configuration, " +
				"and let open sessions reconnect",
		})
	}
	// MariaDB's FULL_NODUP leaves out only what the old image has.
	if s.RowImage != "" && s.RowImage != "FULL" && s.RowImage != "FULL_NODUP" {
		what := "binlog_row_image is " + s.RowImage + ", so row images lack columns, and a " +
			"mapped table goes into quarantine at the first row without a column"
		if s.PartialJSON {
			what += " or without the old JSON value to which " +
				"binlog_row_value_options=PARTIAL_JSON refers"
		}
		warnings = append(warnings, Problem{
			what,
			"SET GLOBAL binlog_row_image = FULL, put it into the server's configuration, " +
				"and let open sessions reconnect",
		})
	}
	return warnings
}
