package pipelines

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"rowfall/binlog"
	"rowfall/binlog/ddl"
	"rowfall/pipelines/tablestate"
)

// statement handles a statement that was logged as text. A statement that touches no table of the
// mapping only moves the position.
func (l *loop) statement(ctx context.Context, ev *binlog.Event) error {
	l.stats.statements.Add(1)
	l.previous = l.progress.Position
	s := ddl.Parse(ev.SQL, l.ddlOptions(ev))
	if err := l.checkWritesAgain(s, ev.SQL); err != nil {
		return err
	}
	if err := l.checkSelect(ctx, s, ev); err != nil {
		return err
	}
	touches := false
	if ev.Skipped == nil {
		var err error
		if touches, err = l.applyStatement(ctx, s, ev); err != nil {
			if errors.As(err, new(*settingError)) {
				err = l.offerSkip(err, "")
			}
			return err
		}
	} else if err := l.leaveOutStatement(ctx, s, ev); err != nil {
		return err
	}
	if ev.InTransaction {
		return nil // the transaction's commit moves the position
	}
	from := l.progress.Position
	l.advancePosition(max(l.progress.Time, ev.Time)) // a statement's time has whole seconds only
	skipped, err := l.completeSkips(&from, ev)
	if err != nil {
		return err
	}
	if err := l.maybeFlush(ctx, touches || skipped); err != nil {
		return err
	}
	return l.betweenTransactions(ctx)
}

// applyStatement applies a statement to the tables of the mapping, and reports whether it touches
// any. What is removed from the sink is removed before the position moves, so that a run that is
// interrupted begins with this statement again. The rest is in the unit that moves the position.
func (l *loop) applyStatement(
	ctx context.Context, s *ddl.Statement, ev *binlog.Event,
) (touches bool, err error) {
	if s.Temporary {
		return false, nil
	}
	if err := l.trackNames(s, ev.SQL); err != nil {
		return false, err
	}
	effects, unclear, why, err := l.effectsOf(s, ev)
	if err != nil {
		return false, err
	}
	keys := l.foreignKeysOf(s, effects, unclear, ev.SQL)
	effects, unclear, leftOut := l.leaveOutEffects(effects, unclear)
	if len(effects)+len(unclear)+len(leftOut)+len(keys.names) == 0 {
		return false, nil
	}
	if !ev.InTransaction && !l.unit.IsEmpty() {
		if err := l.flush(ctx); err != nil {
			return true, err
		}
	}
	heirs := l.plansOfRenamed(effects)
	histories := maps.Clone(l.tables.columns)
	for i := range effects {
		e := &effects[i]
		if err := l.moveHistory(e, histories); err != nil {
			return true, err
		}
		if err := l.applyEffect(ctx, e, ev.SQL, heirs); err != nil {
			return true, err
		}
		if h := l.tables.columns[e.Table.String()]; h != nil {
			histories[e.Table.String()] = h
		}
	}
	for _, n := range unclear {
		if err := l.rebuildUnknown(n, why+": "+shorten(ev.SQL)); err != nil {
			return true, err
		}
	}
	if err := l.rebuildLeftOut(leftOut, ev.SQL); err != nil {
		return true, err
	}
	l.tablesChanged()
	l.stream.Forget()
	if err := l.tables.checkConflicts(); err != nil {
		return true, err
	}
	if err := l.checkForeignKeys(ctx, keys); err != nil {
		return true, err
	}
	l.tablesChanged()
	return true, nil
}

// trackNames updates what the pipeline records of databases, views, and tables that wildcards skip.
func (l *loop) trackNames(s *ddl.Statement, sql string) error {
	l.trackSkipped(s)
	if err := l.trackViews(s, sql); err != nil {
		return err
	}
	return l.trackDatabase(s)
}

// effectsOf returns what a statement does to the tables of the mapping. unclear lists the tables
// that the statement names and whose effect is unknown; why is the reason.
func (l *loop) effectsOf(
	s *ddl.Statement, ev *binlog.Event,
) (effects []ddl.Effect, unclear []ddl.TableName, why string, err error) {
	all, applyErr := s.Apply(catalog{l.tables, s.Action})
	why = "the effect of a statement on its columns is not known"
	if applyErr != nil {
		why = applyErr.Error()
	}
	if applyErr != nil || ev.Session.IsTextInexact || s.Action == ddl.Unknown {
		unclear, err = l.namedTables(s, ev.Session.IsTextInexact)
		unclear = slices.DeleteFunc(unclear, l.tables.isTentative)
		if err != nil || applyErr != nil {
			return nil, unclear, why, err
		}
	}
	for _, e := range all {
		matches, err := l.matches(e.Table)
		if err != nil {
			return nil, nil, why, err
		}
		// With IF NOT EXISTS, the table may have existed before, with other columns.
		mayExist := s.IfNotExists && l.tables.isTentative(e.Table)
		if matches && !mayExist && !slices.Contains(unclear, e.Table) {
			effects = append(effects, e)
		}
	}
	// Apply returns no effect for a table without a known definition. The table's job must read the
	// definition again.
	for _, n := range s.Tables {
		t := l.tables.all[n.String()]
		hasEffect := slices.ContainsFunc(effects, func(e ddl.Effect) bool {
			return e.Table == n || e.From == n && e.Schema == nil // see renamedUnknown
		})
		if t != nil && t.Job.NeedsSchema && !hasEffect && s.Action != ddl.Other {
			unclear = append(unclear, n)
		}
	}
	return withoutReplaced(effects), unclear, why, nil
}

// withoutReplaced removes the effects that a RENAME of several tables undoes itself. A name that a
// table gets for a moment, as x in RENAME TABLE a TO x, b TO a, x TO b, has no effect. A name that
// is gone, and that another table then gets, has no TableGone, as in online schema changes: the old
// keys serve until the new rows are read.
func withoutReplaced(effects []ddl.Effect) []ddl.Effect {
	later := func(i int, class ddl.Class) int {
		return slices.IndexFunc(effects[i+1:], func(e ddl.Effect) bool {
			return e.Table == effects[i].Table && e.Class == class &&
				(class != ddl.TableNew || e.From != (ddl.TableName{}))
		})
	}
	for i := 0; i < len(effects); {
		e := &effects[i]
		if e.Class == ddl.TableNew && e.From != (ddl.TableName{}) {
			if gone := later(i, ddl.TableGone); gone >= 0 {
				effects = slices.Delete(effects, i+1+gone, i+2+gone)
				effects = slices.Delete(effects, i, i+1)
				continue
			}
		}
		i++
	}
	for i := 0; i < len(effects); {
		if effects[i].Class == ddl.TableGone && later(i, ddl.TableNew) >= 0 {
			effects = slices.Delete(effects, i, i+1)
			continue
		}
		i++
	}
	return effects
}

// matches reports whether the mapping matches a table.
func (l *loop) matches(n ddl.TableName) (bool, error) {
	rule, err := l.config.Mapping.Rule(n.Database, n.Table)
	if err != nil {
		return false, &StopError{Err: err}
	}
	return rule != nil, nil
}

// namedTables returns the tables of the mapping that occur in a statement's text. If characters of
// the text are lost, every table whose name is not ASCII may occur.
func (l *loop) namedTables(s *ddl.Statement, inexact bool) (names []ddl.TableName, err error) {
	add := func(n ddl.TableName) {
		matches, e := l.matches(n)
		err = errors.Join(err, e)
		if matches && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for _, n := range s.Tables {
		add(n)
	}
	s.Mentions(func(n ddl.TableName) bool {
		if l.tables.all[n.String()] != nil {
			add(n)
		}
		return false
	})
	if inexact {
		for _, full := range l.tables.names() {
			if strings.ContainsFunc(full, func(r rune) bool { return r >= utf8.RuneSelf }) {
				add(l.tables.all[full].name())
			}
		}
	}
	return names, err
}

// trackViews updates the list of views and sequences whose names match the mapping. They are not
// mapped. A table can get the name of a dropped view.
func (l *loop) trackViews(s *ddl.Statement, sql string) error {
	if s.Action != ddl.Other || s.Object != "VIEW" && s.Object != "SEQUENCE" {
		return nil
	}
	isDrop := strings.HasPrefix(strings.ToUpper(strings.TrimSpace(sql)), "DROP")
	for _, name := range s.Tables {
		full := name.String()
		matches, err := l.matches(name)
		if err != nil {
			return err
		}
		if !matches || l.tables.all[full] != nil {
			continue
		}
		if isDrop {
			delete(l.tables.unmapped, full)
			delete(l.tables.definitions, full)
			l.unit.DropState(l.config.Name, tablestate.UnmappedPrefix+full)
		} else {
			l.tables.unmapped[full] = "it is a " + strings.ToLower(s.Object)
			if err := l.tables.saveUnmapped(&l.unit, l.config.Name, full); err != nil {
				return err
			}
		}
		l.tablesChanged()
	}
	return nil
}

// trackDatabase updates the default character set of a database.
func (l *loop) trackDatabase(s *ddl.Statement) error {
	before := l.tables.databases[s.Database]
	switch s.Action {
	case ddl.CreateDatabase, ddl.AlterDatabase:
		after, err := s.DatabaseCharset(before)
		if err != nil {
			delete(l.tables.databases, s.Database)
		} else if after == before {
			return nil
		} else {
			l.tables.databases[s.Database] = after
		}
	case ddl.DropDatabase:
		delete(l.tables.databases, s.Database)
	default:
		return nil
	}
	return l.tables.saveDatabases(&l.unit, l.config.Name)
}

// shorten returns a statement on one line, in quotes, cut to 120 bytes.
func shorten(sql string) string {
	const most = 4096 // of a statement of megabytes, the beginning is enough
	sql = strings.Join(strings.Fields(binlog.Clip(sql, most)), " ")
	return fmt.Sprintf("%q", binlog.Clip(sql, 120))
}
