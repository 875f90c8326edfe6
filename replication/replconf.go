package replication

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"rowfall/replication/node"
	"rowfall/replication/resp"
)

// replConf answers REPLCONF, by which a replica announces itself before PSYNC: pairs of option and
// value. Unknown capabilities have no effect.
func (s *session) replConf(_ context.Context, args [][]byte) {
	if len(args)%2 == 0 {
		s.fail("ERR syntax error")
		return
	}
	for i := 1; i < len(args); i += 2 {
		value := args[i+1]
		switch {
		case resp.IsWord(args[i], "listening-port"):
			port, err := strconv.ParseUint(string(value), 10, 16)
			if err != nil {
				s.fail("ERR value is not an integer or out of range")
				return
			}
			s.repl.Port = int(port)
		case resp.IsWord(args[i], "ip-address"):
			if len(value) > 255 {
				s.fail("ERR REPLCONF ip-address provided by replica instance is too long: %d bytes",
					len(value))
				return
			}
			// The address appears in INFO, and after a FAILOVER the node connects to it.
			err := CheckAddr(net.JoinHostPort(string(value), "1"))
			if len(value) > 0 && err != nil {
				s.fail("ERR REPLCONF ip-address %q: want a host", value)
				return
			}
			s.repl.IP = string(value)
		case resp.IsWord(args[i], "capa"):
			s.repl.PSync2 = s.repl.PSync2 || resp.IsWord(value, "psync2")
			s.repl.EOF = s.repl.EOF || resp.IsWord(value, "eof")
			s.repl.Listpacks = s.repl.Listpacks || resp.IsWord(value, "rdb-channel-repl") ||
				resp.IsWord(value, listpackCapa)
		case resp.IsWord(args[i], "version"):
			s.repl.Version = string(value[:min(len(value), 32)])
			listpacks, err := node.LoadsListpacks(s.repl.Version)
			s.repl.Listpacks = s.repl.Listpacks || listpacks && err == nil
		case resp.IsWord(args[i], "rdb-only"):
			s.repl.RDBOnly = string(value) == "1"
		case resp.IsWord(args[i], "rdb-filter-only"):
			if fault := filterFault(string(value)); fault != "" {
				s.error(fault)
				return
			}
			s.repl.RDBEmpty = true
		case resp.IsWord(args[i], "ack"),
			resp.IsWord(args[i], "fack"),
			resp.IsWord(args[i], "getack"):
			// Redis sends no reply to these. Those of a replica are read by package node.
			return
		default:
			s.fail("ERR Unrecognized REPLCONF option: %.128s", args[i])
			return
		}
	}
	s.ok()
}

// listpackCapa is the capability by which Rowfall's own replicas announce that they load listpacks.
// Other servers ignore it.
const listpackCapa = "rdb-listpack"

// filterFault returns the error reply to the words of REPLCONF rdb-filter-only, which restrict the
// snapshot; empty: the words are valid. The only word that the protocol defines is "functions", and
// the node has none.
func filterFault(words string) string {
	for _, w := range strings.Fields(words) {
		if !strings.EqualFold(w, "functions") {
			return fmt.Sprintf("ERR Unsupported rdb-filter-only option: %.64s", w)
		}
	}
	return ""
}

const idLength = 40 // bytes of a replication id

// psync answers PSYNC id offset [FAILOVER]. With FAILOVER the upstream, which sends it, hands the
// role of master over to this node.
func (s *session) psync(ctx context.Context, args [][]byte) {
	offset, err := strconv.ParseInt(string(args[2]), 10, 64)
	switch {
	case len(args) > 4 || len(args) == 4 && !resp.IsWord(args[3], "FAILOVER"):
		s.fail("ERR syntax error")
		return
	case err != nil:
		s.fail("ERR value is not an integer or out of range")
		return
	case len(args) == 4:
		err := s.n.TakeOver(ctx, string(args[1]))
		switch {
		case errors.As(err, new(*node.TakeOverRejectedError)):
			s.fail("ERR %v", err)
			return
		case err != nil:
			// The identity file may already make this node the master, which only the next start
			// can decide. After NOMASTERLINK the sender repeats its request.
			s.fail("NOMASTERLINK %v", err)
			return
		}
	}
	if s.canFilter() {
		// The id is logged, so a long one is cut. With one byte too many it matches no id.
		id := string(args[1][:min(len(args[1]), idLength+1)])
		s.follow = &node.PSync{ID: id, Offset: node.Offset(offset)}
	}
}

// sync answers SYNC, the full resync from before PSYNC. redis-cli --rdb and --replica may use it.
func (s *session) sync(context.Context, [][]byte) {
	if s.canFilter() {
		s.follow = &node.PSync{ID: "?", Offset: -1, Legacy: true}
	}
}

// canFilter reports whether a requested filter of the snapshot is possible; if not, it appends the
// error of Redis.
func (s *session) canFilter() bool {
	if s.repl.RDBEmpty && !s.repl.EOF {
		s.fail("ERR Filtered replica requires EOF capability")
		return false
	}
	return true
}
