package jobs

import (
	"context"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/sink"
	"rowfall/transform"
)

// Host is the loop beside which jobs run. Only Wake and Now may be called from another goroutine
// than that of Step. Each part is one direction: Stream is what comes before the jobs, Writer is
// where they write, Tables is what the loop keeps of each table, KeyStore is for keys jobs,
// LetterStore for dead letters.
type Host interface {
	Stream
	Writer
	Tables
	KeyStore
	LetterStore
}

// Stream is the stream of changes.
type Stream interface {
	// Position returns where the stream stands, never within a transaction. It changes with the
	// next event.
	Position() *binlog.Position
	// Wake makes the host call Step soon, even if the source is idle.
	Wake()
	// Now returns the clock of the sink, in milliseconds since 1970.
	Now() int64
}

// Writer is the sink that the stream and the jobs write to, unit by unit.
type Writer interface {
	// Commands returns the commands of the unit that is being filled.
	Commands() *transform.Commands
	// FlushIfLarge applies the unit if it has reached a limit: of n things, or of bytes.
	FlushIfLarge(ctx context.Context, n, limit int) (flushed bool, err error)
	// Flush applies the unit, unless it is empty.
	Flush(ctx context.Context) error
	// Sink reads what the sink holds, without the unit that is being filled.
	Sink() sink.Reader
	// Expiry returns the time of Now, and where the expiry of fields is stored.
	Expiry() sink.Expiry
	// Pipeline returns the pipeline's name, under which the sink stores the rows of shared sets.
	Pipeline() string
}

// Tables records what becomes of tables.
type Tables interface {
	// SaveJob puts a table's Job into the unit.
	SaveJob(t *Table) error
	// AdoptSchema gives a table the definition that a job has read; nil if the table is gone from
	// the server. The job continues if t.Job is not done afterwards.
	AdoptSchema(ctx context.Context, t *Table, schema *ddl.Schema) error
	// Fault handles a fault of one table: it returns nil if the table is in quarantine now, with
	// t.Fault set.
	Fault(t *Table, err error) error
	// IsFormer reports whether a key that holds a value of type held was written by an output of a
	// former definition of a table. Then the key may be removed.
	IsFormer(key []byte, held string) bool
	// RowsGone is called before a keys job removes rows from the sink that the source does not
	// have. What it puts into the unit is applied before or with the removal.
	RowsGone(t *Table, keys []Key) error
	// Report records how many rows all jobs have read, and will have read in the end.
	Report(rows, expected int64)
}

// KeyStore stores the keys of keys jobs.
type KeyStore interface {
	// NewJob returns the number of a new job.
	NewJob() int
	// SaveKeys puts the changes that Table.TakeKeyChanges returns into the unit.
	SaveKeys(t *Table) error
	// SetKeyBlock puts a block of the table's keys into the unit.
	SetKeyBlock(t *Table, n int, block []byte)
	// KeyBlock reads a block that the sink holds. It returns a *sink.CorruptStateError if the block
	// is missing or damaged.
	KeyBlock(ctx context.Context, t *Table, n int) ([]byte, error)
	// Reconcile gives a table a job that reads every row, and ends its keys job.
	Reconcile(t *Table, reason string) error
}

// LetterStore stores dead letters. Its methods change Table.Letters.
type LetterStore interface {
	// KeepLetter keeps a letter of a row that a job could not turn into commands. If there are too
	// many letters, the table is in quarantine afterwards, with t.Fault set.
	KeepLetter(t *Table, key Key, fault *transform.RowError) error
	// ClearLetter removes the letter of a row that a job writes next, or that is gone, and puts the
	// removal of the letter's locations into the unit. written holds the locations that the row
	// has, as AppendLocation prints them; they stay.
	ClearLetter(t *Table, key Key, written map[string]bool)
	// LoseLocation takes a location from its letter, because another row is written there.
	LoseLocation(t *Table, at transform.Location)
}
