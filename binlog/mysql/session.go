package mysql

import (
	"context"
	"fmt"
	"strings"
)

// sessionVariable is a variable whose global value, which a session inherits, must not decide
// what a query of ours returns.
type sessionVariable struct{ name, value string }

// resultVariables are the session variables that the readers of results rely on. prepare sets
// the others, which every server has and whose values depend on nothing.
func resultVariables(s Server) []sessionVariable {
	variables := []sessionVariable{
		// SHOW GRANTS and SHOW CREATE TABLE quote every name. A name without quotes can
		// look like a keyword.
		{"sql_quote_show_create", "ON"},
		// Messages in English.
		{"lc_messages", "en_US"},
		// binlog/query reads tables in the order of keys that are up to so long.
		{"max_sort_length", "1024"},
		// COMMIT ends the transaction, and neither begins another nor ends the connection.
		{"completion_type", "NO_CHAIN"},
		// "column IS NULL" finds NULL and not the last inserted row.
		{"sql_auto_is_null", "OFF"},
		// Statistics of now, not of up to a day ago.
		{"information_schema_stats_expiry", "0"},
		// The type of a temporal column is printed without a comment about its format.
		{"show_old_temporals", "OFF"},
		// Rows come from the engine that the binlog is about, not from a copy or a cache.
		{"use_secondary_engine", "OFF"},
		{"query_cache_type", "OFF"},
	}
	if s.Flavor == MariaDB {
		mode := ""
		if s.AtLeast(10, 6, 1) {
			mode = "UTF8_IS_UTF8MB3" // as in versions that cannot be told
		}
		variables = append(variables, sessionVariable{"old_mode", mode})
	}
	return variables
}

// setResultVariables sets those of the variables that the server has and that have another
// value. To set one to the value that it has already may still take a privilege.
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
			return fmt.Errorf("set session variable %s from %q to %q: %w", v.name, value, v.value, err)
		}
	}
	return nil
}
