package mysqlsource

import (
	"path/filepath"
	"testing"

	"rowfall/pipelines/file"
)

// Two nodes with the same file on two hosts have different ids: MySQL would end the older
// connection of one id.
func TestServerID(t *testing.T) {
	id := deriveServerID("shop", "data/shop", "one")
	for what, other := range map[string]uint32{
		"host":      deriveServerID("shop", "data/shop", "two"),
		"pipeline":  deriveServerID("crm", "data/shop", "one"),
		"directory": deriveServerID("shop", "data/other", "one"),
	} {
		if other == id {
			t.Errorf("another %s has the same id", what)
		}
	}
	if again := deriveServerID("shop", "data/shop", "one"); again != id || id < 1<<31 {
		t.Errorf("id %d, then %d", id, again)
	}
	absolute, err := filepath.Abs("data/shop")
	if err != nil || deriveServerID("shop", absolute, "one") != id {
		t.Errorf("the absolute form of a directory has another id (%v)", err)
	}
	t.Chdir(t.TempDir())
	if deriveServerID("shop", "data/shop", "one") == id {
		t.Error("equal relative directories in two places have one id")
	}
	c := &file.Config{Name: "shop"}
	if first, second := serverID(c), serverID(c); first != second {
		t.Errorf("id %d, then %d", first, second)
	}
	if replayID(c) == serverID(c) {
		t.Error("a replay has the id of the stream")
	}
	if c.Source.ServerID = 7; serverID(c) != 7 {
		t.Error("server_id of the file is ignored")
	}
	if replayID(c) == 7 {
		t.Error("with server_id in the file, a replay has the id of the stream")
	}
}
