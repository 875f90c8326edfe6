//go:build bench

package bench_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/canal"
	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/go-mysql-org/go-mysql/schema"
	"github.com/redis/go-redis/v9"

	"rowfall/binlog"
)

// Server ids of the contenders. A MySQL server disconnects the older of two replicas with one id.
const (
	canalID = 4_000_000_001
	drainID = 4_000_000_002
)

// runCanal is the contender that a user would write: canal calls a handler that fills a go-redis
// pipeline.
func runCanal(ctx context.Context, j job, l *testPipe) error {
	from, err := binlog.ParsePosition(j.Start)
	if err != nil {
		return err
	}
	c := canal.NewDefaultConfig()
	c.Addr, c.User, c.Password = j.MySQL, "root", ""
	c.ServerID = canalID
	c.Dump.ExecutionPath = "" // no mysqldump
	c.IncludeTableRegex = []string{"^" + j.Tables + `\.`}
	c.TimestampStringLocation = time.UTC
	c.Logger = slog.New(slog.DiscardHandler)
	follower, err := canal.NewCanal(c)
	if err != nil {
		return err
	}
	stopped := context.AfterFunc(ctx, follower.Close)
	defer stopped()
	client := redis.NewClient(&redis.Options{Addr: j.Redis})
	defer client.Close()
	follower.SetEventHandler(
		&handler{ctx: ctx, link: l, pipe: client.Pipeline(), flushAfter: j.FlushAfter},
	)
	if err := l.send(message{Kind: "ready", Addr: j.Redis}); err != nil {
		return err
	}
	return follower.RunFrom(mysql.Position{Name: from.File, Pos: uint32(from.Offset)})
}

// flushCommands is the number of commands in a pipeline at which a commit flushes it.
const flushCommands = 1000

// handler writes each row as a hash, as Rowfall does by default.
type handler struct {
	canal.DummyEventHandler
	ctx        context.Context
	link       *testPipe
	flushAfter time.Duration // flush at a commit after this time; 0 means only after flushCommands

	first     usage
	rows      uint64
	sawMarker bool

	mu           sync.Mutex // guards the fields below, which flushRest uses, too
	pipe         redis.Pipeliner
	flushed      time.Time
	timerRunning bool  // flushRest is scheduled
	err          error // of the last flush that failed
}

func (h *handler) OnRow(e *canal.RowsEvent) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rows == 0 {
		h.first = currentUsage(0)
	}
	h.sawMarker = h.sawMarker || e.Table.Name == markerTable
	switch e.Action {
	case canal.InsertAction:
		for _, row := range e.Rows {
			h.appendHSet(e.Table, row)
		}
		h.rows += uint64(len(e.Rows))
	case canal.UpdateAction:
		for i := 0; i+1 < len(e.Rows); i += 2 {
			if before := redisKey(e.Table, e.Rows[i]); before != redisKey(e.Table, e.Rows[i+1]) {
				h.pipe.Del(h.ctx, before)
			}
			h.appendHSet(e.Table, e.Rows[i+1])
		}
		h.rows += uint64(len(e.Rows) / 2)
	case canal.DeleteAction:
		for _, row := range e.Rows {
			h.pipe.Del(h.ctx, redisKey(e.Table, row))
		}
		h.rows += uint64(len(e.Rows))
	}
	return nil
}

func redisKey(t *schema.Table, row []any) string {
	return fmt.Sprintf("%s:%v", t.Name, row[t.PKColumns[0]])
}

func (h *handler) appendHSet(t *schema.Table, row []any) {
	fields := make([]any, 0, 2*len(row))
	for i, v := range row {
		if v == nil {
			continue // in these tables no column changes to NULL
		}
		if c := t.Columns[i]; c.Type == schema.TYPE_ENUM {
			v = c.EnumValues[v.(int64)-1]
		}
		fields = append(fields, t.Columns[i].Name, v)
	}
	h.pipe.HSet(h.ctx, redisKey(t, row), fields...)
}

func (h *handler) OnXID(*replication.EventHeader, mysql.Position) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	late := h.flushAfter > 0 && time.Since(h.flushed) >= h.flushAfter
	if h.pipe.Len() < flushCommands && !late && !h.sawMarker {
		if h.flushAfter > 0 && !h.timerRunning {
			h.timerRunning = true
			time.AfterFunc(h.flushAfter, h.flushRest)
		}
		return h.err
	}
	if h.flushLocked(); h.err != nil || !h.sawMarker {
		return h.err
	}
	h.sawMarker = false
	return h.link.send(message{Kind: "done", First: h.first, Last: currentUsage(h.rows)})
}

// flushRest flushes commands that no later commit has flushed.
func (h *handler) flushRest() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timerRunning = false
	if time.Since(h.flushed) >= h.flushAfter && h.pipe.Len() > 0 {
		h.flushLocked()
	} else if h.pipe.Len() > 0 {
		h.timerRunning = true
		time.AfterFunc(h.flushAfter, h.flushRest)
	}
}

func (h *handler) flushLocked() {
	if _, err := h.pipe.Exec(h.ctx); err != nil {
		h.err = fmt.Errorf("write to Redis: %w", err)
	}
	h.flushed = time.Now()
}
