package main

import (
	"encoding/json"
	"strings"
	"testing"

	"rowfall/pipelines"
)

// The text and the JSON of the status have the warnings about the mapping.
func TestStatusWarnings(t *testing.T) {
	s := &pipelines.NodeStatus{Role: "master", Pipelines: []pipelines.PipelineStatus{{
		Name: "zoo", State: "streaming", IgnoredCascades: []string{"zoo.a"},
		Warnings: []pipelines.TableWarning{{Table: "zoo.b", Warning: "x.yaml:5: where: odd"}},
	}}}
	text := statusText(s)
	for _, want := range []string{
		"  cascades: zoo.a: foreign-key cascades are ignored\n",
		"  warning: zoo.b: x.yaml:5: where: odd\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the status\n%s\nlacks %q", text, want)
		}
	}
	encoded, err := json.Marshal(s)
	must(t, err)
	const want = `"warnings":[{"table":"zoo.b","warning":"x.yaml:5: where: odd"}]`
	if !strings.Contains(string(encoded), want) {
		t.Errorf("the JSON %s lacks %s", encoded, want)
	}
}
