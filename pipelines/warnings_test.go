package pipelines

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"rowfall/binlog"
	"rowfall/sink/sinktest"
	"rowfall/transform"
)

// When a pipeline starts, its log has the warnings of the mapping with their place in the file.
func TestLogOfWarnings(t *testing.T) {
	_, l := scriptedPipeline(t, sinktest.NewMemory("test"),
		&scriptedSource{tables: []*binlog.Table{intTable()}})
	table := &binlog.Table{
		Database: "shop", Name: "t", Primary: []int{0}, Columns: []binlog.Column{
			{Name: "id", Type: binlog.TypeInt},
			{Name: "status", Type: binlog.TypeEnum, Values: []string{"new", "paid"}},
		},
	}
	plan, err := transform.Compile(&transform.Mapping{Tables: []transform.TableRule{{
		Pattern: "shop.t", Path: "tables.shop.t", Line: 7, Where: `status == "padi"`,
	}}}, table)
	if err != nil {
		t.Fatal(err)
	}
	l.tables.all["shop.t"].Plan = plan
	l.config.Path = "test.yaml"
	var log bytes.Buffer
	l.log = zerolog.New(&log)
	if err := l.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"level":"warn","table":"shop.t"`, `test.yaml:7: tables.shop.t.where: `,
		`is no label of shop.t.status`, `did you mean \"paid\"?`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, log.String())
		}
	}
}
