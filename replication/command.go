package replication

import (
	"context"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
)

// listedCommand is one command as COMMAND shows it.
type listedCommand struct {
	keyspace.Command
	flags   []string
	summary string
}

// listed are the session's commands and the keyspace's, by name.
var listed = sync.OnceValue(func() map[string]listedCommand {
	all := map[string]listedCommand{}
	for _, c := range keyspace.Commands() {
		flags, summary := []string{"readonly"}, "As in Redis."
		if c.Write {
			flags, summary = []string{"write"}, "As in Redis, in the units of the node's writer. Clients are answered READONLY."
		}
		if c.MovableKeys {
			flags = append(flags, "movablekeys")
		}
		all[c.Name] = listedCommand{c, flags, summary}
	}
	for _, c := range commands {
		l := listedCommand{Command: keyspace.Command{Name: c.name, Group: "server", Arity: c.args}, summary: "As in Redis."}
		for _, f := range []struct {
			name string
			set  bool
		}{{"loading", !c.needsData}, {"stale", !c.needsData}, {"no_auth", c.anyone}, {"no_multi", c.noMulti}} {
			if f.set {
				l.flags = append(l.flags, f.name)
			}
		}
		all[c.name] = l
	}
	return all
})

// listedCommands are all commands of the node, the owner's included.
func (n *Node) listedCommands() map[string]listedCommand {
	all := maps.Clone(listed())
	for name := range n.c.Commands {
		name = strings.ToLower(name)
		all[name] = listedCommand{
			Command: keyspace.Command{Name: name, Group: "server", Arity: -1}, flags: []string{"loading", "stale"},
			summary: "A command of the program that runs this node.",
		}
	}
	return all
}

// command is COMMAND [COUNT | DOCS [name...] | LIST [FILTERBY kind value] | INFO [name...]].
func (s *session) command(_ context.Context, args [][]byte) {
	all := s.n.listedCommands()
	switch {
	case len(args) == 1:
		s.commandInfo(all, nil)
	case is(args[1], "INFO"):
		s.commandInfo(all, args[2:])
	case is(args[1], "COUNT") && len(args) == 2:
		s.out = resp.AppendInt(s.out, int64(len(all)))
	case is(args[1], "DOCS"):
		s.commandDocs(all, args[2:])
	case is(args[1], "LIST"):
		s.commandList(all, args[2:])
	default:
		s.fail("ERR unknown subcommand or wrong number of arguments for '%.128s'. Try COMMAND HELP.", args[1])
	}
}

// commandInfo answers for the named commands, null for those that do not exist, and for
// all without names.
func (s *session) commandInfo(all map[string]listedCommand, names [][]byte) {
	if len(names) == 0 {
		names = allNames(all)
	}
	s.out = resp.AppendArray(s.out, len(names))
	for _, name := range names {
		c, ok := all[lower(name)]
		if !ok {
			s.out = resp.AppendNullArray(s.out, s.proto)
			continue
		}
		s.out = resp.AppendBulkString(resp.AppendArray(s.out, 10), c.Name)
		s.out = resp.AppendInt(s.out, int64(c.Arity))
		s.out = resp.AppendSet(s.out, s.proto, len(c.flags))
		for _, f := range c.flags {
			s.out = resp.AppendSimple(s.out, f)
		}
		for _, at := range []int{c.First, c.Last, c.Step} {
			s.out = resp.AppendInt(s.out, int64(at))
		}
		s.out = resp.AppendSet(s.out, s.proto, 1)
		s.out = resp.AppendSimple(s.out, "@"+c.category())
		for range 3 { // tips, key specifications, subcommands
			s.out = resp.AppendArray(s.out, 0)
		}
	}
}

// category is the command's category of access rights, without the @.
func (c listedCommand) category() string {
	switch {
	case c.Write:
		return "write"
	case slices.Contains(c.flags, "readonly"):
		return "read"
	}
	return "connection"
}

// commandDocs answers for the named commands that exist, and for all without names.
func (s *session) commandDocs(all map[string]listedCommand, names [][]byte) {
	if len(names) == 0 {
		names = allNames(all)
	}
	names = slices.DeleteFunc(slices.Clone(names), func(name []byte) bool { _, ok := all[lower(name)]; return !ok })
	s.out = resp.AppendMap(s.out, s.proto, len(names))
	for _, name := range names {
		c := all[lower(name)]
		s.out = resp.AppendMap(resp.AppendBulkString(s.out, c.Name), s.proto, 2)
		for _, text := range []string{"summary", c.summary, "group", c.Group} {
			s.out = resp.AppendBulkString(s.out, text)
		}
	}
}

// commandList is COMMAND LIST, with or without FILTERBY MODULE | ACLCAT | PATTERN.
func (s *session) commandList(all map[string]listedCommand, filter [][]byte) {
	fits := func(listedCommand) bool { return true }
	switch {
	case len(filter) == 0:
	case len(filter) != 3 || !is(filter[0], "FILTERBY"):
		s.fail("ERR syntax error")
		return
	case is(filter[1], "MODULE"): // there are no modules
		fits = func(listedCommand) bool { return false }
	case is(filter[1], "ACLCAT"):
		fits = func(c listedCommand) bool { return is(filter[2], c.category()) }
	case is(filter[1], "PATTERN"):
		fits = func(c listedCommand) bool {
			ok, err := path.Match(lower(filter[2]), c.Name)
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
	s.out = resp.AppendArray(s.out, len(names))
	for _, name := range names {
		s.out = resp.AppendBulkString(s.out, name)
	}
}

func allNames(all map[string]listedCommand) [][]byte {
	var names [][]byte
	for _, name := range slices.Sorted(maps.Keys(all)) {
		names = append(names, []byte(name))
	}
	return names
}
