package replication

import (
	"bytes"
	"context"
	"maps"
	"path"
	"slices"
	"sync"

	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
)

// listedCommand is a command as COMMAND describes it.
type listedCommand struct {
	keyspace.Command
	flags   []string
	summary string
}

// keyspaceCommands are the keyspace's commands, by name.
var keyspaceCommands = sync.OnceValue(func() map[string]listedCommand {
	all := map[string]listedCommand{}
	for _, c := range keyspace.Commands() {
		flags, summary := []string{"readonly"}, "As in Redis."
		if c.Write {
			flags = []string{"write"}
			summary = "As in Redis, in the units of the node's writer. " +
				"Clients are answered READONLY."
		}
		if c.MovableKeys {
			flags = append(flags, "movablekeys")
		}
		all[c.Name] = listedCommand{c, flags, summary}
	}
	return all
})

// listedCommands returns all commands that COMMAND describes, by name. Write commands that units
// must not contain are not among them.
func (n *Node) listedCommands() map[string]listedCommand {
	all := maps.Clone(keyspaceCommands())
	for _, c := range n.clients.commands {
		l := listedCommand{
			Command: keyspace.Command{Name: c.name, Group: "server", Arity: c.arity},
			summary: "As in Redis.",
		}
		switch c.kind {
		case nodeCommand:
			l.flags = c.flags.names()
		case ownerCommand:
			l.flags = []string{"loading", "stale"}
			l.summary = "A command of the program that runs this node."
		default:
			continue
		}
		all[c.name] = l
	}
	return all
}

// names returns the flags as COMMAND INFO names them.
func (f commandFlags) names() []string {
	var names []string
	if !f.has(needsData) {
		names = append(names, "loading", "stale")
	}
	if f.has(noAuth) {
		names = append(names, "no_auth")
	}
	if f.has(noMulti) {
		names = append(names, "no_multi")
	}
	return names
}

// command answers COMMAND [COUNT | DOCS [name...] | LIST [FILTERBY kind value] | INFO [name...]].
func (s *session) command(_ context.Context, args [][]byte) {
	all := s.n.listedCommands()
	switch {
	case len(args) == 1:
		s.commandInfo(all, nil)
	case resp.IsWord(args[1], "INFO"):
		s.commandInfo(all, args[2:])
	case resp.IsWord(args[1], "COUNT") && len(args) == 2:
		s.int(int64(len(all)))
	case resp.IsWord(args[1], "DOCS"):
		s.commandDocs(all, args[2:])
	case resp.IsWord(args[1], "LIST"):
		s.commandList(all, args[2:])
	default:
		s.unknownSubcommand("COMMAND", args[1])
	}
}

// commandInfo describes the named commands, or all commands without names. A name that no command
// has gets null.
func (s *session) commandInfo(all map[string]listedCommand, names [][]byte) {
	if len(names) == 0 {
		names = allNames(all)
	}
	s.array(len(names))
	for _, name := range names {
		c, ok := all[lowerName(name)]
		if !ok {
			s.nullArray()
			continue
		}
		s.array(10)
		s.bulk(c.Name)
		s.int(int64(c.Arity))
		s.setOf(len(c.flags))
		for _, f := range c.flags {
			s.simple(f)
		}
		for _, at := range []int{c.First, c.Last, c.Step} {
			s.int(int64(at))
		}
		s.setOf(1)
		s.simple("@" + c.category())
		for range 3 { // tips, key specifications, subcommands
			s.array(0)
		}
	}
}

// category returns the command's ACL category, without the @.
func (c listedCommand) category() string {
	switch {
	case c.Write:
		return "write"
	case slices.Contains(c.flags, "readonly"):
		return "read"
	}
	return "connection"
}

// commandDocs documents the named commands that exist, or all commands without names.
func (s *session) commandDocs(all map[string]listedCommand, names [][]byte) {
	if len(names) == 0 {
		names = allNames(all)
	}
	names = slices.DeleteFunc(slices.Clone(names), func(name []byte) bool {
		_, ok := all[lowerName(name)]
		return !ok
	})
	s.mapOf(len(names))
	for _, name := range names {
		c := all[lowerName(name)]
		s.bulk(c.Name)
		s.mapOf(2)
		s.bulks("summary", c.summary, "group", c.Group)
	}
}

// commandList answers COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern].
func (s *session) commandList(all map[string]listedCommand, filter [][]byte) {
	fits := func(listedCommand) bool { return true }
	switch {
	case len(filter) == 0:
	case len(filter) != 3 || !resp.IsWord(filter[0], "FILTERBY"):
		s.fail("ERR syntax error")
		return
	case resp.IsWord(filter[1], "MODULE"): // there are no modules
		fits = func(listedCommand) bool { return false }
	case resp.IsWord(filter[1], "ACLCAT"):
		fits = func(c listedCommand) bool { return resp.IsWord(filter[2], c.category()) }
	case resp.IsWord(filter[1], "PATTERN"):
		fits = func(c listedCommand) bool {
			ok, err := path.Match(lowerName(filter[2]), c.Name)
			return ok && err == nil
		}
	default:
		s.fail("ERR syntax error")
		return
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if fits(all[name]) {
			names = append(names, name)
		}
	}
	s.array(len(names))
	s.bulks(names...)
}

// lowerName returns a name with its ASCII letters in lower case.
func lowerName(name []byte) string {
	lower := bytes.Clone(name)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return string(lower)
}

// allNames returns the names of all commands, sorted.
func allNames(all map[string]listedCommand) [][]byte {
	var names [][]byte
	for _, name := range slices.Sorted(maps.Keys(all)) {
		names = append(names, []byte(name))
	}
	return names
}
