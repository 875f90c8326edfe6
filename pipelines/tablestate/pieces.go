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
	// LastPiece holds the evidence of the last transaction that the position includes.
	LastPiece = "last"
	// PartialPiece holds the evidence of a split transaction while only some of its units are
	// applied.
	PartialPiece = "partial"
	// SchemaPrefix begins the pieces that hold a mapped table's schema as JSON.
	SchemaPrefix = "table:"
	// BackfillPrefix begins the pieces that hold a Backfill as JSON.
	BackfillPrefix = "backfill:"
	// UnmappedPrefix begins the pieces that hold the reason why a table that matches the mapping
	// is not mapped.
	UnmappedPrefix = "unmapped:"
)

// Backfill is the progress of a table's initial load.
type Backfill struct {
	// Done means that the sink holds every row of the table, as of the position.
	Done bool `json:"done"`
	// Skipped means that the table is not loaded, because the user started without a load.
	Skipped bool `json:"skipped,omitempty"`
	// After is the key of the last loaded row; nil before the first chunk.
	After [][]byte `json:"after,omitempty"`
	// Rows counts the rows loaded so far.
	Rows int64 `json:"rows"`
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
