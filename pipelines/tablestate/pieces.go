package tablestate

import (
	"encoding/json"
	"fmt"

	"rowfall/binlog"
)

// Names of the pieces of state. A name that ends in a colon is followed by database.table.
const (
	// MappingPiece holds the fingerprint of the mapping that built the data.
	MappingPiece = "mapping"
	// MeaningPiece holds the canonical form of that mapping, of which MappingPiece is the hash.
	// The first versions did not write it.
	MeaningPiece = "meaning"
	// HeadPiece holds, during a replay, the position that the replay must reach.
	HeadPiece = "head"
	// LastPiece holds the evidence of the last transaction that the position includes, as older
	// versions stored it; now it is a field of the position.
	LastPiece = "last"
	// PartialPiece holds the evidence of a split transaction while only some of its units are
	// applied.
	PartialPiece = "partial"
	// DefinitionPrefix begins the pieces that hold a table's definition, a ddl.Schema, as JSON.
	DefinitionPrefix = "schema:"
	// SchemaPrefix begins the pieces that hold a mapped table's schema as JSON, as versions without
	// definitions wrote them.
	SchemaPrefix = "table:"
	// JobPrefix begins the pieces that hold a Job as JSON.
	JobPrefix = "backfill:"
	// FaultPrefix begins the pieces that hold the Fault of a table in quarantine as JSON.
	FaultPrefix = "fault:"
	// FormerPrefix begins the pieces that hold a table's former definitions as JSON, as long as the
	// data may have keys that match only these definitions.
	FormerPrefix = "former:"
	// GapsPiece holds the Gaps as JSON, and SkipsPiece the SkipRequests that the stream has not
	// reached. Both are absent in data that never had any.
	GapsPiece  = "gaps"
	SkipsPiece = "skips"
	// SincePrefix begins the pieces that hold the position from which on a table's definition is
	// valid.
	SincePrefix = "since:"
	// DatabasesPiece holds the default character sets of the databases as JSON.
	DatabasesPiece = "databases"
	// CascadesPiece holds the foreign keys that change rows without logging them, a list of
	// ForeignKey as JSON.
	CascadesPiece = "cascades"
	// ColumnsPrefix begins the pieces that hold a table's transform.ColumnHistory as JSON, if it is
	// not empty.
	ColumnsPrefix = "columns:"
	// DroppedPrefix begins the pieces of tables that an entry without wildcards names and that were
	// dropped or renamed. They hold the position after which that was.
	DroppedPrefix = "dropped:"
	// UnmappedPrefix begins the pieces that hold the reason why a table that matches the mapping
	// is not mapped.
	UnmappedPrefix = "unmapped:"
)

// Job is the progress of the job that reads a table's rows, or that did so last. Its JSON form is
// stored; the first versions knew Done, Skipped, After and Rows.
type Job struct {
	// Done means that the sink holds every row of the table, as of the position.
	Done bool `json:"done"`
	// Skipped means that the table is not loaded, because the user started without a load.
	Skipped bool `json:"skipped,omitempty"`
	// Cancelled means that the user has ended the job before the table was complete. Keys that the
	// job has not reached may be stale, until another job reads the table. Skipped is set too.
	Cancelled bool `json:"cancelled,omitempty"`
	// After is the key of the last row that was read; nil before the first chunk. With Ranges, all
	// rows up to After were read, and maybe others.
	After [][]byte `json:"after,omitempty"`
	// Ranges are the parts of the table that are left to read, in the order of the key, if they
	// are read at the same time. nil means all rows after After. Versions that do not know this
	// field read all rows after After.
	Ranges []Range `json:"ranges,omitempty"`
	// Rows counts the rows read so far.
	Rows int64 `json:"rows"`

	// ID numbers the jobs of a pipeline from 1; 0 is the initial load.
	ID int `json:"id,omitempty"`
	// Reason says why the job runs: "ALTER TABLE: ADD COLUMN".
	Reason string `json:"reason,omitempty"`
	// NeedsSchema means that the table's columns are not known. The job reads them first.
	NeedsSchema bool `json:"needs_schema,omitempty"`
	// Gap is the number of the last gap that was made before the job began. The job closes the
	// gaps up to this one for its table, if it reads and sweeps the whole table.
	Gap int `json:"gap,omitempty"`
	// Compare means that the sink may hold rows of the table already. The job writes what differs.
	// Otherwise it writes all rows.
	Compare bool `json:"compare,omitempty"`
	// Sweep is the progress of removing what no row writes, after the rows were read. nil means
	// that nothing is removed.
	Sweep *Sweep `json:"sweep,omitempty"`
	// Again is the reason why another job must read every row after this one: rows have changed
	// without row events while this job ran. It is empty if no such job is needed.
	Again string `json:"again,omitempty"`
	// References, if not empty, are the values by which the rows can be found that Again is about:
	// only these rows must be read. Versions that do not know this field read every row.
	References []References `json:"references,omitempty"`
	// KeysOnly means that Again waits only for the table's keys job. Versions that do not know this
	// field read every row.
	KeysOnly bool `json:"keys_only,omitempty"`
	// MissedFrom is a position, as binlog.Position prints it. Changes after it may be missing from
	// the data until the job is done. It is empty if the job is not needed for that.
	MissedFrom string `json:"missed_from,omitempty"`
}

// Range is a part of a table: the rows after a key, up to and including another one. A bound that
// has only the first columns of a key stands for all rows that begin with these values.
type Range struct {
	// After is nil at the beginning of the table, and Until at its end.
	After [][]byte `json:"after,omitempty"`
	Until [][]byte `json:"until,omitempty"`
}

// References are values of columns that referred to rows of a parent that were deleted.
type References struct {
	Columns []string `json:"columns,omitempty"`
	// Values are the texts of Columns, of one deleted row each.
	Values [][]string `json:"values,omitempty"`
	// Deleted is set if the rows that referred to these values were deleted.
	Deleted bool `json:"deleted,omitempty"`
	// Of, if not empty, is the table of the deleted rows, which are not known yet: Columns and
	// Values are empty until the References of that table were handled.
	Of string `json:"of,omitempty"`
}

// ForeignKey is a foreign key of a table whose actions change rows without logging them.
type ForeignKey struct {
	Database       string   `json:"database"`
	Table          string   `json:"table"`
	Name           string   `json:"name"`
	Columns        []string `json:"columns"`
	ParentDatabase string   `json:"parent_database"`
	ParentTable    string   `json:"parent_table"`
	// Referenced are the columns of the parent that Columns refer to.
	Referenced []string `json:"referenced"`
	OnDelete   string   `json:"on_delete"`
	OnUpdate   string   `json:"on_update"`
}

// Sweep is the progress of a sweep: the removal of keys and members that no row writes.
type Sweep struct {
	// Reached is set once all rows were read and the sweep has begun.
	Reached bool `json:"reached,omitempty"`
	// Remove is set in the second pass. The first only counts.
	Remove bool `json:"remove,omitempty"`
	// Output is the index of the output that is swept.
	Output int `json:"output,omitempty"`
	// Checked and Stale count the keys and members of the present pass, and those among them that
	// no row writes.
	Checked int64 `json:"checked,omitempty"`
	Stale   int64 `json:"stale,omitempty"`
	// Waiting means that the sweep would remove more than half of the table's keys and waits for a
	// confirmation. Confirmed means that it has been given.
	Waiting   bool `json:"waiting,omitempty"`
	Confirmed bool `json:"confirmed,omitempty"`
}

// Fault is the reason why a table is in quarantine.
type Fault struct {
	// Reason names the fault and the remedy.
	Reason string `json:"reason"`
	// Position is the text of the position after which the changes of the table are not applied.
	Position string `json:"position"`
	// Since is the commit time at that position, in microseconds since 1970; 0 if it is unknown.
	Since int64 `json:"since,omitempty"`
}

// storedPosition is the JSON form of a position.
type storedPosition struct {
	GTID   string `json:"gtid,omitempty"`
	File   string `json:"file,omitempty"`
	Offset uint64 `json:"offset,omitempty"`
}

// EncodePosition returns a position in the form that DecodePosition reads.
func EncodePosition(p *binlog.Position) ([]byte, error) {
	text, err := json.Marshal(storedPosition{p.GTID.String(), p.File, p.Offset})
	if err != nil {
		return nil, fmt.Errorf("encode position: %w", err)
	}
	return text, nil
}

// DecodePosition reads what EncodePosition returned.
func DecodePosition(text []byte) (binlog.Position, error) {
	var s storedPosition
	if err := json.Unmarshal(text, &s); err != nil {
		return binlog.Position{}, fmt.Errorf("parse position: %w", err)
	}
	set, err := binlog.ParseGTIDSet(s.GTID)
	if err != nil {
		return binlog.Position{}, err
	}
	return binlog.Position{GTID: set, File: s.File, Offset: s.Offset}, nil
}
