package transform_test

import (
	"testing"

	"rowfall/transform"
)

// In mode Replace, the old row of a change may be one that could not be applied. Then the change
// has the entry of an insertion, or none, and the row is written or removed.
func TestReplaceUnreadableOldRow(t *testing.T) {
	p := compile(t, `
shop.notes:
  where: int(code) > 0
  columns: {max_bytes: {note: 4}}
  write:
    - hash: n:{id}
    - list: l
      value: "{note}"
    - stream: s`, "shop.notes: id int pk; code varchar(9); note text null")
	const entry = `XADD s 1764396072000-0 op insert table shop.notes key 1 after ` +
		`"{\"id\":1,\"code\":\"1\",\"note\":\"y\"}" ` +
		"position gtid:3e11fa47-71ca-11e1-9e33-c80aa9429562:23\n"
	const written = "DEL n:1\nHSET n:1 id 1 code 1 note y\nRPUSH l y\n" + entry
	for _, c := range []struct{ change, want string }{
		{"update 1 bad x -> 1 1 y", written},
		{"update 1 1 long! -> 1 1 y", written},
		{"delete 1 bad x", "DEL n:1\n"},
		{"delete 1 1 long!", "DEL n:1\n"},
	} {
		if got := runChange(t, p, c.change, transform.Replace); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.change, got, c.want)
		}
	}
}
