package replication

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"rowfall/replication/node"
	"rowfall/replication/resp"
)

// client answers CLIENT and its subcommands.
func (s *session) client(_ context.Context, args [][]byte) {
	sub, rest := strings.ToUpper(string(args[1][:min(len(args[1]), 32)])), args[2:]
	switch {
	case sub == "ID" && len(rest) == 0:
		s.int(s.id)
	case sub == "GETNAME" && len(rest) == 0:
		s.info.Lock()
		name := s.info.name
		s.info.Unlock()
		if name == "" {
			s.null()
			return
		}
		s.bulk(name)
	case sub == "SETNAME" && len(rest) == 1:
		if s.setName(rest[0]) {
			s.ok()
		}
	case sub == "SETINFO" && len(rest) == 2:
		s.setInfo(rest[0], rest[1])
	case sub == "INFO" && len(rest) == 0:
		s.verbatim(s.line())
	case sub == "LIST":
		s.clientList(rest)
	case sub == "KILL" && len(rest) > 0:
		s.clientKill(rest)
	case (sub == "NO-EVICT" || sub == "NO-TOUCH") && len(rest) == 1:
		s.ok() // no key is evicted, and no access time is stored
	default:
		s.unknownSubcommand("CLIENT", args[1])
	}
}

// printable reports whether b has only characters that CLIENT LIST may contain.
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
	s.info.Lock()
	s.info.name = string(name)
	s.info.Unlock()
	return true
}

func (s *session) setInfo(option, value []byte) {
	if !printable(value) || len(value) > 1024 {
		s.fail("ERR %.32s cannot contain spaces, newlines or special characters.", option)
		return
	}
	s.info.Lock()
	defer s.info.Unlock()
	switch {
	case resp.IsWord(option, "LIB-NAME"):
		s.info.lib = string(value)
	case resp.IsWord(option, "LIB-VER"):
		s.info.libVersion = string(value)
	default:
		s.fail("ERR Unrecognized option '%.128s'", option)
		return
	}
	s.ok()
}

// client is a connection as the filters of CLIENT LIST and CLIENT KILL match it.
type client struct {
	s           *session // nil: the link to the upstream
	id          int64
	kind        string // normal, replica or master
	addr, laddr string
	opened      time.Time
}

// describe returns what filters match of a session.
func (s *session) describe() client {
	c := client{
		s: s, id: s.id, kind: "normal", addr: s.conn.RemoteAddr().String(),
		laddr: s.conn.LocalAddr().String(), opened: s.opened,
	}
	if s.isReplica.Load() {
		c.kind = "replica"
	}
	return c
}

// linkClient returns what filters match of the link to the upstream.
func linkClient(link node.LinkInfo) client {
	return client{
		id: link.ID, kind: "master", addr: link.Addr, laddr: link.LocalAddr, opened: link.Opened,
	}
}

// cutLink closes the link to the upstream if it matches, and reports whether it did.
func (s *session) cutLink(match func(client) bool) bool {
	return s.n.CutLink(func(link node.LinkInfo) bool { return match(linkClient(link)) })
}

// clientLine is a line of CLIENT LIST.
const clientLine = "id=%d addr=%s laddr=%s name=%s age=%d idle=%d flags=%s " +
	"db=0 sub=0 psub=0 ssub=0 multi=-1 cmd=%s user=%s resp=%d lib-name=%s lib-ver=%s\n"

// line returns the upstream link's line in CLIENT LIST.
func (c client) line() string {
	return fmt.Sprintf(clientLine,
		c.id, c.addr, c.laddr, "", seconds(c.opened), 0, "M", "NULL", "", 2, "", "")
}

// line returns the session's line in CLIENT LIST.
func (s *session) line() string {
	s.info.Lock()
	defer s.info.Unlock()
	flags := "N"
	if s.isReplica.Load() {
		flags = "S"
	}
	idle := 0
	if !s.info.lastAt.IsZero() {
		idle = seconds(s.info.lastAt)
	}
	return fmt.Sprintf(clientLine, s.id, s.conn.RemoteAddr(), s.conn.LocalAddr(), s.info.name,
		seconds(s.opened), idle, flags, s.info.lastCommand, "default", s.info.proto,
		s.info.lib, s.info.libVersion)
}

// seconds returns the whole seconds since t.
func seconds(t time.Time) int { return int(time.Since(t).Seconds()) }

// clientList answers CLIENT LIST [TYPE type | ID id...].
func (s *session) clientList(args [][]byte) {
	match, err := clientFilter(args, s)
	if len(args) > 1 && resp.IsWord(args[0], "ID") {
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
	if link, ok := s.n.Link(); ok && match(linkClient(link)) {
		b.WriteString(linkClient(link).line())
	}
	s.verbatim(b.String())
}

// clientKill answers CLIENT KILL addr and CLIENT KILL filter value ...
func (s *session) clientKill(args [][]byte) {
	if len(args) == 1 {
		addr := string(args[0])
		has := func(c client) bool { return c.addr == addr }
		killed := s.n.clients.kill(func(c *session) bool { return has(c.describe()) })
		if !s.cutLink(has) && killed == 0 {
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
		if c == s { // its connection is closed after the reply
			s.closed = true
			return false
		}
		return true
	})
	if s.closed {
		killed++
	}
	if s.cutLink(match) {
		killed++
	}
	s.int(int64(killed))
}

// clientIDs returns a filter that matches any of the ids. If one is invalid, fault is the error
// reply.
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

// clientFilter compiles pairs of filter and value into one filter, which matches if all of them do.
// If a pair is invalid, fault is the error reply.
func clientFilter(args [][]byte, self *session) (match func(client) bool, fault string) {
	if len(args)%2 != 0 {
		return nil, "ERR syntax error"
	}
	var all []func(client) bool
	skipSelf := false
	for i := 0; i < len(args); i += 2 {
		value := string(args[i+1])
		switch {
		case resp.IsWord(args[i], "ID"):
			id, err := strconv.ParseInt(value, 10, 64)
			if err != nil || id < 1 {
				return nil, "ERR client-id should be greater than 0"
			}
			all = append(all, func(c client) bool { return c.id == id })
		case resp.IsWord(args[i], "TYPE"):
			kind := strings.ToLower(value)
			switch kind {
			case "slave":
				kind = "replica"
			case "normal", "replica", "master", "pubsub":
			default:
				return nil, "ERR Unknown client type '" + value[:min(len(value), 32)] + "'"
			}
			all = append(all, func(c client) bool { return c.kind == kind })
		case resp.IsWord(args[i], "ADDR"):
			all = append(all, func(c client) bool { return c.addr == value })
		case resp.IsWord(args[i], "LADDR"):
			all = append(all, func(c client) bool { return c.laddr == value })
		case resp.IsWord(args[i], "USER"):
			all = append(all, func(c client) bool { return c.s != nil && value == "default" })
		case resp.IsWord(args[i], "MAXAGE"):
			age, err := strconv.ParseInt(value, 10, 64)
			if err != nil || age < 1 {
				return nil, "ERR maxage is not an integer or out of range"
			}
			all = append(all, func(c client) bool { return int64(seconds(c.opened)) >= age })
		case resp.IsWord(args[i], "SKIPME") && resp.IsWord(args[i+1], "yes"):
			skipSelf = true
		case resp.IsWord(args[i], "SKIPME") && resp.IsWord(args[i+1], "no"):
			skipSelf = false
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
