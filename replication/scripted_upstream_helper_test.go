package replication_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"rowfall/replication/resp"
)

const (
	foreignID     = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	emptySnapshot = "REDIS0009\xff\x00\x00\x00\x00\x00\x00\x00\x00"
)

// fullResync returns the reply to PSYNC of a full resync with an empty snapshot, followed by
// stream.
func fullResync(offset int64, stream string) string {
	return fmt.Sprintf("+FULLRESYNC %s %d\r\n$%d\r\n%s%s", foreignID, offset, len(emptySnapshot),
		emptySnapshot, stream)
}

// scriptedUpstream is a fake upstream. It performs the handshake, and a function of the test
// returns its replies to PSYNC.
type scriptedUpstream struct {
	addr string

	mu                 sync.Mutex
	links              int // connections so far
	psyncArgs, ackArgs []string
}

// script starts an upstream that replies to each PSYNC with the result of answer. The arguments of
// answer are the number of the connection, from 1, and the arguments of PSYNC. At PING, answer is
// called with "".
func script(t *testing.T, answer func(link int, psync string) string) *scriptedUpstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scriptedUpstream{addr: l.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.links++
			link := s.links
			s.mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				s.serve(conn, func(psync string) string { return answer(link, psync) })
			})
		}
	})
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { l.Close() })
	return s
}

// An answer that ends with hangUp closes the connection after it. The answer mute, at PING, makes
// the upstream silent.
const (
	hangUp = "(hang up)"
	mute   = "(mute)"
)

func (s *scriptedUpstream) serve(conn net.Conn, answer func(psync string) string) {
	muted, r := false, resp.NewReader(conn, 4096)
	for {
		args, _, err := r.ReadCommand()
		if err != nil {
			return
		}
		var words []string
		for _, a := range args {
			words = append(words, string(a))
		}
		line := strings.Join(words, " ")
		muted = muted || line == "PING" && answer("") == mute
		if line == "" || muted {
			continue
		}
		reply, over := "+OK\r\n", false
		if request, ok := strings.CutPrefix(line, "PSYNC "); ok {
			s.record(&s.psyncArgs, request)
			reply, over = strings.CutSuffix(answer(request), hangUp)
		}
		if acked, ok := strings.CutPrefix(line, "REPLCONF ACK "); ok {
			s.record(&s.ackArgs, acked)
			continue
		}
		if _, err := conn.Write([]byte(reply)); err != nil || over {
			return
		}
	}
}

func (s *scriptedUpstream) record(list *[]string, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*list = append(*list, text)
}

// psyncs and acks return the arguments of all PSYNC and REPLCONF ACK commands so far.
func (s *scriptedUpstream) psyncs() []string { return s.recorded(&s.psyncArgs) }

func (s *scriptedUpstream) acks() []string { return s.recorded(&s.ackArgs) }

func (s *scriptedUpstream) recorded(list *[]string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(*list)
}

// count returns the number of connections so far.
func (s *scriptedUpstream) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.links
}
