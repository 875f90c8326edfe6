package tablestate

import "strconv"

// LetterPrefix begins the pieces that hold a Letter as JSON; its number follows.
const LetterPrefix = "dead:"

// LetterPiece returns the name of the piece that holds a letter.
func LetterPiece(id int) string { return LetterPrefix + strconv.Itoa(id) }

// Letter is a dead letter: a row of which a change could not be applied. The sink may hold an older
// version of the row.
type Letter struct {
	// ID numbers the letters of a pipeline, from 1. A number may be used again after a restart.
	ID int `json:"id"`
	// Table is database.table.
	Table string `json:"table"`
	// Key holds the texts of the columns by which the table is read.
	Key [][]byte `json:"key"`
	// Row is the row's key for messages: quoted, masked, with : between the columns.
	Row string `json:"row"`
	// Reason names the fault, the column if there is one, and the output.
	Reason string `json:"reason"`
	// Position is the text of the position of the data before the change, Time the commit time of
	// the change in microseconds since 1970. For a row that a job has read, they are the stream's
	// position and its commit time.
	Position string `json:"position"`
	Time     int64  `json:"time,omitempty"`
	// Locations are where the sink may hold the old version of the row, besides the locations that
	// Key determines.
	Locations []LetterLocation `json:"locations,omitempty"`
	// ByJob is set if a job has made the letter. Then the next change of the row adds the locations
	// of its old image to Locations.
	ByJob bool `json:"by_job,omitempty"`
	// Dropped is set if the user has dropped the letter. It is not shown any more, but the stored
	// row is still stale.
	Dropped bool `json:"dropped,omitempty"`
}

// LetterLocation is a place in the sink, see transform.Location.
type LetterLocation struct {
	Output    int    `json:"output"`
	Key       []byte `json:"key"`
	Member    []byte `json:"member"`
	HasMember bool   `json:"has_member,omitempty"`
	// Row is empty if the output is not shared.
	Row []byte `json:"row,omitempty"`
}

// Size returns the approximate number of bytes that the letter takes.
func (l *Letter) Size() int {
	n := 200 + len(l.Table) + len(l.Row) + len(l.Reason) + len(l.Position)
	for _, text := range l.Key {
		n += 24 + len(text)
	}
	for i := range l.Locations {
		at := &l.Locations[i]
		n += 64 + len(at.Key) + len(at.Member) + len(at.Row)
	}
	return n
}
