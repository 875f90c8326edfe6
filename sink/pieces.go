package sink

import (
	"context"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"

	"rowfall/replication/resp"
)

// Formats of the hash that holds a pipeline's pieces of state, as registryKey records them.
const (
	// formatUnchecked is the format of versions without checksums. Such a version does not update
	// checksums that it finds, so in this format they are ignored.
	formatUnchecked = "v1"
	// formatChecked means that every piece has a checksum.
	formatChecked = "v2"
	// formatDefinitions means that tables have definitions. Versions before it cannot read such a
	// state.
	formatDefinitions = "v3"
)

// checksumPrefix begins the fields of the hash that hold checksums: "crc32c:mapping" is the
// checksum of the piece "mapping". A version that knows no checksums ignores these fields.
const checksumPrefix = "crc32c:"

// castagnoli is the table that package crc32 shares: MakeTable does not build another one.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum returns the CRC-32C of a piece as eight hexadecimal digits.
func checksum(value []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(value, castagnoli))
}

// CorruptStateError is returned if a piece of a pipeline's state differs from what was written.
type CorruptStateError struct {
	// Key is the hash that holds the piece. Piece is the piece's name; empty if the format of the
	// state is the fault.
	Key, Piece string
	// Fault describes the corruption.
	Fault string
}

// Error names the piece and the remedy.
func (e *CorruptStateError) Error() string {
	piece := ""
	if e.Piece != "" {
		piece = fmt.Sprintf("piece %q of ", e.Piece)
	}
	return fmt.Sprintf("read %s%s: %s; this key is Rowfall's own: "+
		"take the data from a replica or a backup, or start again with --from snapshot --replace",
		piece, e.Key, e.Fault)
}

// appendPiece appends the command that writes a piece with its checksum.
func appendPiece(dst []byte, key, name string, value []byte) []byte {
	dst = resp.AppendArray(dst, 6)
	for _, part := range [...]string{"HSET", key, name} {
		dst = resp.AppendBulkString(dst, part)
	}
	dst = resp.AppendBulk(dst, value)
	dst = resp.AppendBulkString(dst, checksumPrefix+name)
	return resp.AppendBulkString(dst, checksum(value))
}

// appendDropPiece appends the command that removes a piece with its checksum.
func appendDropPiece(dst []byte, key, name string) []byte {
	return resp.AppendCommand(dst, "HDEL", key, name, checksumPrefix+name)
}

// readPieces returns the pieces of a pipeline's state by name. unchecked means that an older
// version wrote them without checksums.
func readPieces(
	ctx context.Context, r Reader, pipeline string,
) (pieces map[string][]byte, unchecked bool, err error) {
	fields, err := readHash(ctx, r, StateKey(pipeline))
	if err != nil {
		return nil, false, err
	}
	registry, err := readHash(ctx, r, registryKey)
	if err != nil {
		return nil, false, err
	}
	format := registry[pipeline]
	switch {
	case len(fields) == 0:
		return map[string][]byte{}, false, nil
	case format != formatUnchecked && format != formatChecked && format != formatDefinitions:
		return nil, false, &CorruptStateError{Key: StateKey(pipeline), Fault: fmt.Sprintf(
			"its format is %q, and this version reads %s to %s: "+
				"a newer version wrote it, or it is corrupt",
			format, formatUnchecked, formatDefinitions)}
	}
	pieces = make(map[string][]byte, len(fields)/2)
	for name, value := range fields {
		if !strings.HasPrefix(name, checksumPrefix) {
			pieces[name] = []byte(value)
		}
	}
	if format == formatUnchecked {
		return pieces, true, nil
	}
	return pieces, false, verifyPieces(StateKey(pipeline), fields)
}

// readVolatile returns the pieces that an older version wrote to a hash of their own; nil if there
// are none.
func readVolatile(
	ctx context.Context, r Reader, pipeline string,
) (map[string][]byte, error) {
	key := volatileKey(pipeline)
	fields, err := readHash(ctx, r, key)
	if err != nil || len(fields) == 0 {
		return nil, err
	}
	if err := verifyPieces(key, fields); err != nil {
		return nil, err
	}
	pieces := make(map[string][]byte, len(fields)/2)
	for name, value := range fields {
		if !strings.HasPrefix(name, checksumPrefix) {
			pieces[name] = []byte(value)
		}
	}
	return pieces, nil
}

// appendMoveVolatile appends the commands that move these pieces to the hash of all pieces.
func appendMoveVolatile(dst []byte, pipeline string, pieces map[string][]byte) []byte {
	for _, name := range slices.Sorted(maps.Keys(pieces)) {
		dst = appendPiece(dst, StateKey(pipeline), name, pieces[name])
	}
	return resp.AppendCommand(dst, "DEL", volatileKey(pipeline))
}

// verifyPieces compares each piece with its checksum. A checksum without a piece is corrupt too:
// the piece was lost, or its name was changed.
func verifyPieces(key string, fields map[string]string) error {
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		name, isChecksum := strings.CutPrefix(field, checksumPrefix)
		value, found := fields[name]
		want, checked := fields[checksumPrefix+name]
		fault := ""
		switch got := checksum([]byte(value)); {
		case isChecksum && !found:
			fault = "its checksum is there, but the piece is missing"
		case !checked:
			fault = "it has no checksum"
		case got != want:
			fault = fmt.Sprintf("its checksum is %s, want %.20q", got, want)
		}
		if fault != "" {
			return &CorruptStateError{Key: key, Piece: name, Fault: fault}
		}
	}
	return nil
}

// appendUpgrade appends the commands that write all pieces again, with checksums. The hash is
// removed first, because it may hold checksums of dropped pieces.
func appendUpgrade(dst []byte, pipeline string, pieces map[string][]byte) []byte {
	dst = resp.AppendCommand(dst, "DEL", StateKey(pipeline))
	for _, name := range slices.Sorted(maps.Keys(pieces)) {
		dst = appendPiece(dst, StateKey(pipeline), name, pieces[name])
	}
	return dst
}
