package replication

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"rowfall/replication/node"
	"rowfall/replication/resp"
)

// config answers CONFIG GET pattern... | SET name value... | RESETSTAT | REWRITE.
func (s *session) config(_ context.Context, args [][]byte) {
	switch {
	case resp.IsWord(args[1], "GET") && len(args) > 2:
		s.configGet(args[2:])
	case resp.IsWord(args[1], "SET") && len(args) > 3 && len(args)%2 == 0:
		s.configSet(args[2:])
	case resp.IsWord(args[1], "RESETSTAT") && len(args) == 2:
		s.n.resetStats()
		s.ok()
	case resp.IsWord(args[1], "REWRITE") && len(args) == 2:
		if err := s.n.SaveSettings(); err != nil {
			s.fail("ERR Rewriting config file: %v", err)
			return
		}
		s.ok()
	default:
		s.unknownSubcommand("CONFIG", args[1])
	}
}

// configGet answers CONFIG GET. The password of the upstream is hidden from clients on other hosts
// that sent no password.
func (s *session) configGet(patterns [][]byte) {
	found := s.n.FindSettings(func(name string) bool {
		if name == "masterauth" && s.isUnauthenticatedRemote() {
			return false
		}
		return slices.ContainsFunc(patterns, func(p []byte) bool {
			ok, err := path.Match(strings.ToLower(string(p)), name)
			return ok && err == nil
		})
	})
	s.mapOf(len(found))
	for _, setting := range found {
		s.bulks(setting.Name, setting.Value)
	}
}

// configSet answers CONFIG SET. It sets all values, or none if one of them is invalid.
func (s *session) configSet(pairs [][]byte) {
	values := make([]node.SettingValue, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		values = append(values, node.SettingValue{
			Name: string(pairs[i]), Value: string(pairs[i+1]),
		})
	}
	err := s.n.ChangeSettings(values)
	var invalid *node.SettingError
	switch {
	case err == nil:
		s.ok()
	case errors.As(err, &invalid) && invalid.Unknown:
		s.fail("ERR Unknown option or number of arguments for CONFIG SET - '%.128s'", invalid.Name)
	case errors.As(err, &invalid):
		s.fail("ERR CONFIG SET failed (possibly related to argument '%.128s') - %s",
			invalid.Name, invalid.Reason)
	default:
		s.fail("ERR %v", err)
	}
}
