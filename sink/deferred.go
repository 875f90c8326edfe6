package sink

import (
	"context"
	"fmt"

	"rowfall/replication/keyspace"
	"rowfall/replication/resp"
	"rowfall/transform"
)

// A resolver turns a deferred command of its kind into commands: it appends them to r.out, none if
// the stored state requires none. State that decides about later deferred commands is read and
// written only through the methods of r, so that the deferred commands of one unit see each other's
// effect.
type resolver func(r *resolution, d *transform.Deferred) error

// resolvers has the resolver of each kind. To add a kind, add a constant to package transform and
// an entry here.
var resolvers = map[transform.DeferredKind]resolver{
	transform.DeferredStreamID:  resolveStreamID,
	transform.DeferredPublish:   resolvePublish,
	transform.DeferredReference: resolveReference,
}

// resolution resolves the deferred commands of one unit. Its state is what the sink holds, changed
// by the deferred commands that were resolved before. Reader is all that it needs of a sink.
type resolution struct {
	ctx      context.Context
	reader   Reader
	pipeline string
	out      *transform.Commands
	sets     map[string]*stagedSet // by key
	// index is the index of the present deferred command in the unit.
	index int
	// streams holds the last ids of streams, by key.
	streams map[string]keyspace.StreamID
	// lastMessages holds the indexes of the messages to send, by channel and row.
	lastMessages map[message]int
}

// stagedSet is a stored set as it is after the deferred commands that were resolved.
type stagedSet struct {
	size    int64
	members map[string]bool // whether the set has a member, for those that were read or changed
}

// Resolve replaces the deferred commands of a unit by the commands that they become. reader reads
// the data that the unit is applied to next. After an error the unit is unchanged.
func (e *Encoder) Resolve(ctx context.Context, reader Reader, u *Unit) error {
	if !u.Commands.HasDeferred() {
		return nil
	}
	r := resolution{
		ctx: ctx, reader: reader, pipeline: e.name, sets: make(map[string]*stagedSet),
		streams: make(map[string]keyspace.StreamID), lastMessages: lastMessages(&u.Commands),
	}
	return u.Commands.Resolve(func(d *transform.Deferred, out *transform.Commands) error {
		resolve := resolvers[d.Kind]
		if resolve == nil {
			return fmt.Errorf("resolve deferred command for %.80q: kind %d is unknown; "+
				"please report it", d.Key, d.Kind)
		}
		r.out = out
		err := resolve(&r, d)
		r.index++
		return err
	})
}

// addMember adds a member to a stored set. It returns the size of the set, and whether the member
// is new.
func (r *resolution) addMember(set string, member []byte) (size int64, added bool, err error) {
	s, has, err := r.member(set, member)
	if err != nil || has {
		return s.size, false, err
	}
	r.out.Append([]byte("SADD"), []byte(set), member)
	s.members[string(member)] = true
	s.size++
	return s.size, true, nil
}

// removeMember removes a member from a stored set. It returns the size of the set, and whether the
// set had the member.
func (r *resolution) removeMember(set string, member []byte) (size int64, had bool, err error) {
	s, has, err := r.member(set, member)
	if err != nil || !has {
		return s.size, false, err
	}
	r.out.Append([]byte("SREM"), []byte(set), member)
	s.members[string(member)] = false
	s.size--
	return s.size, true, nil
}

// member returns a stored set, and whether the set has a member. The result is not nil, even with
// an error.
func (r *resolution) member(set string, member []byte) (*stagedSet, bool, error) {
	s := r.sets[set]
	if s == nil {
		s = &stagedSet{members: make(map[string]bool)}
		held, err := KeyType(r.ctx, r.reader, []byte(set))
		if err != nil {
			return s, false, err
		}
		// A key of another type has no members: either the unit removes the key before this
		// command, or the unit fails.
		if held == "set" {
			reply, err := r.read("SCARD", []byte(set))
			if err != nil {
				return s, false, err
			}
			s.size = reply.Int
		}
		r.sets[set] = s
	}
	has, known := s.members[string(member)]
	if known || s.size == 0 {
		return s, has, nil
	}
	reply, err := r.read("SISMEMBER", []byte(set), member)
	if err != nil {
		return s, false, err
	}
	has = reply.Int == 1
	s.members[string(member)] = has
	return s, has, nil
}

// read reads what the sink holds, without the unit.
func (r *resolution) read(command string, args ...[]byte) (resp.Reply, error) {
	return r.reader.Read(r.ctx, append([][]byte{[]byte(command)}, args...)...)
}
