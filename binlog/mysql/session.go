package mysql

import (
	"context"
	"fmt"
	"strings"
)

// sessionVariable is a variable that changes the results of this program's queries. A session
// inherits its global value, which must not decide.
type sessionVariable struct{ name, value string }

// resultVariables returns the session variables on which the readers of results rely. prepare sets
// others, which every server has and whose values are the same on all.
func resultVariables(s Server) []sessionVariable {
	variables := []sessionVariable{
		// SHOW GRANTS and SHOW CREATE TABLE quote every name. A name without quotes can
		// look like a keyword.
		{"sql_quote_show_create", "ON"},
		// Messages in English.
		{"lc_messages", "en_US"},
		// binlog/query reads tables in the order of keys of up to this many bytes.
		{"max_sort_length", "1024"},
		// COMMIT only ends the transaction: it begins no other and keeps the connection.
		{"completion_type", "NO_CHAIN"},
		// "column IS NULL" finds NULLs, not the last inserted row.
		{"sql_auto_is_null", "OFF"},
		// Current statistics instead of cached ones, which may be a day old.
		{"information_schema_stats_expiry", "0"},
		// The type of a temporal column has no comment about its format.
		{"show_old_temporals", "OFF"},
		// Rows come from the table's own engine, not from a secondary engine or a cache.
		{"use_secondary_engine", "OFF"},
		{"query_cache_type", "OFF"},
	}
	if s.Flavor == MariaDB {
		mode := ""
		if s.AtLeast(10, 6, 1) {
			mode = "UTF8_IS_UTF8MB3" // the behaviour of versions before 10.6.1
		}
		variables = append(variables, sessionVariable{"old_mode", mode})
	}
	return variables
}

// setResultVariables sets those of the variables that the server has with another value. Setting a
// variable can need a privilege even if its value does not change.
func (c *Conn) setResultVariables(ctx context.Context) error {
	want := resultVariables(c.server)
	names := make([]string, len(want))
	for i, v := range want {
		names[i] = "'" + v.name + "'"
	}
	list := strings.Join(names, ",")
	r, err := c.Query(ctx, "SHOW SESSION VARIABLES WHERE Variable_name IN ("+list+")")
	if err != nil {
		return fmt.Errorf("read session variables: %w", err)
	}
	current := make(map[string]string, len(r.Rows))
	for _, row := range r.Rows {
		current[strings.ToLower(string(row[0]))] = string(row[1])
	}
	for _, v := range want {
		value, exists := current[v.name]
		if !exists || strings.EqualFold(value, v.value) {
			continue
		}
		literal := v.value
		if strings.Trim(literal, "0123456789") != "" || literal == "" {
			literal = "'" + literal + "'"
		}
		if err := c.Exec(ctx, "SET SESSION "+v.name+"="+literal); err != nil {
			return fmt.Errorf("set session variable %s from %q to %q: %w",
				v.name, value, v.value, err)
		}
	}
	return nil
}
