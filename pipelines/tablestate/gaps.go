package tablestate

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"rowfall/binlog"
)

// The causes of gaps.
const (
	// CauseSkip is a transaction that `rowfall skip` has stepped over.
	CauseSkip = "skip"
	// CauseFrom is a stretch that `--from` has passed over.
	CauseFrom = "--from"
	// CauseCancel is a stretch whose changes a job should have brought, which was cancelled.
	CauseCancel = "cancel"
	// CauseQuarantine is a stretch in which an output of kind list or stream got no entries,
	// because its table was in quarantine, or because its columns were not known.
	CauseQuarantine = "quarantine"
	// CauseLoad is an initial load that was not finished, so that an output of kind list or stream
	// with `snapshot: true` has no entries for some rows.
	CauseLoad = "load"
	// CauseMissing is a stretch that the binlog files of a replay do not contain.
	CauseMissing = "missing"
	// CauseUnproved is a stretch of a history that could not be compared with the source's. No
	// version writes it yet; every version reads it.
	CauseUnproved = "unproved"
)

// MaxGaps limits the gaps of a pipeline and its stored skip requests together.
const MaxGaps = 100

// Gap is a stretch of the source whose changes were not applied. Its JSON form is stored, and is
// shown to users.
type Gap struct {
	// ID numbers the gaps of a pipeline from 1. A number is not used again.
	ID    int    `json:"id"`
	Cause string `json:"cause"`
	// From and To are positions as binlog.Position prints them: the gap begins after From, and
	// ends with To.
	From string `json:"from"`
	To   string `json:"to"`
	// At names the transaction, as binlog.TransactionID prints it, if the gap is one transaction.
	At string `json:"at,omitempty"`
	// Tables are the tables concerned that no job has reconciled since, as database.table, sorted.
	Tables []string `json:"tables"`
	// All is set if Tables are all tables that were mapped when the gap was made, and no job has
	// reconciled any of them since.
	All bool `json:"all,omitempty"`
	// Entries is set if only entries of lists and streams are missing. The rows of the tables are
	// complete, or a job makes them so.
	Entries bool `json:"entries,omitempty"`
	// Reason gives details beyond Cause; empty without details.
	Reason string `json:"reason,omitempty"`
	// Time is when the gap was made, in microseconds since 1970.
	Time int64 `json:"time"`
}

// Gaps are the open gaps of a pipeline, oldest first.
type Gaps struct {
	// Last is the number of the last gap that was made, also after the gap was closed.
	Last int   `json:"last"`
	Open []Gap `json:"open,omitempty"`
}

// Add adds a gap under a new number, and returns it with the number. tables may have any order.
func (g *Gaps) Add(gap Gap, tables []string) Gap {
	g.Last++
	gap.ID = g.Last
	gap.Tables = slices.Compact(slices.Sorted(slices.Values(tables)))
	g.Open = append(g.Open, gap)
	return gap
}

// AddEntries adds a gap of missing entries. It replaces an earlier one with the same cause and the
// same tables, and begins where that began, so that the number of such gaps stays small.
func (g *Gaps) AddEntries(gap Gap, tables []string) Gap {
	gap.Entries = true
	tables = slices.Compact(slices.Sorted(slices.Values(tables)))
	i := slices.IndexFunc(g.Open, func(o Gap) bool {
		return o.Entries && o.Cause == gap.Cause && slices.Equal(o.Tables, tables)
	})
	if i >= 0 {
		gap.From = g.Open[i].From
		g.Open = slices.Delete(slices.Clone(g.Open), i, i+1)
	}
	return g.Add(gap, tables)
}

// CloseTable removes a table from the gaps with numbers up to upTo, and removes the gaps that then
// concern no table. Gaps of missing entries are only included if entries is set. CloseTable reports
// whether it has changed any gap, and returns the removed gaps.
func (g *Gaps) CloseTable(table string, upTo int, entries bool) (changed bool, closed []Gap) {
	return g.remove(func(gap *Gap, name string) bool {
		return name == table && gap.ID <= upTo && (entries || !gap.Entries)
	})
}

// Keep removes the tables for which keep returns false from all gaps. Its results are those of
// CloseTable.
func (g *Gaps) Keep(keep func(table string) bool) (changed bool, closed []Gap) {
	return g.remove(func(_ *Gap, name string) bool { return !keep(name) })
}

func (g *Gaps) remove(from func(gap *Gap, table string) bool) (changed bool, closed []Gap) {
	open := make([]Gap, 0, len(g.Open))
	for _, gap := range g.Open {
		tables := slices.Clone(gap.Tables)
		tables = slices.DeleteFunc(tables, func(name string) bool { return from(&gap, name) })
		if len(tables) < len(gap.Tables) {
			changed = true
			gap.Tables, gap.All = tables, false
		}
		if len(gap.Tables) == 0 {
			closed = append(closed, gap)
		} else {
			open = append(open, gap)
		}
	}
	g.Open = open
	return changed, closed
}

// Concerns reports whether rows of a table may be stale because of a gap with a number above after.
func (g *Gaps) Concerns(table string, after int) bool {
	return slices.ContainsFunc(g.Open, func(gap Gap) bool {
		return gap.ID > after && !gap.Entries && slices.Contains(gap.Tables, table)
	})
}

// Visible returns the open gaps in the form for users: empty Tables stand for all mapped tables.
func (g *Gaps) Visible() []Gap {
	all := slices.Clone(g.Open)
	for i := range all {
		if all[i].All {
			all[i].Tables, all[i].All = []string{}, false
		}
	}
	return all
}

// EncodeGaps returns the form that DecodeGaps reads.
func EncodeGaps(g *Gaps) ([]byte, error) {
	text, err := json.Marshal(g)
	if err != nil {
		return nil, fmt.Errorf("encode gaps: %w", err)
	}
	return text, nil
}

// DecodeGaps reads what EncodeGaps returned. Empty text has no gaps.
func DecodeGaps(text []byte) (Gaps, error) {
	var g Gaps
	if len(text) == 0 {
		return g, nil
	}
	if err := json.Unmarshal(text, &g); err != nil {
		return Gaps{}, fmt.Errorf("parse gaps: %w", err)
	}
	last := 0
	for i := range g.Open {
		gap := &g.Open[i]
		switch {
		case gap.ID <= last || gap.ID > g.Last:
			return Gaps{}, fmt.Errorf("parse gaps: number %d follows %d, and the last is %d",
				gap.ID, last, g.Last)
		case len(gap.Tables) == 0:
			return Gaps{}, fmt.Errorf("parse gaps: gap %d concerns no table", gap.ID)
		}
		last = gap.ID
	}
	if g.Last < 0 {
		return Gaps{}, errors.New("parse gaps: the last number is negative")
	}
	return g, nil
}

// SkipRequest asks for one transaction to be left out when the stream reaches it.
type SkipRequest struct {
	// At names the transaction, as binlog.TransactionID prints it.
	At string `json:"at"`
	// Tables are the tables whose changes are left out, as database.table; empty for all.
	Tables []string `json:"tables,omitempty"`
	// Server is the UUID of the server to whose binlog the FILE:OFFSET in At belongs; empty for a
	// GTID.
	Server string `json:"server,omitempty"`
	// Time is when the request was made, in microseconds since 1970.
	Time int64 `json:"time"`
}

// Skip returns the request in the form that the stream accepts.
func (r *SkipRequest) Skip() (binlog.Skip, error) {
	at, err := binlog.ParseTransactionID(r.At)
	return binlog.Skip{At: at, Tables: r.Tables}, err
}

// EncodeSkips returns the form that DecodeSkips reads.
func EncodeSkips(list []SkipRequest) ([]byte, error) {
	text, err := json.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("encode skip requests: %w", err)
	}
	return text, nil
}

// DecodeSkips reads what EncodeSkips returned. Empty text has no requests.
func DecodeSkips(text []byte) ([]SkipRequest, error) {
	if len(text) == 0 {
		return nil, nil
	}
	var list []SkipRequest
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("parse skip requests: %w", err)
	}
	for i := range list {
		if _, err := list[i].Skip(); err != nil {
			return nil, fmt.Errorf("parse skip requests: %w", err)
		}
	}
	return list, nil
}
