package replication

import (
	"context"
	"strconv"
	"time"

	"rowfall/replication/resp"
)

// failoverCommand is FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT ms].
func (s *session) failoverCommand(ctx context.Context, args [][]byte) {
	to, force, abort, timeout := "", false, false, time.Duration(0)
	for i := 1; i < len(args); i++ {
		switch {
		case resp.IsWord(args[i], "TIMEOUT") && i+1 < len(args) && timeout == 0:
			ms, err := strconv.ParseInt(string(args[i+1]), 10, 64)
			if err != nil || ms <= 0 || ms > int64(maxWait/time.Millisecond) {
				s.fail("ERR FAILOVER timeout must be greater than 0")
				return
			}
			timeout = time.Duration(ms) * time.Millisecond
			i++
		case resp.IsWord(args[i], "ABORT") && len(args) == 2:
			abort = true
		case resp.IsWord(args[i], "TO") && i+2 < len(args) && to == "":
			to = joinAddr(args[i+1], args[i+2])
			if i += 2; to == "" {
				s.fail("ERR value is not an integer or out of range")
				return
			}
		case resp.IsWord(args[i], "FORCE") && to != "":
			force = true
		default:
			s.fail("ERR syntax error")
			return
		}
	}
	var err error
	switch {
	case abort:
		err = s.n.AbortFailover(ctx)
	default:
		err = s.n.Failover(to, force, timeout)
	}
	if err != nil {
		s.fail("ERR %v", err)
		return
	}
	s.ok()
}
