//go:build bench

package bench_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"rowfall/replication"
	"rowfall/replication/resp"
)

// appendFedRow appends the command of a row of eight fields, about 110 bytes, under a key of 16.
func appendFedRow(commands []byte, i, version int) []byte {
	id := strconv.Itoa(i)
	return resp.AppendCommand(commands, "HSET", fedRowKey(i), "id", id,
		"name", "customer number "+id, "email", id+"@example.com", "country", "DE",
		"created", "2024-01-01 00:00:00", "status", "active", "balance", "1234.56",
		"visits", strconv.Itoa(1000+(i+version)%1000))
}

func fedRowKey(i int) string { return fmt.Sprintf("customer:%07d", i) }

// appendFedText appends the command of a string of 100 bytes.
func appendFedText(commands []byte, i int) []byte {
	return resp.AppendCommand(commands, "SET", fedTextKey(i), fmt.Sprintf("%0100d", i))
}

func fedTextKey(i int) string { return fmt.Sprintf("document:%07d", i) }

// fedUnitRows is the number of rows of a unit that is fed to a node.
const fedUnitRows = 100

// runFed is the contender of a node without a pipeline. Its process feeds the node with rows, and
// with the job's texts, and then updates rows at the rate of the last command "rate".
func runFed(ctx context.Context, j job, l *testPipe) error {
	n, err := replication.Open(
		replication.Config{Dir: j.Dir, Listen: "127.0.0.1:0", Logger: zerolog.Nop()})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	n.SetComplete(true)
	var unit []byte
	for i := 0; i < j.Rows; {
		unit = resp.AppendCommand(unit[:0], "MULTI")
		for end := min(i+fedUnitRows, j.Rows); i < end; i++ {
			unit = appendFedRow(unit, i, 0)
			if j.Texts {
				unit = appendFedText(unit, i)
			}
		}
		if _, err := n.Apply(ctx, 0, resp.AppendCommand(unit, "EXEC")); err != nil {
			return err
		}
	}
	if err := l.send(message{Kind: "ready", Addr: n.Addr()}); err != nil {
		return err
	}
	return errors.Join(updateFed(ctx, j, l, n), <-ended)
}

// updateFed writes one unit each millisecond, as a pipeline does that groups the transactions of a
// millisecond.
func updateFed(ctx context.Context, j job, l *testPipe, n *replication.Node) error {
	var unit []byte
	rate, version := 0, 0
	for {
		if rate == 0 {
			select {
			case <-ctx.Done():
				return nil
			case rate = <-l.rates:
			}
		}
		began, sent := time.Now(), 0
		for rate > 0 {
			preciseSleep(time.Millisecond)
			due := int(time.Since(began).Seconds() * float64(rate))
			unit = resp.AppendCommand(unit[:0], "MULTI")
			for ; sent < due; sent++ {
				version++
				unit = appendFedRow(unit, version*7919%j.Rows, version)
			}
			if _, err := n.Apply(ctx, 0, resp.AppendCommand(unit, "EXEC")); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case rate = <-l.rates:
				err := l.send(message{Kind: "written", Rows: sent})
				if err != nil {
					return err
				}
			default:
			}
		}
	}
}

// feed sends a Redis the same rows.
func (s server) feed(count int, command func(commands []byte, i int) []byte) {
	s.tb.Helper()
	conn, err := net.Dial("tcp", s.Options().Addr)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer conn.Close()
	replies := bufio.NewReader(conn)
	var out []byte
	for i := 0; i < count; {
		out = out[:0]
		end := min(i+10*fedUnitRows, count)
		expected := end - i
		for ; i < end; i++ {
			out = command(out, i)
		}
		if _, err := conn.Write(out); err != nil {
			s.tb.Fatal(err)
		}
		for range expected {
			line, err := replies.ReadSlice('\n')
			if err != nil || line[0] == '-' {
				s.tb.Fatalf("reply %q: %v", line, err)
			}
		}
	}
}
