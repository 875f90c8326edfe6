package pipelines

import (
	"context"
	"errors"
	"fmt"

	"rowfall/binlog"
	"rowfall/sink"
	"rowfall/transform"
)

// A key may hold a value of another type than its output writes: for example, a kept key of a
// dropped table, or a value from a restored snapshot. Such a value is overwritten only if a former
// definition of a table has written it. Otherwise the table goes into quarantine.

// IsFormer implements jobs.Host.
func (l *loop) IsFormer(key []byte, held string) bool {
	for _, t := range l.tables.all {
		for _, p := range l.tables.formerPlans(t) {
			if writes(p, key, held) {
				return true
			}
		}
	}
	return false
}

// writes reports whether an output of a plan writes values of a type to a key.
func writes(p *transform.Plan, key []byte, held string) bool {
	for i := range p.Outputs() {
		if p.OwnsKey(i, key) && sink.TypeOf(p.OutputKind(i)) == held {
			return true
		}
	}
	return false
}

// checkKeyTypes returns a *sink.KeyTypeError if a location that a change in mode Replace overwrites
// has a key with a value of another type. If a former definition has written the value, and the key
// has members of several rows, checkKeyTypes puts the removal of the key into the unit.
func (l *loop) checkKeyTypes(ctx context.Context, t *mappedTable, c *binlog.Change) error {
	var fault error
	for _, row := range [...]*binlog.Row{c.Before, c.After} {
		if row == nil {
			continue
		}
		err := t.Plan.Locations(row, func(at transform.Location) {
			if fault == nil {
				fault = l.checkKeyType(ctx, t.Plan, at)
			}
		})
		if err = errors.Join(err, fault); err != nil {
			return err
		}
	}
	return nil
}

// checkKeyType is checkKeyTypes for one location.
func (l *loop) checkKeyType(
	ctx context.Context, p *transform.Plan, at transform.Location,
) error {
	held, err := sink.KeyType(ctx, l.sink, at.Key)
	if err != nil || held == "none" || held == sink.TypeOf(p.OutputKind(at.Output)) {
		return err
	}
	if !l.IsFormer(at.Key, held) {
		return &sink.KeyTypeError{Key: string(at.Key), Held: held}
	}
	key := string(at.Key)
	if at.Member == nil || l.clearedKeys[key] {
		return nil // the commands of the change remove the key themselves
	}
	if l.clearedKeys == nil {
		l.clearedKeys = make(map[string]bool)
	}
	// The sink holds the old type until the unit is applied. A second DEL would remove the members
	// that the unit adds after the first.
	l.clearedKeys[key] = true
	l.unit.Commands.Append([]byte("DEL"), at.Key)
	return nil
}

// keyTypeFaults holds the tables that wrote to a key of another type, by database.table, with the
// errors. The unit that was rejected for this reason may contain any number of transactions. So the
// next run, which begins before them, puts the table into quarantine.
type keyTypeFaults map[string]error

// recordKeyType records the table that wrote to a key of another type, if a unit was rejected for
// that reason. It returns the table's name; empty if err has another cause.
func (l *loop) recordKeyType(err error) string {
	var other *sink.KeyTypeError
	if !errors.As(err, &other) {
		return ""
	}
	for _, name := range l.tables.names() {
		t := l.tables.all[name]
		if t.Fault != nil || t.Plan == nil {
			continue
		}
		for i := range t.Plan.Outputs() {
			if t.Plan.MayWrite(i, []byte(other.Key)) {
				l.keyTypes[name] = other
				return name
			}
		}
	}
	return ""
}

// quarantineKeyTypes puts the tables into quarantine that the last run has recorded. If the sink
// holds a part of a transaction, loop.changes does that at the first row of the table after that
// part.
func (l *loop) quarantineKeyTypes(ctx context.Context) error {
	if l.progress.Partial > 0 || len(l.keyTypes) == 0 {
		return nil
	}
	for _, name := range l.tables.names() {
		fault, t := l.keyTypes[name], l.tables.all[name]
		if fault == nil {
			continue
		}
		delete(l.keyTypes, name)
		if t.Fault != nil {
			continue
		}
		if err := l.quarantine(t, fault); err != nil {
			return err
		}
	}
	return l.Flush(ctx)
}

// keyTypeFault returns the fault that the last run has recorded for a table, and removes it from
// keyTypes.
func (l *loop) keyTypeFault(t *mappedTable) error {
	if len(l.keyTypes) == 0 {
		return nil
	}
	fault := l.keyTypes[t.FullName()]
	delete(l.keyTypes, t.FullName())
	return fault
}

// errKeyType is the error of a run that ends because of a key of another type. It does not wrap
// err: the unit is lost, so no caller may treat the error as the fault of one table and continue.
func errKeyType(table string, err error) error {
	return fmt.Errorf("%s; table %s goes into quarantine when the pipeline is retried",
		err.Error(), table)
}
