package tablestate

// PreparedPrefix begins the pieces that hold a Prepared as JSON. A number follows.
const PreparedPrefix = "xa:"

// Prepared is an XA transaction that was prepared, and neither committed nor rolled back. Blocks
// hold its events.
type Prepared struct {
	// XID identifies the transaction, see binlog.XA.
	XID string `json:"xid"`
	// Position is the position before the XA PREPARE, and Time its commit time, in microseconds
	// since 1970.
	Position string `json:"position,omitempty"`
	Time     int64  `json:"time,omitempty"`
	// Tables are the tables whose rows are kept. Blocks is the number of blocks, and Bytes the size
	// of the events in them.
	Tables []string `json:"tables,omitempty"`
	Blocks int      `json:"blocks,omitempty"`
	Bytes  int      `json:"bytes,omitempty"`
	// Open means that the XA PREPARE was not reached: the transaction is read again after a start.
	Open bool `json:"open,omitempty"`
	// Missing are tables that the transaction has changed and whose rows are not kept, for the
	// reason Lost. They are read again after the XA COMMIT. MissesAll means all mapped tables.
	Missing   []string `json:"missing,omitempty"`
	MissesAll bool     `json:"misses_all,omitempty"`
	Lost      string   `json:"lost,omitempty"`
}
