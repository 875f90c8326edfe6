package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"rowfall/binlog"
	"rowfall/binlog/events"
	"rowfall/binlog/mysql"
)

// Stretch is a part of a Log that begins and ends between two transactions.
type Stretch struct {
	// Start and End have file and offset, and a GTID set if HasGTIDs is set.
	Start, End binlog.Position
	// HasGTIDs is set if every transaction up to End has a GTID.
	HasGTIDs bool
	// Transactions is the number of transactions, and Bytes their size in the files.
	Transactions, Bytes int64
	// Broken is why the files cannot be read past End, although the stretch should be longer; nil
	// if the stretch is all that was requested.
	Broken error
}

// Find returns the stretch between two POSITIONs: gtid:SET, FILE:OFFSET or time:TIME. An empty from
// is the beginning of the first file, an empty to the end of the last one. It reads the files up to
// the stretch's end.
func (l *Log) Find(ctx context.Context, from, to string) (s Stretch, err error) {
	start, err := l.parsePlace("--from", from)
	if err != nil {
		return s, err
	}
	end, err := l.parsePlace("--to", to)
	if err != nil {
		return s, err
	}
	begin, h, err := l.begin(0)
	if err != nil {
		return s, err
	}
	if start.at != (time.Time{}) && start.at.Unix() < int64(h.begun) {
		return s, fmt.Errorf("--from %s: it is before the first file, %s, which begins at %s; "+
			"give the files before it, too", from, l.files[0].name,
			time.Unix(int64(h.begun), 0).UTC().Format(time.RFC3339))
	}
	r, err := l.openEvents(begin, events.Options{GTIDs: true, Tables: unmapped{}})
	if err != nil {
		return s, err
	}
	defer r.close()
	f := finder{log: l, start: start, end: end, last: begin}
	if err := f.read(ctx, r); err != nil {
		return s, err
	}
	return f.stretch()
}

// place is a POSITION that is searched for.
type place struct {
	flag, text string // for messages
	isGiven    bool
	file       binlog.Position // FILE:OFFSET
	set        binlog.GTIDSet
	at         time.Time
	// isFound is set once found is the place.
	isFound bool
	found   binlog.Position
}

// parsePlace parses a POSITION. The end of a file is the beginning of the next one.
func (l *Log) parsePlace(flag, text string) (p place, err error) {
	if p = (place{flag: flag, text: text}); text == "" {
		return p, nil
	}
	p.isGiven = true
	at, isTime, err := binlog.ParsePositionTime(text)
	if isTime {
		p.at = at
		return p, err
	}
	at2, err := binlog.ParsePosition(text)
	if err != nil {
		return p, err
	}
	if p.set = at2.GTID; at2.File == "" {
		return p, nil
	}
	i, found := l.index(at2.File)
	switch {
	case !found:
		return p, fmt.Errorf("%s %s: no such file is among the given ones", flag, text)
	case at2.Offset > l.files[i].size:
		return p, fmt.Errorf("%s %s: the file ends at %d", flag, text, l.files[i].size)
	case at2.Offset == l.files[i].size && i+1 < len(l.files):
		at2 = binlog.Position{File: l.files[i+1].name, Offset: firstEvent}
	}
	p.file = at2
	return p, nil
}

// finder searches for the ends of a stretch.
type finder struct {
	log        *Log
	start, end place
	// last is the last place between two transactions.
	last binlog.Position
	// withGTID and anonymous count the transactions with and without a GTID.
	withGTID, anonymous int64
	// outside is the first transaction that is not in start.set; zero if all of them are in it.
	outside binlog.GTID
	// atStart counts the transactions up to start.found.
	atStart int64
	broken  error
}

// read reads until the end of the stretch is found, or the files end.
func (f *finder) read(ctx context.Context, r *eventReader) error {
	isFirst := true
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		ev, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			f.broken = err
			return nil
		}
		if r.startsFile && !isFirst {
			if f.broken = f.checkContinuity(r); f.broken != nil {
				return nil
			}
		}
		if !r.parser.Idle() {
			continue
		}
		if isFirst {
			isFirst = false
			if err := f.first(r.parser.Position()); err != nil {
				return err
			}
		}
		if isDone, err := f.boundary(ev, r.parser); isDone || err != nil {
			return err
		}
	}
}

// checkContinuity is called at the beginning of each file but the first. It returns an error if
// transactions at the end of the file before are missing.
func (f *finder) checkContinuity(r *eventReader) error {
	begin, h, err := f.log.beginOf(r.name())
	if err != nil {
		return err
	}
	executed := r.parser.Position().GTID
	isMissing := !executed.Contains(h.previous)
	if missing := h.previous.Subtract(&executed); isMissing && !f.log.missing.Contains(missing) {
		return fmt.Errorf("read binlog file %s: the files before it do not contain %s: the file "+
			"before it was copied while the server wrote it, or gtid_purged was set on the "+
			"server; copy that file again, omit the files after it, or, to leave these "+
			"transactions out, which makes a gap, add --missing %s", begin.File, &missing, &missing)
	}
	switch before := &r.before; {
	case before.isClosed:
		return nil
	case before.inUse && !isMissing:
		return fmt.Errorf("read binlog file %s: the file before it was copied while the server "+
			"wrote it, and its end may be missing; copy that file again, or omit the files "+
			"after it", begin.File)
	// Do the GTIDs prove that no transaction is missing?
	case f.log.flavor == mysql.MariaDB, f.withGTID > 0 && f.anonymous == 0:
		return nil
	case f.log.afterCrash[before.name]:
		return nil
	default:
		return fmt.Errorf("read binlog file %s: it does not end in an event that closes it, and "+
			"without GTIDs nothing shows whether transactions are missing at its end; copy the "+
			"whole file, omit the files after it, or, if the server crashed at its end, add "+
			"--after-crash %s", before.name, before.name)
	}
}

// first is called at the beginning of the first file, where position has its GTIDs.
func (f *finder) first(position *binlog.Position) error {
	f.last.GTID = position.GTID
	if set := &f.start.set; !set.IsZero() && !set.Contains(position.GTID) {
		earlier := position.GTID.Subtract(set)
		return fmt.Errorf("--from %s: the files begin after %s, which is not in the set; "+
			"give the files before them, too", f.start.text, &earlier)
	}
	if !f.start.isGiven || !f.start.set.IsZero() {
		f.start.isFound, f.start.found = true, f.last
	}
	for _, p := range []*place{&f.start, &f.end} {
		// There is no transaction between the beginning of the file and position.
		if p.file.File == f.last.File && p.file.Offset <= position.Offset {
			f.found(p, &f.last)
		}
		f.check(p, &f.last)
	}
	return nil
}

// boundary is called after each event between two transactions. isDone means that the rest of the
// files is not needed.
func (f *finder) boundary(ev *binlog.Event, p *events.Parser) (isDone bool, err error) {
	if f.end.isFound {
		return true, nil
	}
	isTransaction := ev != nil && (ev.Kind == binlog.Commit || ev.Kind == binlog.Statement)
	if isTransaction {
		f.beforeTransaction(ev)
		if f.end.isFound {
			return true, nil
		}
		if id := p.Last().GTID; id.IsZero() {
			f.anonymous++
		} else {
			f.withGTID++
			f.compareSet(id, p.Position())
		}
	}
	now := p.Position()
	for _, place := range []*place{&f.start, &f.end} {
		if err := f.passed(place, now); err != nil {
			return false, err
		}
		f.check(place, now)
	}
	f.last = *now
	return f.end.isFound, nil
}

// beforeTransaction finds places by their time, before the first transaction that is not older.
func (f *finder) beforeTransaction(ev *binlog.Event) {
	for _, p := range []*place{&f.start, &f.end} {
		if !p.at.IsZero() && !p.isFound && ev.Time >= p.at.UnixMicro() {
			f.found(p, &f.last)
		}
	}
}

// found records a place.
func (f *finder) found(p *place, at *binlog.Position) {
	p.isFound, p.found = true, *at
	if p == &f.start {
		f.atStart = f.withGTID + f.anonymous
	}
}

// compareSet moves the start behind each transaction that is in the set of --from.
func (f *finder) compareSet(id binlog.GTID, now *binlog.Position) {
	if f.start.set.IsZero() {
		return
	}
	var one binlog.GTIDSet
	one.AddGTID(id)
	switch {
	case f.start.set.Contains(one):
		f.found(&f.start, now)
	case f.outside.IsZero():
		f.outside = id
	}
}

// check finds a place by file and offset, and --to by its set.
func (f *finder) check(p *place, now *binlog.Position) {
	switch {
	case p.isFound:
	case p.file.File != "" && p.file.CompareFile(*now) == 0,
		p == &f.end && !p.set.IsZero() && now.GTID.Contains(p.set):
		f.found(p, now)
	}
}

// passed returns an error if a FILE:OFFSET lies between the last place and now.
func (f *finder) passed(p *place, now *binlog.Position) error {
	if p.isFound || p.file.File == "" || p.file.CompareFile(*now) >= 0 ||
		p.file.CompareFile(f.last) <= 0 {
		return nil
	}
	return fmt.Errorf("%s %s: it is within a transaction or an event, between %s:%d and %s:%d; "+
		"give one of these", p.flag, p.text, f.last.File, f.last.Offset, now.File, now.Offset)
}

// stretch returns what was found.
func (f *finder) stretch() (s Stretch, err error) {
	end := &f.last
	switch {
	case f.end.isFound:
		end = &f.end.found
	case f.broken != nil && f.end.isGiven:
		return s, fmt.Errorf("--to %s is not reached: %w", f.end.text, f.broken)
	case f.end.isGiven && f.end.at.IsZero():
		return s, fmt.Errorf("--to %s: the files end before it, at %s; give the files after them, "+
			"too", f.end.text, end)
	}
	s = Stretch{
		Start: f.start.found, End: *end, Broken: f.broken,
		HasGTIDs:     f.anonymous == 0 && !end.GTID.IsZero(),
		Transactions: f.withGTID + f.anonymous - f.atStart,
	}
	if err := f.checkStart(&s); err != nil {
		return s, err
	}
	if !s.HasGTIDs {
		s.Start.GTID, s.End.GTID = binlog.GTIDSet{}, binlog.GTIDSet{}
	}
	s.Bytes = f.log.bytesTo(&s.End) - f.log.bytesTo(&s.Start)
	return s, nil
}

// checkStart returns an error if --from was not found, or is not before the end.
func (f *finder) checkStart(s *Stretch) error {
	set := &f.start.set
	switch {
	case !f.start.isGiven && !f.start.isFound:
		return s.Broken
	case !f.start.isFound && !f.start.at.IsZero() && s.Broken == nil && !f.end.isFound:
		return fmt.Errorf("--from %s: the last transaction in the files is before it", f.start.text)
	case !f.start.isFound && s.Broken != nil:
		return fmt.Errorf("--from %s is not reached: %w", f.start.text, s.Broken)
	case !f.start.isFound:
		return fmt.Errorf("--from %s: it is not before --to %s", f.start.text, f.end.text)
	case !set.IsZero() && f.anonymous > 0:
		return fmt.Errorf("--from %s: the files contain transactions without a GTID; "+
			"give FILE:OFFSET", f.start.text)
	case !set.IsZero() && !s.Start.GTID.Contains(*set):
		missing := set.Subtract(&s.Start.GTID)
		return fmt.Errorf("--from %s: the files do not contain %s", f.start.text, &missing)
	case !set.IsZero() && !set.Contains(s.Start.GTID):
		return fmt.Errorf("--from %s: transaction %s is not in the set, and comes before others "+
			"that are; give FILE:OFFSET", f.start.text, f.outside)
	case f.end.isGiven && s.Start.CompareFile(s.End) >= 0:
		return fmt.Errorf("--from %s: it is not before --to %s", f.start.text, f.end.text)
	}
	return nil
}
