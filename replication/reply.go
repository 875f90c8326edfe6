package replication

import (
	"fmt"
	"strings"

	"rowfall/replication/resp"
)

// The methods of this file append one reply, or the header of one, to the session's replies.

func (s *session) ok()                  { s.out = append(s.out, "+OK\r\n"...) }
func (s *session) simple(text string)   { s.out = resp.AppendSimple(s.out, text) }
func (s *session) int(n int64)          { s.out = resp.AppendInt(s.out, n) }
func (s *session) bulk(text string)     { s.out = resp.AppendBulkString(s.out, text) }
func (s *session) bulkBytes(b []byte)   { s.out = resp.AppendBulk(s.out, b) }
func (s *session) null()                { s.out = resp.AppendNull(s.out, s.proto) }
func (s *session) nullArray()           { s.out = resp.AppendNullArray(s.out, s.proto) }
func (s *session) verbatim(text string) { s.out = resp.AppendVerbatim(s.out, s.proto, text) }
func (s *session) array(elements int)   { s.out = resp.AppendArray(s.out, elements) }
func (s *session) mapOf(pairs int)      { s.out = resp.AppendMap(s.out, s.proto, pairs) }
func (s *session) setOf(elements int)   { s.out = resp.AppendSet(s.out, s.proto, elements) }
func (s *session) error(text string)    { s.out = resp.AppendError(s.out, text) }
func (s *session) bulks(texts ...string) {
	for _, text := range texts {
		s.bulk(text)
	}
}

// fail appends a formatted error.
func (s *session) fail(format string, a ...any) { s.error(fmt.Sprintf(format, a...)) }

func (s *session) wrongArgs(name string) {
	s.fail("ERR wrong number of arguments for '%s' command", name)
}

// unknown appends the error of Redis for an unknown command, with at most 128 bytes of its
// arguments.
func (s *session) unknown(args [][]byte) {
	var shown strings.Builder
	for _, a := range args[1:] {
		if shown.Len() >= 128 {
			break
		}
		fmt.Fprintf(&shown, "'%.*s' ", 128-shown.Len(), a)
	}
	s.fail("ERR unknown command '%.128s', with args beginning with: %s", args[0], shown.String())
}

// unknownSubcommand appends the error for a subcommand that a command does not have.
func (s *session) unknownSubcommand(command string, sub []byte) {
	s.fail("ERR unknown subcommand or wrong number of arguments for '%.128s'. Try %s HELP.",
		sub, command)
}
