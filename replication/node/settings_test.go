package node

import (
	"testing"

	"github.com/rs/zerolog"
)

// For every content of the file, it is rejected, or the next start has the same settings. Changes
// under an old and a new spelling were once stored separately, and at the next start the old
// spelling won, even where its change was older.
func FuzzSettings(f *testing.F) {
	for _, text := range []string{
		"repl-timeout \"5\"\nmaxclients \"10\"\nreplica-serve-stale-data \"no\"\n",
		"masterauth \"a\\nb\\x00 \\\"c\"\nmasteruser `x`\n",
		"min-slaves-max-lag \"5\"\nmin-replicas-max-lag \"10\"\n",
		"repl-timeout 5\n", "port \"1\"\n", "repl-timeout \"0\"", "\n", "",
	} {
		f.Add(text)
	}
	read := func(text string) (*Node, error) {
		n := &Node{logger: zerolog.Nop(), settings: newSettings(Config{}.withDefaults())}
		return n, n.readSettings(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := read(text)
		if err != nil {
			return
		}
		kept := string(n.settings.appendText(nil))
		again, err := read(kept)
		if err != nil || string(again.settings.appendText(nil)) != kept {
			t.Fatalf("%q is written as %q and read as %q, %v", text, kept,
				again.settings.appendText(nil), err)
		}
		for _, c := range settingTable {
			if c.parse != nil && c.get(n) != c.get(again) {
				t.Errorf("%q: %s is %q, after a restart %q", text, c.name, c.get(n), c.get(again))
			}
		}
	})
}
