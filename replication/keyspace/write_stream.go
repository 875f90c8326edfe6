package keyspace

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"rowfall/replication/keyspace/value"
)

// streamWriters are the commands of streams. Servers send XADD and XTRIM with the resulting id and
// limit. Consumer groups are not supported: XGROUP, XREADGROUP, XACK, XCLAIM and similar commands
// are rejected.
var streamWriters = map[string]*writer{
	"XADD":   {arity: -5, run: (*Keyspace).xadd},
	"XDEL":   {arity: -3, run: (*Keyspace).xdel},
	"XTRIM":  {arity: -4, run: (*Keyspace).xtrim},
	"XSETID": {arity: -3, run: (*Keyspace).xsetid},
}

const invalidStreamID = "ERR Invalid stream ID specified as stream command argument"

var errStreamID = errors.New(invalidStreamID)

// parseStreamID parses an id. seq is the sequence number of an id that gives only its milliseconds.
func parseStreamID(b []byte, seq uint64) (id StreamID, ok bool) {
	if len(b) > 41 {
		return id, false
	}
	ms, rest, both := strings.Cut(string(b), "-")
	id.Seq = seq
	var err1, err2 error
	id.Ms, err1 = parseUnsigned(ms)
	if both {
		id.Seq, err2 = parseUnsigned(rest)
	}
	return id, err1 == nil && err2 == nil
}

// parseUnsigned accepts the same texts as the servers' strtoull: spaces and a plus sign may precede
// the digits. Such ids reach replicas as the client wrote them.
func parseUnsigned(s string) (uint64, error) {
	return strconv.ParseUint(strings.TrimPrefix(strings.TrimLeft(s, spaces), "+"), 10, 64)
}

// trimOptions are the options of XADD and XTRIM that select the entries to keep.
type trimOptions struct {
	by     byte // 0 keeps all, 'n' by number of entries, 'i' by id
	keep   int64
	first  StreamID
	create bool
}

// read parses the options from args[0] on and returns how many arguments they take. In XADD an id
// follows them.
func (x *trimOptions) read(args [][]byte, xadd bool) (n int, err error) {
	for x.create = true; n < len(args); n++ {
		word := strings.ToUpper(string(args[n][:min(len(args[n]), 12)]))
		switch {
		case xadd && word == "NOMKSTREAM":
			x.create = false
		case word == "KEEPREF" || word == "DELREF":
			// These options concern consumer groups, which are not supported.
		case word == "LIMIT" && n+1 < len(args):
			n++ // LIMIT applied on the master, which sends the result with "="
		case (word == "MAXLEN" || word == "MINID") && x.by == 0 && n+1 < len(args):
			if string(args[n+1]) == "~" {
				return n, errors.New("ERR " + word + " ~ leaves open what is trimmed")
			}
			if n++; string(args[n]) == "=" {
				if n++; n == len(args) {
					return n, errSyntax
				}
			}
			if err := x.limit(word, args[n]); err != nil {
				return n, err
			}
		case xadd:
			return n, nil
		default:
			return n, errSyntax
		}
	}
	return n, nil
}

func (x *trimOptions) limit(word string, arg []byte) error {
	var ok bool
	if word == "MINID" {
		x.by = 'i'
		if x.first, ok = parseStreamID(arg, 0); !ok {
			return errStreamID
		}
		return nil
	}
	x.by = 'n'
	if x.keep, ok = ParseInt(arg); !ok {
		return errNotInteger
	}
	if x.keep < 0 {
		return redisError("ERR The MAXLEN argument must be >= 0.")
	}
	return nil
}

// apply trims a stream and returns how many entries it removed.
func (x *trimOptions) apply(s *value.StreamEditor) (n int) {
	switch x.by {
	case 'n':
		n = int(max(int64(s.Len())-x.keep, 0))
	case 'i':
		n = s.CountBefore(x.first)
	}
	if n > 0 {
		s.Trim(n)
	}
	return n
}

func (k *Keyspace) xadd(args [][]byte) error {
	var x trimOptions
	n, err := x.read(args[2:], true)
	if err != nil {
		return err
	}
	rest := args[2+n:]
	if len(rest) < 3 || len(rest)%2 == 0 {
		return errors.New(arityError(args[0]))
	}
	if id := rest[0]; len(id) > 0 && id[len(id)-1] == '*' {
		return errors.New("ERR an id that the server is to make leaves open which one")
	}
	id, ok := parseStreamID(rest[0], 0)
	switch {
	case !ok:
		return errStreamID
	case id.IsZero():
		return errors.New("ERR The ID specified in XADD must be greater than 0-0")
	}
	t, err := k.targetOfKind(args[1], Stream)
	if err != nil || t.rec == "" && !x.create {
		return err
	}
	s := k.edit(&t, Stream, t.rec.expireAt()).EditStream(t.value())
	if id.Compare(s.Info.Last) <= 0 {
		return errors.New(
			"ERR The ID specified in XADD is equal or smaller than the target stream top item",
		)
	}
	s.Append(id, rest[1:])
	x.apply(&s)
	s.Finish()
	k.save(&t)
	return nil
}

func (k *Keyspace) xdel(args [][]byte) error {
	ids := make([]StreamID, len(args)-2)
	for i, arg := range args[2:] {
		var ok bool
		if ids[i], ok = parseStreamID(arg, 0); !ok {
			return errStreamID
		}
	}
	t, err := k.targetOfKind(args[1], Stream)
	if err != nil || t.rec == "" {
		return err
	}
	s := k.edit(&t, Stream, t.rec.expireAt()).EditStream(t.value())
	n := 0
	for _, id := range ids {
		if s.Delete(id) {
			n++
		}
	}
	if n > 0 {
		s.Finish()
		k.save(&t)
	}
	return nil
}

func (k *Keyspace) xtrim(args [][]byte) error {
	var x trimOptions
	if _, err := x.read(args[2:], false); err != nil {
		return err
	}
	if x.by == 0 {
		return errSyntax
	}
	t, err := k.targetOfKind(args[1], Stream)
	if err != nil || t.rec == "" {
		return err
	}
	s := k.edit(&t, Stream, t.rec.expireAt()).EditStream(t.value())
	if x.apply(&s) > 0 {
		s.Finish()
		k.save(&t)
	}
	return nil
}

// xsetidArgs are the parsed arguments of XSETID.
type xsetidArgs struct {
	id      StreamID
	added   int64    // -1: not given
	deleted StreamID // zero: not given
}

func parseXSetID(args [][]byte) (a xsetidArgs, err error) {
	id, ok := parseStreamID(args[2], 0)
	if !ok {
		return a, errStreamID
	}
	a.id, a.added = id, -1
	for i := 3; i < len(args); i += 2 {
		word := strings.ToUpper(string(args[i][:min(len(args[i]), 16)]))
		switch {
		case i+1 == len(args):
			return a, errSyntax
		case word == "ENTRIESADDED":
			if a.added, ok = ParseInt(args[i+1]); !ok {
				return a, errNotInteger
			}
			if a.added < 0 {
				return a, errors.New("ERR entries_added must be positive")
			}
		case word == "MAXDELETEDID":
			if a.deleted, ok = parseStreamID(args[i+1], 0); !ok {
				return a, errStreamID
			}
			if id.Compare(a.deleted) < 0 {
				return a, errors.New("ERR The ID specified in XSETID is smaller than " +
					"the provided max_deleted_entry_id")
			}
		default:
			return a, errSyntax
		}
	}
	return a, nil
}

func (k *Keyspace) xsetid(args [][]byte) error {
	a, err := parseXSetID(args)
	if err != nil {
		return err
	}
	t, err := k.targetOfKind(args[1], Stream)
	if err != nil {
		return err
	}
	if t.rec == "" {
		return errNoKey
	}
	s := k.edit(&t, Stream, t.rec.expireAt()).EditStream(t.value())
	switch {
	case a.id.Compare(s.Info.MaxDeleted) < 0:
		return errors.New(
			"ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
		)
	case s.Len() > 0 && a.id.Compare(s.MaxID()) < 0:
		return errors.New(
			"ERR The ID specified in XSETID is smaller than the target stream top item",
		)
	case s.Len() > 0 && a.added >= 0 && a.added < int64(s.Len()):
		return errors.New(
			"ERR The entries_added specified in XSETID is smaller than the target stream length",
		)
	}
	s.Info.Last = a.id
	if a.added >= 0 {
		s.Info.Added = uint64(a.added)
	}
	if !a.deleted.IsZero() {
		s.Info.MaxDeleted = a.deleted
	}
	s.Finish()
	k.save(&t)
	return nil
}

// maxStreamID is the greatest possible id.
var maxStreamID = StreamID{Ms: math.MaxUint64, Seq: math.MaxUint64}
