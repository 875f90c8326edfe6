package replication

import (
	"context"
	"crypto/subtle"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"rowfall/replication/keyspace"
	"rowfall/replication/node"
	"rowfall/replication/resp"
)

// commandKind is the part of the program that answers a command.
type commandKind uint8

const (
	unknownCommand commandKind = iota
	nodeCommand                // a method of session
	ownerCommand               // a handler of Config.Commands
	readCommand                // the keyspace
	writeCommand               // nothing: clients get READONLY
)

// commandFlags are properties of a command that its row declares.
type commandFlags uint8

const (
	noAuth    commandFlags = 1 << iota // executed before authentication, too
	immediate                          // executed between MULTI and EXEC instead of queued
	noMulti                            // an error between MULTI and EXEC
	needsData                          // rejected with LOADING and MASTERDOWN, as in Redis
	waits                              // may wait, while the session reads ahead
)

func (f commandFlags) has(flag commandFlags) bool { return f&flag != 0 }

// command is one row of the table of commands.
type command struct {
	name  string // in lower case
	kind  commandKind
	arity int // number of arguments with the name; negative: at least that many
	flags commandFlags
	// admin reports whether a call changes what the node is or does, or other connections. Reading
	// and following do not. nil: no call does.
	admin func(args [][]byte) bool

	run     func(s *session, ctx context.Context, args [][]byte) // of a nodeCommand
	handler Handler                                              // of an ownerCommand
	row     keyspace.Row                                         // of a readCommand
}

// unknownRow stands for every name that has no row. Its error comes after LOADING and MASTERDOWN.
var unknownRow = command{flags: needsData}

func (c *command) takes(args int) bool {
	return args == c.arity || c.arity < 0 && args >= -c.arity
}

// mayBlock reports whether a call may wait while the session reads ahead from its connection.
func (c *command) mayBlock() bool { return c.kind == ownerCommand || c.flags.has(waits) }

func (c *command) isAdmin(args [][]byte) bool { return c.admin != nil && c.admin(args) }

// isHTTP reports whether the name of an unknown command begins an HTTP request or its Host header.
func (c *command) isHTTP(name []byte) bool {
	return c.kind == unknownCommand && (resp.IsWord(name, "POST") || resp.IsWord(name, "HOST:"))
}

// always is the admin function of commands all of whose calls change the node.
func always([][]byte) bool { return true }

// subcommands returns the admin function of a command of which some subcommands change the node.
func subcommands(names ...string) func(args [][]byte) bool {
	return func(args [][]byte) bool {
		return len(args) > 1 && slices.ContainsFunc(names, func(name string) bool {
			return resp.IsWord(args[1], name)
		})
	}
}

// isTakeover reports whether a PSYNC ends with FAILOVER, which makes the node the master.
func isTakeover(args [][]byte) bool { return len(args) > 3 }

// nodeCommands returns the commands that need the session or the node.
func nodeCommands() []command {
	return []command{
		{name: "ping", arity: -1, flags: needsData, run: (*session).ping},
		{name: "echo", arity: 2, run: (*session).echo},
		{name: "quit", arity: -1, flags: noAuth | immediate, run: (*session).quit},
		{name: "reset", arity: 1, flags: noAuth | immediate, run: (*session).reset},
		{name: "auth", arity: -2, flags: noAuth, run: (*session).auth},
		{name: "hello", arity: -1, flags: noAuth, run: (*session).hello},
		{name: "select", arity: 2, run: (*session).selectDB},
		{name: "readonly", arity: 1, run: (*session).noop},
		{name: "readwrite", arity: 1, run: (*session).noop},
		{name: "asking", arity: 1, run: (*session).noop},
		{name: "client", arity: -2, admin: subcommands("KILL"), run: (*session).client},
		{name: "command", arity: -1, run: (*session).command},
		{
			name: "config", arity: -2, admin: subcommands("SET", "REWRITE", "RESETSTAT"),
			run: (*session).config,
		},
		{name: "info", arity: -1, run: (*session).infoCommand},
		{name: "role", arity: 1, run: (*session).role},
		{name: "wait", arity: 3, flags: needsData | waits, run: (*session).wait},
		{name: "waitaof", arity: 4, flags: needsData | waits, run: (*session).waitAOF},
		{name: "time", arity: 1, run: (*session).timeCommand},
		{name: "lastsave", arity: 1, run: (*session).lastSave},
		{name: "save", arity: 1, flags: noMulti | needsData, run: (*session).save},
		{name: "bgsave", arity: -1, flags: needsData, run: (*session).bgSave},
		{name: "replicaof", arity: 3, admin: always, run: (*session).replicaOf},
		{name: "slaveof", arity: 3, admin: always, run: (*session).replicaOf},
		{
			name: "failover", arity: -1, flags: noMulti, admin: always,
			run: (*session).failoverCommand,
		},
		{name: "replconf", arity: -1, flags: noMulti, run: (*session).replConf},
		{name: "psync", arity: -3, flags: noMulti, admin: isTakeover, run: (*session).psync},
		{name: "sync", arity: 1, flags: noMulti, run: (*session).sync},
		{name: "multi", arity: 1, flags: immediate, run: (*session).multiCommand},
		{name: "exec", arity: 1, flags: immediate, run: (*session).exec},
		{name: "discard", arity: 1, flags: immediate, run: (*session).discard},
	}
}

// commandTable returns the rows of all commands by upper-case name: those of the keyspace, over
// them those of the owner, and over both those of the node.
func commandTable(owner map[string]Handler, admin map[string][]string) map[string]*command {
	table := map[string]*command{}
	for name, row := range keyspace.All() {
		kind := writeCommand
		if row.IsRead() {
			kind = readCommand
		}
		table[name] = &command{
			name: strings.ToLower(name), kind: kind, arity: row.Arity(), flags: needsData, row: row,
		}
	}
	for name, handler := range owner {
		table[name] = &command{
			name: strings.ToLower(name), kind: ownerCommand, arity: -1, handler: handler,
			admin: subcommands(admin[name]...),
		}
	}
	for _, c := range nodeCommands() {
		c.kind = nodeCommand
		table[strings.ToUpper(c.name)] = &c
	}
	return table
}

// noop answers commands that have no effect here, such as READONLY.
func (s *session) noop(context.Context, [][]byte) { s.ok() }

func (s *session) ping(_ context.Context, args [][]byte) {
	switch len(args) {
	case 1:
		s.out = append(s.out, "+PONG\r\n"...)
	case 2:
		s.bulkBytes(args[1])
	default:
		s.wrongArgs("ping")
	}
}

func (s *session) echo(_ context.Context, args [][]byte) { s.bulkBytes(args[1]) }

func (s *session) quit(context.Context, [][]byte) {
	s.ok()
	s.closed = true
}

// reset restores the state of a new connection.
func (s *session) reset(context.Context, [][]byte) {
	s.endQueue()
	s.proto, s.repl = 2, node.Announced{}
	if s.n.c.Password != "" {
		s.authed = false
		s.r.SetLimits(anonymousArgs, anonymousBulk)
	}
	s.info.Lock()
	s.info.name = ""
	s.info.Unlock()
	s.simple("RESET")
}

func (s *session) auth(_ context.Context, args [][]byte) {
	switch {
	case len(args) > 3:
		s.fail("ERR syntax error")
	case s.n.c.Password == "" && len(args) == 2:
		s.error("ERR AUTH <password> called without any password configured for the default " +
			"user. Are you sure your configuration is correct?")
	case s.authenticate(args[1:]):
		s.ok()
	}
}

// authenticate checks a password, or user and password, and appends an error if they are wrong.
func (s *session) authenticate(cred [][]byte) bool {
	password := cred[len(cred)-1]
	right := s.n.c.Password == "" ||
		subtle.ConstantTimeCompare(password, []byte(s.n.c.Password)) == 1
	if !right || len(cred) == 2 && string(cred[0]) != "default" {
		s.fail("WRONGPASS invalid username-password pair or user is disabled.")
		return false
	}
	s.authed = true
	s.r.SetLimits(resp.MaxArgs, resp.MaxBulk)
	return true
}

// hello answers HELLO [2|3 [AUTH user password] [SETNAME name]].
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
		case resp.IsWord(args[i], "AUTH") && i+2 < len(args):
			if !s.authenticate(args[i+1 : i+3]) {
				return
			}
			i += 3
		case resp.IsWord(args[i], "SETNAME") && i+1 < len(args):
			name = args[i+1]
			i += 2
		default:
			s.fail("ERR Syntax error in HELLO option '%.128s'", args[i])
			return
		}
	}
	if !s.authed {
		s.error("NOAUTH HELLO must be called with the client already authenticated, otherwise " +
			"the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client " +
			"and select the RESP protocol version at the same time")
		return
	}
	if name != nil && !s.setName(name) {
		return
	}
	s.proto = proto
	role, _ := s.n.Role()
	s.mapOf(7)
	s.bulks("server", "redis", "version", node.RedisVersion)
	s.bulk("proto")
	s.int(int64(proto))
	s.bulk("id")
	s.int(s.id)
	s.bulks("mode", "standalone", "role", role.String(), "modules")
	s.array(0)
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

func (s *session) timeCommand(context.Context, [][]byte) {
	now := time.Now().UnixMicro()
	s.array(2)
	s.bulks(strconv.FormatInt(now/1e6, 10), strconv.FormatInt(now%1e6, 10))
}

// role answers ROLE. For a replica Redis replies with the state of the link (connect, connecting,
// handshake, sync or connected), and with offset -1 while the link is down.
func (s *session) role(context.Context, [][]byte) {
	st := s.n.Status()
	if st.Upstream != nil {
		host, port, _ := net.SplitHostPort(st.Upstream.Addr)
		number, _ := strconv.ParseInt(port, 10, 64)
		applied := int64(-1)
		if st.Upstream.State == LinkConnected {
			applied = int64(st.Offset)
		}
		s.array(5)
		s.bulks("slave", host)
		s.int(number)
		s.bulk(roleLink[st.Upstream.State])
		s.int(applied)
		return
	}
	s.array(3)
	s.bulk("master")
	s.int(int64(st.Offset))
	online := slices.DeleteFunc(st.Replicas, func(r ReplicaStatus) bool {
		return r.State != ReplicaOnline
	})
	s.array(len(online))
	for _, r := range online {
		host, port, _ := net.SplitHostPort(r.Addr)
		s.array(3)
		s.bulks(host, port, r.Acked.String())
	}
}

// roleLink are the states of the upstream link as ROLE names them.
var roleLink = [...]string{
	LinkIdle: "connect", LinkConnecting: "connecting", LinkHandshake: "handshake",
	LinkTransfer: "sync", LinkConnected: "connected", LinkStopped: "connect",
}

func (s *session) lastSave(context.Context, [][]byte) {
	at := s.n.SnapshotStatus().Time
	if at.IsZero() {
		at = s.n.Started()
	}
	s.int(at.Unix())
}

func (s *session) save(ctx context.Context, _ [][]byte) {
	if _, err := s.n.Snapshot(ctx); err != nil {
		s.fail("ERR %v", err)
		return
	}
	s.ok()
}

func (s *session) bgSave(context.Context, [][]byte) {
	s.n.RequestSnapshot()
	s.simple("Background saving started")
}

// replicaOf answers REPLICAOF host port and REPLICAOF NO ONE.
func (s *session) replicaOf(ctx context.Context, args [][]byte) {
	addr := ""
	if !resp.IsWord(args[1], "NO") || !resp.IsWord(args[2], "ONE") {
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

// joinAddr returns host:port, or "" if port is not a number from 1 to 65535.
func joinAddr(host, port []byte) string {
	p, err := strconv.ParseUint(string(port), 10, 16)
	if err != nil || p == 0 {
		return ""
	}
	return net.JoinHostPort(string(host), strconv.FormatUint(p, 10))
}
