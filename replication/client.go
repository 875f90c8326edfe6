package replication

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"rowfall/replication/resp"
)

// client is CLIENT and its subcommands.
func (s *session) client(_ context.Context, args [][]byte) {
	sub, rest := strings.ToUpper(string(args[1][:min(len(args[1]), 32)])), args[2:]
	switch {
	case sub == "ID" && len(rest) == 0:
		s.out = resp.AppendInt(s.out, s.id)
	case sub == "GETNAME" && len(rest) == 0:
		s.about.Lock()
		name := s.about.name
		s.about.Unlock()
		if name == "" {
			s.out = resp.AppendNull(s.out, s.proto)
			return
		}
		s.out = resp.AppendBulkString(s.out, name)
	case sub == "SETNAME" && len(rest) == 1:
		if s.setName(rest[0]) {
			s.ok()
		}
	case sub == "SETINFO" && len(rest) == 2:
		s.setInfo(rest[0], rest[1])
	case sub == "INFO" && len(rest) == 0:
		s.out = resp.AppendVerbatim(s.out, s.proto, s.line())
	case sub == "LIST":
		s.clientList(rest)
	case sub == "KILL" && len(rest) > 0:
		s.clientKill(rest)
	case (sub == "NO-EVICT" || sub == "NO-TOUCH") && len(rest) == 1:
		s.ok() // nothing is evicted and no access time is kept
	default:
		s.fail("ERR unknown subcommand or wrong number of arguments for '%.128s'. Try CLIENT HELP.", args[1])
	}
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < '!' || c > '~' {
			return false
		}
	}
	return true
}

func (s *session) setName(name []byte) bool {
	if !printable(name) || len(name) > 1024 {
		s.fail("ERR Client names cannot contain spaces, newlines or special characters.")
		return false
	}
	s.about.Lock()
	s.about.name = string(name)
	s.about.Unlock()
	return true
}

func (s *session) setInfo(option, value []byte) {
	if !printable(value) || len(value) > 1024 {
		s.fail("ERR %.32s cannot contain spaces, newlines or special characters.", option)
		return
	}
	s.about.Lock()
	defer s.about.Unlock()
	switch {
	case is(option, "LIB-NAME"):
		s.about.lib = string(value)
	case is(option, "LIB-VER"):
		s.about.libVersion = string(value)
	default:
		s.fail("ERR Unrecognized option '%.128s'", option)
		return
	}
	s.ok()
}

// client is a connection as the filters of CLIENT LIST and CLIENT KILL see it.
type client struct {
	s           *session // nil: the link to the upstream, which the node opened itself
	id          int64
	kind        string // normal, replica or master
	addr, laddr string
	opened      time.Time
}

// describe returns the session as CLIENT shows it.
func (s *session) describe() client {
	c := client{s: s, id: s.id, kind: "normal", addr: s.conn.RemoteAddr().String(), laddr: s.conn.LocalAddr().String(), opened: s.opened}
	if s.replica.Load() != nil {
		c.kind = "replica"
	}
	return c
}

// line is the upstream link's line in CLIENT LIST.
func (c client) line() string {
	return fmt.Sprintf("id=%d addr=%s laddr=%s name= age=%d idle=0 flags=M db=0 sub=0 psub=0 ssub=0 multi=-1 cmd=NULL user= resp=2 lib-name= lib-ver=\n",
		c.id, c.addr, c.laddr, int(time.Since(c.opened).Seconds()))
}

// line is the session's line in CLIENT LIST.
func (s *session) line() string {
	s.about.Lock()
	defer s.about.Unlock()
	flags := "N"
	if s.replica.Load() != nil {
		flags = "S"
	}
	idle := time.Duration(0)
	if !s.about.lastAt.IsZero() {
		idle = time.Since(s.about.lastAt)
	}
	return fmt.Sprintf("id=%d addr=%s laddr=%s name=%s age=%d idle=%d flags=%s db=0 sub=0 psub=0 ssub=0 multi=-1 cmd=%s user=default resp=%d lib-name=%s lib-ver=%s\n",
		s.id, s.conn.RemoteAddr(), s.conn.LocalAddr(), s.about.name, int(time.Since(s.opened).Seconds()), int(idle.Seconds()),
		flags, s.about.lastCommand, s.about.proto, s.about.lib, s.about.libVersion)
}

// clientList is CLIENT LIST [TYPE type | ID id...].
func (s *session) clientList(args [][]byte) {
	match, err := clientFilter(args, s)
	if len(args) > 1 && is(args[0], "ID") {
		match, err = clientIDs(args[1:])
	}
	if err != "" {
		s.fail("%s", err)
		return
	}
	var b strings.Builder
	for _, c := range s.n.clients.list() {
		if match(c.describe()) {
			b.WriteString(c.line())
		}
	}
	if c, ok := s.n.upstream.linkClient(); ok && match(c) {
		b.WriteString(c.line())
	}
	s.out = resp.AppendVerbatim(s.out, s.proto, b.String())
}

// clientKill is CLIENT KILL addr, or CLIENT KILL filter value ...
func (s *session) clientKill(args [][]byte) {
	if len(args) == 1 {
		addr := string(args[0])
		has := func(c client) bool { return c.addr == addr }
		killed := s.n.clients.kill(func(c *session) bool { return has(c.describe()) })
		if !s.n.upstream.cut(has) && killed == 0 {
			s.fail("ERR No such client")
			return
		}
		s.ok()
		return
	}
	match, err := clientFilter(append([][]byte{[]byte("SKIPME"), []byte("yes")}, args...), s)
	if err != "" {
		s.fail("%s", err)
		return
	}
	killed := s.n.clients.kill(func(c *session) bool {
		if !match(c.describe()) {
			return false
		}
		if c == s { // after the reply
			s.closed = true
			return false
		}
		return true
	})
	if s.closed {
		killed++
	}
	if s.n.upstream.cut(match) {
		killed++
	}
	s.out = resp.AppendInt(s.out, int64(killed))
}

// clientIDs matches any of some ids.
func clientIDs(args [][]byte) (match func(client) bool, fault string) {
	ids := map[int64]bool{}
	for _, a := range args {
		id, err := strconv.ParseInt(string(a), 10, 64)
		if err != nil || id < 1 {
			return nil, "ERR Invalid client ID"
		}
		ids[id] = true
	}
	return func(c client) bool { return ids[c.id] }, ""
}

// clientFilter compiles filter-value pairs; they must all match.
func clientFilter(args [][]byte, self *session) (match func(client) bool, fault string) {
	if len(args)%2 != 0 {
		return nil, "ERR syntax error"
	}
	var all []func(client) bool
	skipSelf := false
	for i := 0; i < len(args); i += 2 {
		value := string(args[i+1])
		switch {
		case is(args[i], "ID"):
			id, err := strconv.ParseInt(value, 10, 64)
			if err != nil || id < 1 {
				return nil, "ERR client-id should be greater than 0"
			}
			all = append(all, func(c client) bool { return c.id == id })
		case is(args[i], "TYPE"):
			kind := strings.ToLower(value)
			switch kind {
			case "slave":
				kind = "replica"
			case "normal", "replica", "master", "pubsub":
			default:
				return nil, "ERR Unknown client type '" + value[:min(len(value), 32)] + "'"
			}
			all = append(all, func(c client) bool { return c.kind == kind })
		case is(args[i], "ADDR"):
			all = append(all, func(c client) bool { return c.addr == value })
		case is(args[i], "LADDR"):
			all = append(all, func(c client) bool { return c.laddr == value })
		case is(args[i], "USER"):
			all = append(all, func(c client) bool { return c.s != nil && value == "default" })
		case is(args[i], "MAXAGE"):
			age, err := strconv.ParseInt(value, 10, 64)
			if err != nil || age < 1 {
				return nil, "ERR maxage is not an integer or out of range"
			}
			all = append(all, func(c client) bool { return int64(time.Since(c.opened).Seconds()) >= age })
		case is(args[i], "SKIPME") && (strings.EqualFold(value, "yes") || strings.EqualFold(value, "no")):
			skipSelf = strings.EqualFold(value, "yes")
		default:
			return nil, "ERR syntax error"
		}
	}
	return func(c client) bool {
		for _, f := range all {
			if !f(c) {
				return false
			}
		}
		return !skipSelf || c.s != self
	}, ""
}
