package binlog

// Skip is a request to leave out one transaction, or its changes of some tables.
type Skip struct {
	At TransactionID
	// Tables are the tables whose changes are left out, as database.table. If it is empty, the
	// whole transaction is left out.
	Tables []string
}

// Skipped describes a transaction that was left out.
type Skipped struct {
	// Tables are the tables, as database.table, whose rows the transaction has, mapped or not.
	Tables []string
	// Unknown is set if the transaction may have changed other tables, too, because not all of it
	// could be read.
	Unknown bool
}
