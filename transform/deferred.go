package transform

import (
	"errors"
	"iter"
	"slices"
)

// DeferredKind is the kind of a deferred command. It decides which commands the sink makes of it.
type DeferredKind uint8

// The kinds of deferred commands.
const (
	// DeferredStreamID is the id of an entry of the stream Key, the second word of an XADD. It is
	// the id after the stream's last one, or Number if that is greater.
	DeferredStreamID DeferredKind = iota + 1
	// DeferredPublish is the message Member to the channel Key about Row. Of several messages in a
	// unit with the same channel and row, only the last is sent.
	DeferredPublish
	// DeferredReference makes Row refer to Member of the set Key, or cease to. The member is in the
	// set while any row refers to it.
	DeferredReference
)

// Deferred is a command that needs state stored in the sink to become bytes. A plan knows only the
// row, so that it appends the deferred command with Commands.Defer. The sink turns deferred
// commands into bytes in their order, before it encodes a unit.
type Deferred struct {
	Kind DeferredKind
	// Begins is set if the row begins to refer to Key and Member, and not set if the row ceases to.
	// Either may be repeated: a row that is read again begins to refer once more.
	Begins bool
	// Key and Member are what the row refers to. Member is nil if that is the whole key.
	Key, Member []byte
	// Row identifies the row among all rows that may refer to Key and Member.
	Row []byte
	// Number is milliseconds since 1970, for DeferredStreamID.
	Number int64
}

// splice is a deferred command at its place among the bytes of Commands.
type splice struct {
	offset int // in Commands.Bytes
	kind   DeferredKind
	begins bool
	number int64
	// The texts of key, member and row begin at text in Commands.texts, one after the other.
	text, key, member, row int // member is -1 for nil
}

func (s *splice) textEnd() int { return s.text + s.key + max(s.member, 0) + s.row }

// Defer appends a deferred command. It copies the texts of d.
func (u *Commands) Defer(d *Deferred) {
	s := splice{
		offset: len(u.Bytes), kind: d.Kind, begins: d.Begins, number: d.Number,
		text: len(u.texts), key: len(d.Key), member: len(d.Member), row: len(d.Row),
	}
	if d.Member == nil {
		s.member = -1
	}
	u.texts = append(append(append(u.texts, d.Key...), d.Member...), d.Row...)
	u.deferred = append(u.deferred, s)
	u.Count++
}

// deferPart appends a deferred word of the command that is being appended. The resolver appends the
// word as a bulk string and adds 1 to Count, for the command.
func (u *Commands) deferPart(d *Deferred) {
	u.Count-- // startCommand has counted the command, and Defer counts it once more
	u.Defer(d)
}

// Deferred iterates over the deferred commands, in their order. The texts of a command are valid
// until the commands change.
func (u *Commands) Deferred() iter.Seq2[int, Deferred] {
	return func(yield func(int, Deferred) bool) {
		for i := range u.deferred {
			if !yield(i, u.at(i)) {
				return
			}
		}
	}
}

// HasDeferred reports whether there are deferred commands, which Resolve must replace before Bytes
// is complete.
func (u *Commands) HasDeferred() bool { return len(u.deferred) > 0 }

// at returns deferred command i. Its slices are parts of u.texts.
func (u *Commands) at(i int) Deferred {
	s := &u.deferred[i]
	text := u.texts[s.text:s.textEnd()]
	d := Deferred{
		Kind: s.kind, Begins: s.begins, Number: s.number, Key: text[:s.key:s.key],
	}
	text = text[s.key:]
	if s.member >= 0 {
		d.Member, text = text[:s.member:s.member], text[s.member:]
	}
	d.Row = text
	return d
}

var errNestedDeferred = errors.New("resolve deferred command: it became another deferred command")

// Resolve replaces each deferred command, in order, by the commands that resolve appends to out,
// which may be none. After an error the commands are unchanged.
func (u *Commands) Resolve(resolve func(d *Deferred, out *Commands) error) error {
	if len(u.deferred) == 0 {
		return nil
	}
	out := Commands{Bytes: u.side[:0]}
	ends := make([]int, len(u.deferred)) // in out.Bytes
	for i := range u.deferred {
		d := u.at(i)
		if err := resolve(&d, &out); err != nil {
			return err
		}
		if out.HasDeferred() {
			return errNestedDeferred
		}
		ends[i] = len(out.Bytes)
	}
	u.spread(out.Bytes, ends)
	u.Count += out.Count - len(u.deferred)
	u.deferred, u.texts = u.deferred[:0], u.texts[:0]
	if u.side = out.Bytes; cap(u.side) > maxKeptScratch {
		u.side = nil
	}
	return nil
}

// spread inserts parts of resolved at the offsets of the deferred commands; ends are the ends of
// the parts. It begins at the last part, so that it needs no second buffer of the size of Bytes.
func (u *Commands) spread(resolved []byte, ends []int) {
	from := len(u.Bytes)
	u.Bytes = slices.Grow(u.Bytes, len(resolved))[:from+len(resolved)]
	to := len(u.Bytes)
	for i := len(ends) - 1; i >= 0; i-- {
		offset := u.deferred[i].offset
		to -= from - offset
		copy(u.Bytes[to:], u.Bytes[offset:from])
		from = offset
		start := 0
		if i > 0 {
			start = ends[i-1]
		}
		to -= ends[i] - start
		copy(u.Bytes[to:], resolved[start:ends[i]])
	}
}
