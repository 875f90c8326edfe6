package binlog_test

import (
	"strings"
	"testing"

	"rowfall/binlog"
)

// The name of a transaction is read as it is printed, and tells whether a position includes the
// transaction.
func TestTransactionID(t *testing.T) {
	const uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	for _, test := range []struct {
		text, position string
		included       bool
	}{
		{"gtid:" + uuid + ":5", "gtid:" + uuid + ":1-5", true},
		{"gtid:" + uuid + ":6", "gtid:" + uuid + ":1-5", false},
		{"gtid:" + uuid + ":tag:5", "gtid:" + uuid + ":1-5", false},
		{"gtid:0-1-7", "gtid:0-2-7", true},
		{"gtid:0-1-8", "gtid:0-1-7", false},
		{"gtid:1-1-7", "gtid:0-1-7", false},
		// A transaction that begins at the end of the position follows it.
		{"binlog.000003:154", "binlog.000003:154", false},
		{"binlog.000003:154", "binlog.000003:155", true},
		{"binlog.000003:154", "binlog.000004:4", true},
		{"binlog.000003:154", "binlog.000002:999", false},
	} {
		id, err := binlog.ParseTransactionID(test.text)
		if err != nil || id.String() != test.text {
			t.Errorf("%s is read as %s, %v", test.text, id, err)
		}
		p, err := binlog.ParsePosition(test.position)
		if err != nil {
			t.Fatal(err)
		}
		if got := id.IsIncludedIn(&p); got != test.included {
			t.Errorf("%s includes %s: %v, want %v", p, id, got, test.included)
		}
	}
	for _, text := range []string{
		"", "gtid:", "gtid:" + uuid + ":1-2", "gtid:0-1-7,1-1-7", "binlog.000003", "yesterday",
		"binlog.000003:3", "gtid:" + uuid,
	} {
		if id, err := binlog.ParseTransactionID(text); err == nil {
			t.Errorf("%q is read as %s, want an error", text, id)
		}
	}
	for _, text := range []string{uuid + ":47", "0-1-7"} {
		_, err := binlog.ParseTransactionID(text)
		if err == nil || !strings.Contains(err.Error(), "write gtid:"+text) {
			t.Errorf("%q: %v, want the right spelling", text, err)
		}
	}
}

// Evidence is named by its GTID, or else by its place.
func TestNamesEvidence(t *testing.T) {
	g := binlog.GTID{MariaDB: true, Domain: 1, Server: 2, Sequence: 3}
	byGTID := binlog.Evidence{GTID: g, File: "b.1", Start: 4}
	byPlace := binlog.Evidence{File: "b.1", Start: 4}
	other := binlog.Evidence{File: "b.1", Start: 5}
	if byGTID.ID().String() != "gtid:1-2-3" || byPlace.ID().String() != "b.1:4" {
		t.Errorf("the names are %s and %s", byGTID.ID(), byPlace.ID())
	}
	for _, e := range []binlog.Evidence{byGTID, byPlace, other} {
		if !e.ID().Names(&e) {
			t.Errorf("%s does not name its transaction", e.ID())
		}
	}
	if byPlace.ID().Names(&other) || byGTID.ID().Names(&byPlace) || !byPlace.ID().Names(&byGTID) {
		t.Error("a name fits another transaction")
	}
	position := binlog.Evidence{File: "b.1", End: 9, FileTime: 1}
	if zero := position.ID(); !zero.IsZero() || zero.Names(&position) {
		t.Errorf("a position is named %s", zero)
	}
}
