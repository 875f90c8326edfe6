package tablestate

import "encoding/json"

// SearchPrefix begins the pieces that hold a Search as JSON. The search's number follows.
const SearchPrefix = "search:"

// Search is a request of a user to find rows that are read again by their keys, or to read a table
// again, and its progress.
type Search struct {
	// ID is a number of the series of Job.ID. Reason says what the user has asked for.
	ID     int    `json:"id"`
	Reason string `json:"reason"`

	// Table is database.table if rows of one table are searched. Where selects them; if it is
	// empty, the whole table is read again.
	Table string `json:"table,omitempty"`
	Where string `json:"where,omitempty"`
	// After is where the search among the rows continues; nil at the beginning.
	After [][]byte `json:"after,omitempty"`

	// From and To are the stretch of the binlog whose rows are read again, in the form of
	// EncodePosition, if Table is empty. At is where the search continues. Statements are read on
	// to Until, because they may change what the rows of the stretch mean. Server is the UUID of
	// the server that the files belong to.
	From   json.RawMessage `json:"from,omitempty"`
	To     json.RawMessage `json:"to,omitempty"`
	At     json.RawMessage `json:"at,omitempty"`
	Until  json.RawMessage `json:"until,omitempty"`
	Server string          `json:"server,omitempty"`

	// Keys counts the keys that were found.
	Keys int64 `json:"keys"`
	// Found means that the search has ended. Blocks holds for each table the number of the block
	// before which the found keys are.
	Found  bool           `json:"found,omitempty"`
	Blocks map[string]int `json:"blocks,omitempty"`
	// Failed is why the search cannot continue.
	Failed string `json:"failed,omitempty"`
}
