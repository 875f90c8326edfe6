package pipelines

import (
	"testing"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/query"
	"rowfall/sink/sinktest"
)

// The warning about a setting that was corrected disappears while the pipeline is idle.
func TestServerWarningsAreReadAgain(t *testing.T) {
	source := &scriptedSource{
		tables:   []*binlog.Table{intTable()},
		warnings: []query.Problem{{What: "sync_binlog is 0", Remedy: "set it"}},
	}
	_, l := scriptedPipeline(t, sinktest.NewMemory("test"), source)
	l.updateServerWarnings(t.Context())
	list := *l.stats.warnings.Load()
	if len(list) != 1 || list[0].Warning != "sync_binlog is 0: set it" {
		t.Fatalf("the warnings are %+v", list)
	}
	source.warnings = nil
	l.updateServerWarnings(t.Context())
	if len(*l.stats.warnings.Load()) != 1 {
		t.Error("the settings are read again at once")
	}
	l.warningsRead = time.Now().Add(-warningsInterval)
	l.updateServerWarnings(t.Context())
	if list := *l.stats.warnings.Load(); len(list) != 0 {
		t.Errorf("the warnings are %+v", list)
	}
}
