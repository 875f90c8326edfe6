package tablestate

import "encoding/json"

// SearchPrefix begins the pieces that hold a Search as JSON. The search's number follows.
const SearchPrefix = "search:"

// Search is a user's request to find rows and read them again by their keys, or to read a whole
// table again, with the progress of the request.
type Search struct {
	// ID is numbered together with Job.ID and Keys.ID. Reason describes the request.
	ID     int    `json:"id"`
	Reason string `json:"reason"`

	// Table is database.table if rows of one table are searched; empty for a replay. Where is the
	// SQL condition of the rows; if it is empty, the whole table is read again.
	Table string `json:"table,omitempty"`
	Where string `json:"where,omitempty"`
	// After is the key after which the search by Where continues; nil at the beginning.
	After [][]byte `json:"after,omitempty"`

	// These fields belong to a replay; positions are encoded by EncodePosition. From and To are the
	// ends of the stretch of the binlog whose rows are read again. At is where the search
	// continues. From To to Until, only statements are read, because they may alter the tables of
	// the rows. Server is the UUID of the server to which the binlog files belong.
	From   json.RawMessage `json:"from,omitempty"`
	To     json.RawMessage `json:"to,omitempty"`
	At     json.RawMessage `json:"at,omitempty"`
	Until  json.RawMessage `json:"until,omitempty"`
	Server string          `json:"server,omitempty"`

	// Keys counts the keys that were found.
	Keys int64 `json:"keys"`
	// Found is set once the search has found all keys. Blocks holds for each table a block number:
	// the found keys are in blocks with lower numbers.
	Found  bool           `json:"found,omitempty"`
	Blocks map[string]int `json:"blocks,omitempty"`
	// Failed is why the search cannot continue.
	Failed string `json:"failed,omitempty"`
}
