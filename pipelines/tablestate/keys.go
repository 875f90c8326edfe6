package tablestate

import "fmt"

// KeysPrefix begins the pieces that hold a Keys as JSON.
const KeysPrefix = "keys:"

// Keys is the progress of a job that reads some rows of a table, which it knows by their keys. The
// keys themselves are in blocks of the state, see KeyBlock. The table's Job is another one.
type Keys struct {
	// ID and Reason are as in Job.
	ID     int    `json:"id"`
	Reason string `json:"reason,omitempty"`
	// First and Next are the numbers of the blocks that are not done: First to Next-1.
	First int `json:"first"`
	Next  int `json:"next"`
	// Count and Bytes are the number and the size of the keys in these blocks, in which a key may
	// be more than once.
	Count int64 `json:"count"`
	Bytes int64 `json:"bytes"`
	// Rows counts the keys that are done.
	Rows int64 `json:"rows"`
	// Whole is why the whole table must be read instead; empty if it need not be.
	Whole string `json:"whole,omitempty"`
	// Sweep is the progress of removing what no row writes, in outputs whose locations do not
	// follow from a row's key. nil before.
	Sweep *Sweep `json:"sweep,omitempty"`
	// Exact means that Sweep removes only what the rows of the set have left, which needs no
	// confirmation. It is not kept by a restart: the keys that are done are not stored.
	Exact bool `json:"exact,omitempty"`
	// Again means that keys were read after Sweep has begun, so that another sweep follows.
	Again bool `json:"again,omitempty"`
}

// KeyBlock returns the name of a block of a table's keys.
func KeyBlock(table string, n int) string { return fmt.Sprintf("keys:%d:%s", n, table) }
