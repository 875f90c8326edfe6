package pipelines

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"rowfall/pipelines/jobs"
	"rowfall/pipelines/tablestate"
	"rowfall/replication/resp"
	"rowfall/sink"
)

// DeadLetter is a dead letter as users see it.
type DeadLetter struct {
	ID    int    `json:"id"`
	Table string `json:"table"`
	// Row is the row's key: quoted, masked, with : between the columns.
	Row string `json:"row"`
	// Position is the position before the change, Time its commit time in UTC.
	Position string `json:"position"`
	Time     string `json:"time"`
	Reason   string `json:"reason"`
}

func shownLetter(l *tablestate.Letter) DeadLetter {
	return DeadLetter{
		ID: l.ID, Table: l.Table, Row: l.Row, Position: l.Position,
		Time: time.UnixMicro(l.Time).UTC().Format(time.RFC3339Nano), Reason: l.Reason,
	}
}

// lettersIn returns the dead letters that pieces of state hold, in the order of their numbers.
func lettersIn(pieces map[string][]byte) (list []DeadLetter, err error) {
	for name, text := range pieces {
		if !strings.HasPrefix(name, tablestate.LetterPrefix) {
			continue
		}
		var l tablestate.Letter
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, corrupt("dead letter "+name, err)
		}
		if !l.Dropped {
			list = append(list, shownLetter(&l))
		}
	}
	slices.SortFunc(list, func(a, b DeadLetter) int { return a.ID - b.ID })
	return list, nil
}

// letters returns the dead letters that the node's data hold, also on a replica.
func (c *Commands) letters() (list []DeadLetter, err error) {
	names, _ := c.positions()
	for _, name := range names {
		of, err := lettersIn(sink.Pieces(c.node().Keyspace(), name))
		if err != nil {
			return nil, err
		}
		list = append(list, of...)
	}
	return list, nil
}

// deadLetters implements ROWFALL DEADLETTERS.
func (c *Commands) deadLetters(ctx context.Context, dst []byte, args [][]byte) []byte {
	action, id := "LIST", 0
	if len(args) > 0 {
		action = strings.ToUpper(string(args[0]))
	}
	if len(args) > 1 {
		var err error
		if id, err = strconv.Atoi(string(args[1])); err != nil || id < 1 {
			return resp.AppendError(dst, "ERR the number of a dead letter is not an integer")
		}
	}
	isKnown := slices.Contains([]string{"LIST", "SHOW", "RETRY", "DROP"}, action)
	needsID := action == "SHOW" || action == "DROP"
	switch {
	case !isKnown, len(args) > 2, needsID != (len(args) == 2) && action != "RETRY":
		return resp.AppendError(dst, "ERR want ROWFALL DEADLETTERS [LIST | SHOW id | RETRY [id] | "+
			"DROP id]")
	case action == "LIST" || action == "SHOW":
		return c.showLetters(dst, id)
	case c.pipeline == nil:
		return resp.AppendError(dst, "ERR no pipeline runs on this node; "+
			"send the command to the master")
	}
	if action == "DROP" {
		if err := c.pipeline.DropDeadLetter(ctx, id); err != nil {
			return appendErrorLine(dst, err)
		}
		return resp.AppendSimple(dst, "OK")
	}
	n, err := c.pipeline.RetryDeadLetters(ctx, id)
	if err != nil {
		return appendErrorLine(dst, err)
	}
	return resp.AppendInt(dst, int64(n))
}

// showLetters appends an array of dead letters, each an array of its number, table, row, time,
// position and reason. An id other than 0 selects one letter.
func (c *Commands) showLetters(dst []byte, id int) []byte {
	list, err := c.letters()
	if err != nil {
		return appendErrorLine(dst, err)
	}
	if id > 0 {
		list = slices.DeleteFunc(list, func(l DeadLetter) bool { return l.ID != id })
		if len(list) == 0 {
			return appendErrorLine(dst, errNoLetter(id))
		}
	}
	dst = resp.AppendArray(dst, len(list))
	for i := range list {
		l := &list[i]
		dst = resp.AppendArray(dst, 6)
		dst = resp.AppendInt(dst, int64(l.ID))
		for _, text := range [...]string{l.Table, l.Row, l.Time, l.Position, l.Reason} {
			dst = resp.AppendBulkString(dst, text)
		}
	}
	return dst
}

func appendErrorLine(dst []byte, err error) []byte {
	return resp.AppendError(dst, "ERR "+strings.Join(strings.Fields(err.Error()), " "))
}

func errNoLetter(id int) error {
	return fmt.Errorf("there is no dead letter %d; rowfall dead-letters FILE lists them", id)
}

// RetryDeadLetters makes keys jobs read the rows of dead letters again, or the row of one letter if
// id is not 0. A row that can be applied now is written, and its letter is cleared. The result is
// the number of rows.
func (p *Pipeline) RetryDeadLetters(ctx context.Context, id int) (rows int, err error) {
	n := 0 // belongs to the loop until submit returns without an error
	err = p.submit(ctx, func(_ context.Context, l *loop) (err error) {
		n, err = l.retryLetters(id)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// retryLetters is RetryDeadLetters, in the loop.
func (l *loop) retryLetters(id int) (rows int, err error) {
	for _, name := range l.tables.names() {
		t := l.tables.all[name]
		var keys []jobs.Key
		for _, letter := range t.Letters.All() {
			if letter.ID == id || id == 0 && !letter.Dropped {
				keys = append(keys, letter.Key)
			}
		}
		if len(keys) == 0 {
			continue
		}
		if t.Fault != nil {
			return 0, fmt.Errorf("table %s is in quarantine; rowfall backfill reads its rows again",
				name)
		}
		if err := l.jobs.AddKeys(&t.Table, lettersReason, keys); err != nil {
			return 0, err
		}
		rows += len(keys)
	}
	if rows == 0 && id > 0 {
		return 0, errNoLetter(id)
	}
	return rows, nil
}

// DropDeadLetter forgets a dead letter. The stored row stays as it is until the next change of the
// row that can be applied.
func (p *Pipeline) DropDeadLetter(ctx context.Context, id int) error {
	return p.submit(ctx, func(_ context.Context, l *loop) error { return l.dropLetter(id) })
}

// dropLetter is DropDeadLetter, in the loop. The stored row is still stale, so a part of the letter
// is kept.
func (l *loop) dropLetter(id int) error {
	for _, t := range l.tables.all {
		for _, letter := range t.Letters.All() {
			if letter.ID != id || letter.Dropped {
				continue
			}
			dropped := *letter
			dropped.Dropped, dropped.Reason, dropped.Row, dropped.Position = true, "", "", ""
			l.tables.letters.set(t, letter.Key, &dropped)
			l.saveLetters()
			return nil
		}
	}
	return errNoLetter(id)
}

// DeadLetters returns the dead letters that the directory holds.
func (s *Stopped) DeadLetters(ctx context.Context) ([]DeadLetter, error) {
	state, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	return lettersIn(state.Pieces)
}

// DropDeadLetter is Pipeline.DropDeadLetter for a pipeline that does not run.
func (s *Stopped) DropDeadLetter(ctx context.Context, id int) error {
	return s.change(ctx, "drop the dead letter", func(l *loop, _ *progress) error {
		return l.dropLetter(id)
	})
}
