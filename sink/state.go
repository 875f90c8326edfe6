package sink

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"rowfall/replication/keyspace"
)

// HiddenPrefix begins the keys that nodes hide from SCAN, KEYS, RANDOMKEY and DBSIZE.
const HiddenPrefix = "rowfall:state:"

// PositionPrefix begins the key of every pipeline's position.
const PositionPrefix = "rowfall:position:"

// PositionKey returns the key of a pipeline's position hash.
func PositionKey(pipeline string) string { return PositionPrefix + pipeline }

// registryKey is a hash with a field for every pipeline whose data the sink holds, so that
// positions are found without a scan. The field's value is the format of the pipeline's state. The
// key cannot collide with a StateKey, since names of pipelines are not empty.
const registryKey = HiddenPrefix + ":pipelines"

// StateKey returns the key of the hash that holds a pipeline's state: one field for each piece that
// was given to Unit.SetState, and one for each piece's checksum.
func StateKey(pipeline string) string { return HiddenPrefix + pipeline + ":pieces" }

// volatileKey returns the key of a hash in which an older version stored some pieces.
func volatileKey(pipeline string) string { return HiddenPrefix + pipeline + ":volatile" }

// Positions returns the position hashes that a keyspace holds, by pipeline.
func Positions(ks *keyspace.Keyspace) map[string]map[string]string {
	known, _ := ks.HashFields(registryKey)
	positions := make(map[string]map[string]string, len(known))
	for name := range known {
		if fields, ok := ks.HashFields(PositionKey(name)); ok {
			positions[name] = fields
		}
	}
	return positions
}

// Piece returns a piece of a pipeline's state, without a comparison with its checksum.
func Piece(ks *keyspace.Keyspace, pipeline, name string) (value []byte, found bool) {
	var buffer []byte
	reply, err := ReadKeyspace(ks, &buffer,
		[][]byte{[]byte("HGET"), []byte(StateKey(pipeline)), []byte(name)})
	if err != nil || reply.Null {
		return nil, false
	}
	return reply.Text, true
}

// Pieces returns the pieces of a pipeline's state by name, without a comparison with their
// checksums.
func Pieces(ks *keyspace.Keyspace, pipeline string) map[string][]byte {
	fields, _ := ks.HashFields(StateKey(pipeline))
	pieces := make(map[string][]byte, len(fields)/2)
	for name, value := range fields {
		if !strings.HasPrefix(name, checksumPrefix) {
			pieces[name] = []byte(value)
		}
	}
	return pieces
}

// Phase is the stage of a pipeline's data. Its text is the field `state` of the position hash.
//
//	"" --first unit--> snapshot --every table complete--> streaming
//	streaming --rewind--> replaying --old head passed--> streaming
//	streaming --from snapshot--> rebuilding --every table complete--> streaming
type Phase uint8

const (
	// Empty means that the sink holds no position of the pipeline.
	Empty Phase = iota
	// Snapshot means that the initial load is not finished.
	Snapshot
	// Streaming means that the data are complete and follow the source.
	Streaming
	// Replaying means that transactions are applied again, because --from moved the position back.
	Replaying
	// Rebuilding means that every table is read again, while the data serve.
	Rebuilding
)

var phaseNames = [...]string{"", "snapshot", "streaming", "replaying", "rebuilding"}

// String returns the phase as the position hash spells it.
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return "phase " + strconv.Itoa(int(p))
}

// ParsePhase reads the text of a position's `state`.
func ParsePhase(s string) (Phase, error) {
	for i, name := range phaseNames {
		if i > 0 && s == name {
			return Phase(i), nil
		}
	}
	return Empty, fmt.Errorf("parse state %q: want snapshot, streaming, replaying or rebuilding", s)
}

// Progress is the position of a pipeline's data and their phase. Every unit writes it to the
// position hash, which any client may read.
type Progress struct {
	// Position is the end of the last applied transaction. Within a split transaction it is the end
	// of the transaction before.
	Position Position
	// Server is the UUID of the server that the position's file and offset belong to.
	Server string
	// Time is the commit time of the last applied transaction, in microseconds since 1970; 0 before
	// the first transaction.
	Time  int64
	Phase Phase
	// Partial counts the applied units of a split transaction, from 1; 0 outside of one.
	Partial int
	// Row counts the applied row changes of mapped tables in the split transaction. A resume with
	// the same mapping skips the same number. Rows of other tables are not decoded or counted.
	Row int
	// Rebuilding and Quarantined are the tables whose rows are being read again, and those whose
	// changes are not applied. Gaps are the stretches of the source that were passed over. Each is
	// a JSON array, or empty without entries.
	Rebuilding, Quarantined, Gaps string
}

// lists returns the fields of p that are JSON arrays, in their fixed order.
func (p *Progress) lists() [3]field {
	return [3]field{
		{"rebuilding", p.Rebuilding}, {"quarantined", p.Quarantined}, {"gaps", p.Gaps},
	}
}

// ownFields are the fields of a position hash besides those of its Position.
var ownFields = []string{
	"server", "time", "state", "partial", "row", "rebuilding", "quarantined", "gaps",
}

// ParseProgress parses the fields of a position hash. An error names the field.
func ParseProgress(fields map[string]string) (Progress, error) {
	var (
		p   Progress
		err error
	)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(ownFields, name) {
			p.Position = append(p.Position, PositionField{name, []byte(fields[name])})
		}
	}
	p.Server = fields["server"]
	p.Rebuilding, p.Quarantined = fields["rebuilding"], fields["quarantined"]
	p.Gaps = fields["gaps"]
	if p.Phase, err = ParsePhase(fields["state"]); err != nil {
		return p, err
	}
	if p.Time, err = strconv.ParseInt(fields["time"], 10, 64); err != nil {
		return p, fmt.Errorf("parse time: %w", err)
	}
	for name, dst := range map[string]*int{"partial": &p.Partial, "row": &p.Row} {
		text, ok := fields[name]
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return p, fmt.Errorf("parse %s: %w", name, err)
		}
		*dst = int(n)
	}
	return p, nil
}
