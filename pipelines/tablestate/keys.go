package tablestate

import "fmt"

// KeysPrefix begins the pieces that hold a Keys as JSON.
const KeysPrefix = "keys:"

// Keys is the progress of a keys job, which reads some rows of a table by their keys. The keys are
// in blocks of the state, see KeyBlock. The table's Job is another job.
type Keys struct {
	// ID and Reason are as in Job.
	ID     int    `json:"id"`
	Reason string `json:"reason,omitempty"`
	// The blocks First to Next-1 are not done.
	First int `json:"first"`
	Next  int `json:"next"`
	// Count and Bytes are the number and the size of the keys in these blocks, in which a key may
	// be more than once.
	Count int64 `json:"count"`
	Bytes int64 `json:"bytes"`
	// Rows counts the keys that are done.
	Rows int64 `json:"rows"`
	// Whole is the reason why the whole table must be read instead; empty otherwise.
	Whole string `json:"whole,omitempty"`
	// Sweep is the progress of removing keys and members that no row writes, from outputs whose
	// locations a row's key does not determine. It is nil before the sweep.
	Sweep *Sweep `json:"sweep,omitempty"`
	// Exact is set if Sweep removes only what rows of the set have written, which needs no
	// confirmation. A restart clears it, because the keys that are done are not stored.
	Exact bool `json:"exact,omitempty"`
	// Again is set if keys were read after Sweep had begun, so that another sweep must follow.
	Again bool `json:"again,omitempty"`
}

// KeyBlock returns the name of a block of a table's keys.
func KeyBlock(table string, n int) string { return fmt.Sprintf("keys:%d:%s", n, table) }
