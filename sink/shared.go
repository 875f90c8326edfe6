package sink

import (
	"context"
	"encoding/binary"
	"strconv"

	"rowfall/transform"
)

// ReferencesKey returns the key of the set that holds the rows which yield a member of a shared
// set. The length of the key stands before it, so that no two pairs of key and member have one
// name.
func ReferencesKey(pipeline string, key, member []byte) string {
	name := append([]byte(HiddenPrefix), pipeline...)
	name = append(name, ":shared:"...)
	name = append(binary.AppendUvarint(name, uint64(len(key))), key...)
	return string(append(name, member...))
}

// resolveReference adds a row to the rows that yield a member, or removes the row. The member is in
// its set while there is any such row.
//
// A row that is added twice adds the member again. So a job also completes a set that misses a
// member although a row is stored for it.
func resolveReference(r *resolution, d *transform.Deferred) error {
	rows, set := ReferencesKey(r.pipeline, d.Key, d.Member), string(d.Key)
	if d.Begins {
		_, _, err := r.addMember(rows, d.Row)
		if err == nil {
			_, _, err = r.addMember(set, d.Member)
		}
		return err
	}
	left, _, err := r.removeMember(rows, d.Row)
	if err == nil && left == 0 {
		_, _, err = r.removeMember(set, d.Member)
	}
	return err
}

// ScanReferences calls visit for a part of the rows that are stored for a member of a shared set,
// like ScanMembers does for members.
func ScanReferences(
	ctx context.Context, r Reader, pipeline string, key, member []byte, cursor string, count int,
	visit func(row []byte),
) (next string, err error) {
	return scan(ctx, r, [][]byte{
		[]byte("SSCAN"), []byte(ReferencesKey(pipeline, key, member)), []byte(cursor),
		[]byte("COUNT"), strconv.AppendInt(nil, int64(count), 10),
	}, 1, visit)
}
