package pipelines

import (
	"encoding/json"
	"strings"

	"rowfall/pipelines/tablestate"
	"rowfall/transform"
)

// dataTable looks up one table in the data of a node. A replica can use it, too, because it needs
// no pipeline file.
type dataTable struct {
	name string // database.table
	// piece returns a piece of a pipeline's state.
	piece func(pipeline, name string) (value []byte, found bool)
}

// isIn reports whether the data of a pipeline have the table.
func (d dataTable) isIn(pipeline string) bool {
	_, found := d.piece(pipeline, tablestate.JobPrefix+d.name)
	return found
}

// mayComeTo reports whether the mapping of a pipeline's data matches the table, so that the table
// will be mapped if it is created later. It also returns true if the data do not contain their
// mapping.
func (d dataTable) mayComeTo(pipeline string) bool {
	text, found := d.piece(pipeline, tablestate.MeaningPiece)
	var m transform.Mapping
	if !found || json.Unmarshal(text, &m) != nil {
		return true
	}
	// The name of a database may contain a dot.
	for i := range len(d.name) {
		if d.name[i] != '.' {
			continue
		}
		if rule, err := m.Rule(d.name[:i], d.name[i+1:]); rule != nil || err != nil {
			return true
		}
	}
	return false
}

// notMapped returns the stored reason why a pipeline does not map the table; empty without one.
func (d dataTable) notMapped(pipeline string) string {
	reason, _ := d.piece(pipeline, tablestate.UnmappedPrefix+d.name)
	return strings.Join(strings.Fields(string(reason)), " ")
}
