package file_test

import (
	"maps"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/pipelines/file"
	"rowfall/replication"
)

// Each row of the table has a key, a flag and a field of its own, and a doc.
func TestNodeSettings(t *testing.T) {
	keys, flags := make(map[string]bool), make(map[string]bool)
	n := file.Defaults().Sink.Node
	for _, s := range file.NodeSettings {
		if s.Doc == "" {
			t.Errorf("%s has no doc", s.Key)
		}
		if keys[s.Key] || s.Flag != "" && flags[s.Flag] {
			t.Errorf("%s, flag %q: stands in two rows", s.Key, s.Flag)
		}
		keys[s.Key], flags[s.Flag] = true, true
		v := s.Value(&n)
		text := v.String()
		if s.Default == "" {
			continue // text that is required or optional may be empty
		}
		if err := v.Set(text); err != nil || v.String() != text {
			t.Errorf("%s: Set(%q) makes %q, %v", s.Key, text, v.String(), err)
		}
	}
}

// Sizes, times and versions at the bounds of what their rows allow.
func TestNodeSettingBounds(t *testing.T) {
	for _, test := range []struct {
		key, text, want string // want "" means that text is rejected
	}{
		{"log.keep", "-1", "-1"},
		{"log.keep", "-1KiB", ""},
		{"log.keep", "1536MiB", "1536MiB"},
		{"log.keep", "2048MiB", "2GiB"},
		{"log.keep", "5000000TiB", ""},
		{"log.memory", "-1", ""},
		{"log.memory", "1", "1"},
		{"full_sync_rate", "0", "0"},
		{"log.keep_age", "2d", "48h0m0s"},
		{"log.keep_age", "0", "0"},
		{"assume_replicas", "6.2", "6.2"},
		{"assume_replicas", "6.2.14", "6.2.14"},
		{"assume_replicas", "7", "7"},
		{"assume_replicas", "10.0", "10.0"},
		{"assume_replicas", "6.1", ""},
		{"max_full_syncs", "10_000", "10000"},
		{"max_full_syncs", "10001", ""},
		{"master_tls.mode", "preferred", ""},
	} {
		n := file.Defaults().Sink.Node
		for _, s := range file.NodeSettings {
			if s.Key != test.key {
				continue
			}
			v := s.Value(&n)
			before := v.String()
			switch err := v.Set(test.text); {
			case test.want == "" && err == nil:
				t.Errorf("%s: %q is accepted as %q", s.Key, test.text, v.String())
			case test.want == "" && v.String() != before:
				t.Errorf("%s: rejected %q changes the value to %q", s.Key, test.text, v.String())
			case test.want != "" && (err != nil || v.String() != test.want):
				t.Errorf("%s: %q makes %q, %v; want %q",
					s.Key, test.text, v.String(), err, test.want)
			}
		}
	}
}

// The help texts of the table of a node's settings show the defaults that the node itself has.
func TestNodeDefaultsAreThoseOfTheNode(t *testing.T) {
	settings := func(c replication.Config) map[string]string {
		c.Dir, c.Listen, c.Logger = t.TempDir(), "127.0.0.1:0", zerolog.Nop()
		n, err := replication.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		values := map[string]string{}
		shared := func(name string) bool { return name != "dir" && name != "port" }
		for _, v := range n.FindSettings(shared) {
			values[v.Name] = v.Value
		}
		return values
	}
	shown, own := settings(file.Defaults().Sink.Node.Config), settings(replication.Config{})
	if !maps.Equal(shown, own) {
		t.Errorf("shown are %v, of the node itself %v", shown, own)
	}
}
