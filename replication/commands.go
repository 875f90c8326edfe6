package replication

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"net"
	"slices"
	"strconv"
	"time"

	"rowfall/replication/resp"
)

// redisVersion is the version that clients see: the oldest whose replies and
// commands ours are.
const redisVersion = "7.0.15"

// command is one row of the table of commands that need the session or the node.
// Reads of the keyspace are the keyspace's own.
type command struct {
	name     string
	args     int // number of arguments with the name; negative: at least so many
	anyone   bool
	unqueued bool // executed at once inside MULTI
	noMulti  bool // refused inside MULTI
	// needsData: refused with LOADING and MASTERDOWN, as Redis does.
	needsData bool
	run       func(s *session, ctx context.Context, args [][]byte)
}

func (c command) takes(n int) bool {
	if c.args < 0 {
		return n >= -c.args
	}
	return n == c.args
}

var commands = map[string]command{}

func init() {
	for _, c := range []command{
		{name: "ping", args: -1, needsData: true, run: (*session).ping},
		{name: "echo", args: 2, run: (*session).echo},
		{name: "quit", args: -1, anyone: true, unqueued: true, run: (*session).quit},
		{name: "reset", args: 1, anyone: true, unqueued: true, run: (*session).reset},
		{name: "auth", args: -2, anyone: true, run: (*session).auth},
		{name: "hello", args: -1, anyone: true, run: (*session).hello},
		{name: "select", args: 2, run: (*session).selectDB},
		{name: "readonly", args: 1, run: (*session).okay},
		{name: "readwrite", args: 1, run: (*session).okay},
		{name: "asking", args: 1, run: (*session).okay},
		{name: "client", args: -2, run: (*session).client},
		{name: "command", args: -1, run: (*session).command},
		{name: "config", args: -2, run: (*session).config},
		{name: "info", args: -1, run: (*session).info},
		{name: "role", args: 1, run: (*session).role},
		{name: "wait", args: 3, needsData: true, run: (*session).wait},
		{name: "waitaof", args: 4, needsData: true, run: (*session).waitAOF},
		{name: "time", args: 1, run: (*session).time},
		{name: "lastsave", args: 1, run: (*session).lastSave},
		{name: "save", args: 1, needsData: true, noMulti: true, run: (*session).save},
		{name: "bgsave", args: -1, needsData: true, run: (*session).bgSave},
		{name: "replicaof", args: 3, run: (*session).replicaOf},
		{name: "slaveof", args: 3, run: (*session).replicaOf},
		{name: "failover", args: -1, noMulti: true, run: (*session).failoverCommand},
		{name: "replconf", args: -1, noMulti: true, run: (*session).replConf},
		{name: "psync", args: -3, noMulti: true, run: (*session).psync},
		{name: "sync", args: 1, noMulti: true, run: (*session).sync},
		{name: "multi", args: 1, unqueued: true, run: (*session).multiCommand},
		{name: "exec", args: 1, unqueued: true, run: (*session).exec},
		{name: "discard", args: 1, unqueued: true, run: (*session).discard},
	} {
		commands[string(bytes.ToUpper([]byte(c.name)))] = c
	}
}

const denied = "DENIED a node without a password is administrated from its own host only: connect to it there by a loopback address, or give it a password"

// administers says whether a command changes what the node is or does, or others'
// connections. Reading and following do not.
func administers(name []byte, args [][]byte) bool {
	sub := func(words ...string) bool {
		return len(args) > 1 && slices.ContainsFunc(words, func(w string) bool { return is(args[1], w) })
	}
	switch string(name) {
	case "REPLICAOF", "SLAVEOF", "FAILOVER":
		return true
	case "CONFIG":
		return sub("SET", "REWRITE", "RESETSTAT")
	case "CLIENT":
		return sub("KILL")
	case "PSYNC":
		return len(args) > 3 // it ends by FAILOVER: the node is to be the master
	}
	return false
}

// isStranger says whether a client of another host has shown no password, because
// the node has none.
func (s *session) isStranger() bool {
	tcp, ok := s.conn.RemoteAddr().(*net.TCPAddr)
	return s.n.c.Password == "" && ok && !tcp.IP.IsLoopback()
}

func is(b []byte, word string) bool { return len(b) == len(word) && bytes.EqualFold(b, []byte(word)) }

func (s *session) okay(context.Context, [][]byte) { s.ok() }

func (s *session) ping(_ context.Context, args [][]byte) {
	switch len(args) {
	case 1:
		s.out = append(s.out, "+PONG\r\n"...)
	case 2:
		s.out = resp.AppendBulk(s.out, args[1])
	default:
		s.wrongArgs(args[0])
	}
}

func (s *session) echo(_ context.Context, args [][]byte) { s.out = resp.AppendBulk(s.out, args[1]) }

func (s *session) quit(context.Context, [][]byte) {
	s.ok()
	s.closed = true
}

// reset puts the connection into the state that it had when it was opened.
func (s *session) reset(context.Context, [][]byte) {
	s.endQueue()
	s.proto, s.repl = 2, announced{}
	if s.n.c.Password != "" {
		s.authed = false
		s.r.SetLimits(10, 16<<10)
	}
	s.about.Lock()
	s.about.name = ""
	s.about.Unlock()
	s.out = resp.AppendSimple(s.out, "RESET")
}

func (s *session) auth(_ context.Context, args [][]byte) {
	switch {
	case len(args) > 3:
		s.fail("ERR syntax error")
	case s.n.c.Password == "" && len(args) == 2:
		s.fail("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
	case s.authenticate(args[1:]):
		s.ok()
	}
}

// authenticate checks [user] password and appends the error if they are wrong.
func (s *session) authenticate(cred [][]byte) bool {
	password := cred[len(cred)-1]
	right := s.n.c.Password == "" || subtle.ConstantTimeCompare(password, []byte(s.n.c.Password)) == 1
	if !right || len(cred) == 2 && string(cred[0]) != "default" {
		s.fail("WRONGPASS invalid username-password pair or user is disabled.")
		return false
	}
	s.authed = true
	s.r.SetLimits(resp.MaxArgs, resp.MaxBulk)
	return true
}

// hello is HELLO [2|3 [AUTH user password] [SETNAME name]].
func (s *session) hello(_ context.Context, args [][]byte) {
	proto := s.proto
	if len(args) > 1 {
		v, err := strconv.Atoi(string(args[1]))
		if err != nil {
			s.fail("ERR Protocol version is not an integer or out of range")
			return
		}
		if v != 2 && v != 3 {
			s.fail("NOPROTO unsupported protocol version")
			return
		}
		proto = v
	}
	var name []byte
	for i := 2; i < len(args); {
		switch {
		case is(args[i], "AUTH") && i+2 < len(args):
			if !s.authenticate(args[i+1 : i+3]) {
				return
			}
			i += 3
		case is(args[i], "SETNAME") && i+1 < len(args):
			name = args[i+1]
			i += 2
		default:
			s.fail("ERR Syntax error in HELLO option '%.128s'", args[i])
			return
		}
	}
	if !s.authed {
		s.fail("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")
		return
	}
	if name != nil && !s.setName(name) {
		return
	}
	s.proto = proto
	role, _ := s.n.Role()
	s.out = resp.AppendMap(s.out, proto, 7)
	for _, kv := range [][2]string{{"server", "redis"}, {"version", redisVersion}} {
		s.out = resp.AppendBulkString(resp.AppendBulkString(s.out, kv[0]), kv[1])
	}
	s.out = resp.AppendInt(resp.AppendBulkString(s.out, "proto"), int64(proto))
	s.out = resp.AppendInt(resp.AppendBulkString(s.out, "id"), s.id)
	s.out = resp.AppendBulkString(resp.AppendBulkString(s.out, "mode"), "standalone")
	s.out = resp.AppendBulkString(resp.AppendBulkString(s.out, "role"), role.String())
	s.out = resp.AppendArray(resp.AppendBulkString(s.out, "modules"), 0)
}

func (s *session) selectDB(_ context.Context, args [][]byte) {
	db, err := strconv.Atoi(string(args[1]))
	switch {
	case err != nil:
		s.fail("ERR value is not an integer or out of range")
	case db != 0:
		s.fail("ERR DB index is out of range")
	default:
		s.ok()
	}
}

func (s *session) time(context.Context, [][]byte) {
	now := time.Now().UnixMicro()
	s.out = resp.AppendArray(s.out, 2)
	s.out = resp.AppendBulkString(s.out, strconv.FormatInt(now/1e6, 10))
	s.out = resp.AppendBulkString(s.out, strconv.FormatInt(now%1e6, 10))
}

// role answers in Redis's shapes; a link's state is one of connect, connecting,
// handshake, sync and connected, and without a link there is no offset.
func (s *session) role(context.Context, [][]byte) {
	st := s.n.Status()
	if st.Upstream != nil {
		host, port, _ := net.SplitHostPort(st.Upstream.Addr)
		number, _ := strconv.ParseInt(port, 10, 64)
		applied := int64(-1)
		if st.Upstream.State == LinkConnected {
			applied = int64(st.Offset)
		}
		s.out = resp.AppendBulkString(resp.AppendArray(s.out, 5), "slave")
		s.out = resp.AppendInt(resp.AppendBulkString(s.out, host), number)
		s.out = resp.AppendBulkString(s.out, roleLink[st.Upstream.State])
		s.out = resp.AppendInt(s.out, applied)
		return
	}
	s.out = resp.AppendBulkString(resp.AppendArray(s.out, 3), "master")
	s.out = resp.AppendInt(s.out, int64(st.Offset))
	online := slices.DeleteFunc(st.Replicas, func(r ReplicaStatus) bool { return r.State != ReplicaOnline })
	s.out = resp.AppendArray(s.out, len(online))
	for _, r := range online {
		host, port, _ := net.SplitHostPort(r.Addr)
		s.out = resp.AppendArray(s.out, 3)
		for _, v := range []string{host, port, r.Acked.String()} {
			s.out = resp.AppendBulkString(s.out, v)
		}
	}
}

var roleLink = [...]string{
	LinkIdle: "connect", LinkConnecting: "connecting", LinkHandshake: "handshake",
	LinkTransfer: "sync", LinkConnected: "connected", LinkStopped: "connect",
}

func (s *session) lastSave(context.Context, [][]byte) {
	at := s.n.snaps.Status().Time
	if at.IsZero() {
		at = s.n.started
	}
	s.out = resp.AppendInt(s.out, at.Unix())
}

func (s *session) save(ctx context.Context, _ [][]byte) {
	if _, err := s.n.Snapshot(ctx); err != nil {
		s.fail("ERR %v", err)
		return
	}
	s.ok()
}

func (s *session) bgSave(context.Context, [][]byte) {
	s.n.snaps.Request()
	s.out = resp.AppendSimple(s.out, "Background saving started")
}

// replicaOf is REPLICAOF host port | NO ONE.
func (s *session) replicaOf(ctx context.Context, args [][]byte) {
	addr := ""
	if !is(args[1], "NO") || !is(args[2], "ONE") {
		if addr = joinAddr(args[1], args[2]); addr == "" {
			s.fail("ERR Invalid master port")
			return
		}
	}
	if err := s.n.ReplicaOf(ctx, addr); err != nil {
		s.fail("ERR %v", err)
		return
	}
	s.ok()
}

// joinAddr is host:port, empty if the port is none.
func joinAddr(host, port []byte) string {
	p, err := strconv.ParseUint(string(port), 10, 16)
	if err != nil || p == 0 {
		return ""
	}
	return net.JoinHostPort(string(host), strconv.FormatUint(p, 10))
}

// replConf is what a replica says of itself before PSYNC: pairs of option and
// value. Capabilities that we do not know are simply not used.
func (s *session) replConf(_ context.Context, args [][]byte) {
	if len(args)%2 == 0 {
		s.fail("ERR syntax error")
		return
	}
	for i := 1; i < len(args); i += 2 {
		value := args[i+1]
		switch {
		case is(args[i], "listening-port"):
			port, err := strconv.ParseUint(string(value), 10, 16)
			if err != nil {
				s.fail("ERR value is not an integer or out of range")
				return
			}
			s.repl.port = int(port)
		case is(args[i], "ip-address"):
			if len(value) > 255 {
				s.fail("ERR REPLCONF ip-address provided by replica instance is too long: %d bytes", len(value))
				return
			}
			// It is shown in INFO, and after a FAILOVER it is our upstream's.
			if err := CheckAddr(net.JoinHostPort(string(value), "1")); len(value) > 0 && err != nil {
				s.fail("ERR REPLCONF ip-address %q: want a host", value)
				return
			}
			s.repl.ip = string(value)
		case is(args[i], "capa"):
			s.repl.psync2 = s.repl.psync2 || is(value, "psync2")
			s.repl.eof = s.repl.eof || is(value, "eof")
			s.repl.packed = s.repl.packed || is(value, "rdb-channel-repl") || is(value, packedCapa)
		case is(args[i], "version"):
			s.repl.version = string(value[:min(len(value), 32)])
			packed, err := atLeast7(s.repl.version)
			s.repl.packed = s.repl.packed || packed && err == nil
		case is(args[i], "rdb-only"):
			s.repl.rdbOnly = string(value) == "1"
		case is(args[i], "rdb-filter-only"):
			if err := s.repl.filter(string(value)); err != nil {
				s.fail("ERR %v", err)
				return
			}
		case is(args[i], "ack"), is(args[i], "fack"), is(args[i], "getack"):
			return // of a replica only, and that does not come here; it has no reply
		default:
			s.fail("ERR Unrecognized REPLCONF option: %.128s", args[i])
			return
		}
	}
	s.ok()
}

const idLength = 40 // of a replication id

// psync is PSYNC id offset [FAILOVER].
func (s *session) psync(ctx context.Context, args [][]byte) {
	offset, err := strconv.ParseInt(string(args[2]), 10, 64)
	switch {
	case len(args) > 4 || len(args) == 4 && !is(args[3], "FAILOVER"):
		s.fail("ERR syntax error")
		return
	case err != nil:
		s.fail("ERR value is not an integer or out of range")
		return
	case len(args) == 4:
		_, err := s.n.appender.submit(ctx, 0, nil, func() error { return s.n.appender.takeOver(string(args[1])) })
		switch {
		case errors.As(err, new(*refusedError)):
			s.fail("ERR %v", err)
			return
		case err != nil: // the next start may find that we did: until then the other is to ask again
			s.fail("NOMASTERLINK %v", err)
			return
		}
	}
	if s.canFilter() {
		id := string(args[1][:min(len(args[1]), idLength+1)]) // it is logged; longer than an id it is none
		s.follow = &psync{id: id, offset: offset}
	}
}

// sync is the resync of before PSYNC, which redis-cli still uses.
func (s *session) sync(context.Context, [][]byte) {
	if s.canFilter() {
		s.follow = &psync{id: "?", offset: -1, legacy: true}
	}
}

func (s *session) canFilter() bool {
	if s.repl.rdbEmpty && !s.repl.eof {
		s.fail("ERR Filtered replica requires EOF capability")
		return false
	}
	return true
}

func (s *session) multiCommand(context.Context, [][]byte) {
	if s.multi.open {
		s.fail("ERR MULTI calls can not be nested")
		return
	}
	s.multi = queue{open: true}
	s.ok()
}

func (s *session) discard(context.Context, [][]byte) {
	if !s.multi.open {
		s.fail("ERR DISCARD without MULTI")
		return
	}
	s.endQueue()
	s.ok()
}

// endQueue releases the commands between MULTI and EXEC.
func (s *session) endQueue() {
	s.multi = queue{}
	_ = s.hold(heldQueue, 0) // what shrinks cannot exceed anything
}

func (s *session) exec(ctx context.Context, _ [][]byte) {
	q := s.multi
	defer s.endQueue()
	why := s.n.refusal.Load()
	switch {
	case !q.open:
		s.fail("ERR EXEC without MULTI")
		return
	case why != nil && q.needsData: // they were queued before
		s.fail("EXECABORT Transaction discarded because of: %s", *why)
		return
	case q.broken:
		s.fail("EXECABORT Transaction discarded because of previous errors.")
		return
	}
	// All of it reads one moment, and nobody waits for it.
	s.pinned = s.n.Keyspace()
	defer s.unpin()
	keys := s.pinned.View(q.args)
	defer keys.Close()
	s.out = resp.AppendArray(s.out, len(q.args))
	for _, args := range q.args {
		var buf [32]byte
		s.execute(ctx, keys, upper(&buf, args[0]), args)
		if len(s.out) >= flushAt {
			s.beginReply(s.pinned)
			s.flush() //nolint:errcheck // the session sees it
		}
		if s.err != nil {
			return
		}
	}
}
