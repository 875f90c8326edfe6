package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"rowfall/binlog/mysql"
)

// traffic writes random transactions over the five tables from several
// connections, through restarts of the server, until stop.
type traffic struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func (s *source) traffic(writers int) *traffic {
	ctx, cancel := context.WithCancel(s.t.Context())
	tr := &traffic{cancel: cancel}
	for i := range writers {
		tr.done.Go(func() { s.write(ctx, uint64(i)) })
	}
	return tr
}

func (tr *traffic) stop() {
	tr.cancel()
	tr.done.Wait()
}

func (s *source) write(ctx context.Context, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 11))
	var conn *mysql.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	pause := time.NewTicker(3 * time.Millisecond)
	defer pause.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		var err error
		if conn == nil {
			if conn, err = mysql.Dial(ctx, s.config()); err != nil {
				conn = nil
				continue
			}
		}
		statements := append([]string{"BEGIN"}, randomStatements(rng)...)
		end := "COMMIT"
		if rng.IntN(12) == 0 {
			end = "ROLLBACK"
		}
		for _, sql := range append(statements, end) {
			// Not with ctx: a COMMIT that is cut off on our side may still be carried
			// out after the rows were read for the comparison.
			err = conn.Exec(s.t.Context(), sql)
			if mysql.IsCode(err, mysql.CodeDeadlock) ||
				mysql.IsCode(err, mysql.CodeLockTimeout) ||
				mysql.IsCode(err, mysql.CodeDuplicateKey) {
				err = conn.Exec(s.t.Context(), "ROLLBACK")
				break
			}
			if err != nil {
				break
			}
		}
		if err != nil {
			_ = conn.Close() // the server was killed, or the test is over
			conn = nil
			if !errors.As(err, new(*mysql.ServerError)) {
				continue
			}
			if ctx.Err() == nil {
				var refused *mysql.ServerError
				errors.As(err, &refused)
				// 1053, 1927: the server is going down.
				if refused.Code != 1053 && refused.Code != 1927 {
					s.t.Errorf("random traffic: %v", err)
					return
				}
			}
		}
	}
}

func randomStatements(rng *rand.Rand) []string {
	maybe := func(s string) string {
		if rng.IntN(5) == 0 {
			return "NULL"
		}
		return s
	}
	text := func() string {
		return fmt.Sprintf(
			"'%s-%d'",
			[]string{"ä", "b ", "日本", "", `\\n`}[rng.IntN(5)],
			rng.IntN(100),
		)
	}
	plain := func() string {
		return strings.Join([]string{
			maybe(text()), maybe(fmt.Sprintf("%d.%04d", rng.IntN(2000)-1000, rng.IntN(10000))),
			maybe(
				fmt.Sprintf("'20%02d-03-04 05:06:%02d.%03d'", rng.IntN(90), rng.IntN(60),
					rng.IntN(1000)),
			),
			maybe(
				fmt.Sprintf("%g", rng.NormFloat64()*1e6),
			), maybe("'y'"), maybe("'p,r'"), maybe("REPEAT('long ', 40)"),
			maybe(
				fmt.Sprintf("%d", rng.Uint64()),
			), maybe(fmt.Sprintf("X'%08x00'", rng.Uint32())),
			maybe(fmt.Sprintf(`'{"n": %d, "t": [1, 2.5, "x"]}'`, rng.IntN(9))),
		}, ",")
	}
	var out []string
	for range 1 + rng.IntN(4) {
		id := 1 + rng.IntN(400)
		switch rng.IntN(12) {
		case 0, 1:
			out = append(out,
				"INSERT INTO zoo.plain (a,b,c,d,e,f,g,h,i,j) VALUES ("+plain()+"),("+plain()+")")
		case 2:
			out = append(
				out,
				fmt.Sprintf(
					"UPDATE zoo.plain SET a = %s, b = b + 1, g = IF(g IS NULL, 'new', "+
						"NULL) WHERE id = %d",
					maybe(text()), id,
				),
			)
		case 3:
			out = append(out, fmt.Sprintf("DELETE FROM zoo.plain WHERE id = %d", id))
		case 4:
			out = append(
				out,
				fmt.Sprintf(
					"REPLACE INTO zoo.pairs VALUES (%s, %d, %s, '2026-01-02 03:04:05.%06d')",
					text(), rng.IntN(20), maybe("1.25"), rng.IntN(1e6),
				),
			)
		case 5:
			out = append(out, fmt.Sprintf("DELETE FROM zoo.pairs WHERE k2 = %d", rng.IntN(20)))
		case 6:
			out = append(out,
				fmt.Sprintf("REPLACE INTO zoo.uniques VALUES ('c%d', %s)", id, maybe("7")))
		case 7:
			out = append(out, fmt.Sprintf("DELETE FROM zoo.uniques WHERE code = 'c%d'", id))
		case 8:
			out = append(out,
				fmt.Sprintf("INSERT IGNORE INTO zoo.movers VALUES (%d, %s)", id, text()))
		case 9:
			out = append(
				out, fmt.Sprintf("UPDATE IGNORE zoo.movers SET id = %d, v = %s WHERE id = %d",
					1+rng.IntN(400), text(), id),
			)
		default:
			out = append(
				out,
				fmt.Sprintf(
					"REPLACE INTO zoo.people (id, country, score, status) VALUES (%d, %s, %d, "+
						"'%s')",
					id, maybe([]string{"'DE'", "'FR'"}[rng.IntN(2)]), rng.IntN(1000),
					[]string{"new", "old", "hidden"}[rng.IntN(3)],
				),
			)
		}
	}
	return out
}

// fill writes rows before the pipeline begins, so that there is something to load.
func (s *source) fill(transactions int) {
	rng := rand.New(rand.NewPCG(99, 99))
	var statements []string
	for range transactions {
		statements = append(statements, randomStatements(rng)...)
	}
	s.exec(statements...)
}
