package pipelines

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
	"rowfall/sink"
)

// load adds the tables that the pieces of state describe.
func (s *tableSet) load(pieces map[string][]byte) error {
	if text := pieces[tablestate.DatabasesPiece]; text != nil {
		if err := json.Unmarshal(text, &s.databases); err != nil {
			return corrupt("character sets of the databases", err)
		}
	}
	if err := s.cascades.load(pieces); err != nil {
		return err
	}
	if err := s.prepared.load(pieces); err != nil {
		return err
	}
	faults := []error{s.loadSearches(pieces)}
	for _, piece := range slices.Sorted(maps.Keys(pieces)) {
		if full, ok := strings.CutPrefix(piece, tablestate.UnmappedPrefix); ok {
			s.unmapped[full] = string(pieces[piece])
			if d, err := readDefinition(pieces, full); err == nil && d != nil {
				s.definitions[full] = d
			}
			continue
		}
		if full, ok := strings.CutPrefix(piece, tablestate.DroppedPrefix); ok {
			s.dropped[full] = string(pieces[piece])
		}
		if full, ok := strings.CutPrefix(piece, tablestate.JobPrefix); ok {
			if err := s.loadTable(pieces, full); err != nil {
				faults = append(faults, err)
			}
		}
	}
	faults = append(faults, s.loadLetters(pieces))
	return errors.Join(faults...)
}

// loadTable adds the table that has a piece with its job.
func (s *tableSet) loadTable(pieces map[string][]byte, full string) error {
	var job tablestate.Job
	if err := json.Unmarshal(pieces[tablestate.JobPrefix+full], &job); err != nil {
		return corrupt("job of "+full, err)
	}
	var fault *tablestate.Fault
	if text := pieces[tablestate.FaultPrefix+full]; text != nil {
		if err := json.Unmarshal(text, &fault); err != nil {
			return corrupt("fault of "+full, err)
		}
	}
	former, err := readFormer(pieces, full)
	if err != nil {
		return err
	}
	s.removeFormerDue = s.removeFormerDue || len(former) > 0
	if err := s.loadHistory(pieces, full, fault == nil || len(former) > 0); err != nil {
		return err
	}
	d, err := readDefinition(pieces, full)
	if err != nil {
		return err
	}
	if d == nil {
		if !job.NeedsSchema && fault == nil {
			return corrupt("schema of "+full, errors.New("it is missing"))
		}
		database, name, _ := strings.Cut(full, ".")
		t := s.put(ddl.TableName{Database: database, Table: name})
		t.Job, t.Fault, t.former = job, fault, former
		return t.loadKeys(pieces)
	}
	m, err := s.add(d)
	if (fault != nil || job.NeedsSchema) && (err != nil || m == nil) {
		m = s.put(d.TableName())
		s.define(m, d, d.Table(), nil)
		err = nil
	}
	if err != nil {
		return err
	}
	if m == nil { // an older version mapped it
		fault = &tablestate.Fault{Reason: s.unmapped[full]}
		m = s.put(d.TableName())
		s.define(m, d, d.Table(), nil)
	}
	m.Job, m.Fault, m.former = job, fault, former
	if m.since, err = readSince(pieces, full); err != nil {
		return err
	}
	if d.Partial {
		m.storedJSON = pieces[tablestate.SchemaPrefix+full]
	}
	return m.loadKeys(pieces)
}

// readDefinition returns the definition of a table that the pieces hold, nil if they hold none.
func readDefinition(pieces map[string][]byte, full string) (*ddl.Schema, error) {
	if text := pieces[tablestate.DefinitionPrefix+full]; text != nil {
		d := new(ddl.Schema)
		if err := json.Unmarshal(text, d); err != nil {
			return nil, corrupt("definition of "+full, err)
		}
		return d, nil
	}
	if text := pieces[tablestate.SchemaPrefix+full]; text != nil {
		t := new(binlog.Table)
		if err := json.Unmarshal(text, t); err != nil {
			return nil, corrupt("schema of "+full, err)
		}
		return ddl.FromTable(t), nil
	}
	return nil, nil
}

// corrupt returns a StopError for a piece of state that cannot be read.
func corrupt(what string, err error) error {
	return stop("read %s from the data: %w; start again with --from snapshot --replace", what, err)
}

// save puts the state of all tables into a unit.
func (s *tableSet) save(u *sink.Unit, pipeline string) error {
	for _, name := range s.names() {
		if err := s.all[name].save(u, pipeline); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.unmapped)) {
		if err := s.saveUnmapped(u, pipeline, name); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.dropped)) {
		s.saveDropped(u, pipeline, name)
	}
	return s.saveDatabases(u, pipeline)
}

// saveUnmapped puts the reason why a table is not mapped, and its definition, into a unit.
func (s *tableSet) saveUnmapped(u *sink.Unit, pipeline, name string) error {
	u.SetState(pipeline, tablestate.UnmappedPrefix+name, []byte(s.unmapped[name]))
	if d := s.definitions[name]; d != nil {
		return saveJSON(u, pipeline, tablestate.DefinitionPrefix+name, d)
	}
	return nil
}

// saveDatabases puts the databases' character sets into a unit.
func (s *tableSet) saveDatabases(u *sink.Unit, pipeline string) error {
	return saveJSON(u, pipeline, tablestate.DatabasesPiece, s.databases)
}

// save puts all state of a table into a unit.
func (t *mappedTable) save(u *sink.Unit, pipeline string) error {
	full := t.FullName()
	u.DropState(pipeline, tablestate.SchemaPrefix+full)
	if t.definition == nil {
		u.DropState(pipeline, tablestate.DefinitionPrefix+full)
	} else if err := saveJSON(
		u, pipeline, tablestate.DefinitionPrefix+full, t.definition,
	); err != nil {
		return err
	}
	if t.Fault == nil {
		u.DropState(pipeline, tablestate.FaultPrefix+full)
	} else if err := saveJSON(u, pipeline, tablestate.FaultPrefix+full, t.Fault); err != nil {
		return err
	}
	if err := t.saveFormer(u, pipeline); err != nil {
		return err
	}
	if err := t.saveSince(u, pipeline); err != nil {
		return err
	}
	if err := t.saveHistory(u, pipeline); err != nil {
		return err
	}
	u.DropState(pipeline, tablestate.DroppedPrefix+full)
	return t.saveJob(u, pipeline)
}

// saveJob puts the progress of a table's job into a unit, and what has changed of its Keys.
func (t *mappedTable) saveJob(u *sink.Unit, pipeline string) error {
	if err := t.saveKeys(u, pipeline); err != nil {
		return err
	}
	return saveJSON(u, pipeline, tablestate.JobPrefix+t.FullName(), &t.Job)
}

// drop removes all state of a table.
func (t *mappedTable) drop(u *sink.Unit, pipeline string) {
	t.CancelKeys()
	_ = t.saveKeys(u, pipeline) // which cannot fail without Keys
	for _, prefix := range [...]string{
		tablestate.SchemaPrefix, tablestate.DefinitionPrefix, tablestate.JobPrefix,
		tablestate.FaultPrefix, tablestate.FormerPrefix, tablestate.SincePrefix,
		tablestate.ColumnsPrefix,
	} {
		u.DropState(pipeline, prefix+t.FullName())
	}
}

// saveJSON puts a value as JSON into a unit.
func saveJSON(u *sink.Unit, pipeline, piece string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", piece, err)
	}
	u.SetState(pipeline, piece, text)
	return nil
}
