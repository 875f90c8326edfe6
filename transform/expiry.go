package transform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"rowfall/binlog"
	"rowfall/transform/expression"
)

// ExpiryRule tells how the time of an expiry is found.
type ExpiryRule uint8

// The rules.
const (
	// NoExpiry means that the output has neither ttl nor expire_at.
	NoExpiry ExpiryRule = iota
	// NeverExpires means that expire_at is NULL for the row.
	NeverExpires
	// ExpiresAfter is a time to live, which every write of the row begins anew.
	ExpiresAfter
	// ExpiresAt is a time that the row determines.
	ExpiresAt
)

// Expiry is when a key expires, or a field of a hash that rows share.
type Expiry struct {
	Rule ExpiryRule
	// Milliseconds is the time to live of ExpiresAfter, and the time since 1970 of ExpiresAt.
	Milliseconds int64
}

// Time returns the time of expiry of what is written at a time, both in milliseconds since 1970.
// 0 means that it does not expire.
func (e Expiry) Time(written int64) int64 {
	switch e.Rule {
	case ExpiresAfter:
		return min(max(written, 0)+e.Milliseconds, maxExpiry)
	case ExpiresAt:
		return e.Milliseconds
	}
	return 0
}

// maxExpiry is the latest time of expiry. It is exact as the score of a sorted set.
const maxExpiry = 1<<53 - 1

// IsPast reports whether the row determines a time of expiry that has passed at now, milliseconds
// since 1970. The sink must not hold such a row. A time to live alone never is past: it begins when
// the row is written.
func (e Expiry) IsPast(now int64) bool {
	return e.Rule == ExpiresAt && e.Milliseconds <= now
}

// expirySettings are the settings of every kind whose keys or fields can expire.
var expirySettings = []Setting{
	{
		Name: "ttl", Form: Scalar,
		get: func(w *Output) string { return w.TTL.String() },
		set: func(w *Output, text string) (err error) {
			if w.TTL, err = ParseDuration(text); err == nil && w.TTL == 0 {
				err = fmt.Errorf("%q: want at least 1ms; without ttl a key does not expire", text)
			}
			return err
		},
	},
	{
		Name: "ttl_jitter", Form: Scalar,
		get: func(w *Output) string { return w.TTLJitter.String() },
		set: func(w *Output, text string) (err error) {
			w.TTLJitter, err = ParsePercent(text)
			return err
		},
	},
	textSetting("expire_at", Expression, false, func(w *Output) *string { return &w.ExpireAt }),
}

var (
	errTwoExpiries = errors.New("ttl and expire_at exclude each other; remove one of them")
	errJitterAlone = errors.New("ttl_jitter needs a ttl, which it shortens; " +
		"add ttl, or remove ttl_jitter")
)

// validateExpiry checks the settings of expiry against each other.
func (w *Output) validateExpiry() error {
	switch {
	case w.TTL > 0 && w.ExpireAt != "":
		return errTwoExpiries
	case w.TTL == 0 && w.TTLJitter > 0:
		return errJitterAlone
	}
	return nil
}

// expiry is the compiled ttl or expire_at of an output. It is immutable.
type expiry struct {
	ttl int64 // in milliseconds
	// jitter is what a ttl is shortened by, or less; 0 shortens nothing.
	jitter int64
	at     *expression.Program // expire_at; nil if there is a ttl
	// source is the text of expire_at.
	source string
	// ofField is set if the field of a shared hash expires instead of a key. fieldsKey is the key
	// of the sorted set that holds when fields expire.
	ofField   bool
	fieldsKey []byte
	// isCleared is set if the command that writes a row removes the expiry of its key.
	isCleared bool
}

var errNoFieldExpiry = errors.New("the key for times of expiry of fields is not set; " +
	"please report it")

// expiry compiles the ttl or expire_at of an output whose member is compiled.
func (c *compiler) expiry(w *Output, o *output) error {
	if w.TTL == 0 && w.ExpireAt == "" {
		return nil
	}
	x := &expiry{
		ttl: time.Duration(w.TTL).Milliseconds(), source: w.ExpireAt,
		ofField:   w.Kind == Hash && o.member != nil,
		isCleared: w.Kind.RedisType() == "string",
	}
	x.jitter = x.ttl * int64(w.TTLJitter) / 100
	if x.ofField {
		x.fieldsKey = []byte(c.fieldExpiry)
		c.plan.lacksFieldExpiry = c.fieldExpiry == ""
	}
	o.expiry = x
	if w.ExpireAt == "" {
		return nil
	}
	var err error
	if x.at, err = c.columnOrExpression(w, "expire_at", w.ExpireAt); err != nil {
		return err
	}
	if !x.at.Scores() {
		return inSetting("expire_at", fmt.Errorf("expire_at needs a time: a date, or a number of "+
			"seconds since 1970; %q is %s", w.ExpireAt, x.at.Kind()))
	}
	return nil
}

// of returns when a row expires that is written at a location.
func (x *expiry) of(s *scratch, r *binlog.Row, at location) (Expiry, error) {
	if x.at == nil {
		e := Expiry{ExpiresAfter, x.ttl}
		if x.jitter > 0 {
			e.Milliseconds -= int64(x.hash(at) % uint64(x.jitter))
		}
		return e, nil
	}
	text, null, err := x.at.AppendScore(s.expiry[:0], &s.expression, r)
	s.expiry = text
	switch {
	case errors.Is(err, expression.ErrNoScore), err == nil && null:
		return Expiry{Rule: NeverExpires}, nil
	case err != nil:
		return Expiry{}, inSetting("expire_at", err)
	}
	seconds, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return Expiry{}, inSetting("expire_at",
			fmt.Errorf("expire_at is %.40q, which is no number of seconds", text))
	}
	// Redis takes any time up to 1970 as past. 0 would mean that there is no expiry.
	ms := min(max(math.Round(seconds*1000), 1), maxExpiry)
	return Expiry{ExpiresAt, int64(ms)}, nil
}

// hash returns a number that spreads the ttl of keys or fields, the same in every run: FNV-1a.
func (x *expiry) hash(at location) uint64 {
	h := uint64(14695981039346656037)
	add := func(text []byte) {
		for _, b := range text {
			h = (h ^ uint64(b)) * 1099511628211
		}
	}
	add(at.key)
	if x.ofField {
		add(at.member)
	}
	return h
}

// append appends the commands that give a row its expiry. isWritten is not set if the row has no
// value, so that nothing was written. mayExist is that of writer.put.
func (x *expiry) append(
	u *Commands, s *scratch, ch *rowChange, at location, e Expiry, isWritten, mayExist bool,
) {
	if !isWritten {
		if x.ofField && mayExist {
			x.removeField(u, s, at)
		}
		return
	}
	ms := ch.expiryTime(e, at.member != nil && !x.ofField)
	s.number = strconv.AppendInt(s.number[:0], ms, 10)
	switch {
	case x.ofField && ms == 0:
		x.removeField(u, s, at)
	case x.ofField:
		u.startCommand(4, verbZAdd)
		u.appendBulk(x.fieldsKey)
		u.appendBulk(s.number)
		u.appendBulk(s.fieldEntry(at))
	case ms > 0:
		u.startCommand(3, verbPExpireAt)
		u.appendBulk(at.key)
		u.appendBulk(s.number)
	case (mayExist || at.member != nil) && !x.isCleared:
		u.startCommand(2, verbPersist)
		u.appendBulk(at.key)
	}
}

// removeField appends the command that removes a field from the sorted set of fields that expire.
func (x *expiry) removeField(u *Commands, s *scratch, at location) {
	u.startCommand(3, verbZRem)
	u.appendBulk(x.fieldsKey)
	u.appendBulk(s.fieldEntry(at))
}

// expiryTime returns when the row of a change expires, in milliseconds since 1970; 0 is never. A
// ttl counts from the commit, or from the present time for a row that was read.
//
// isShared is set if rows share the key that expires. Such a key gets no ttl that has ended, after
// a long interruption for example, and a change that is replayed gives it no earlier expiry than a
// later change did: rows that do not change now would leave with the key.
func (ch *rowChange) expiryTime(e Expiry, isShared bool) int64 {
	written, now := ch.Time/1000, ch.Now/1000
	if ch.Load || written == 0 || ch.Replay && isShared {
		written = max(written, now)
	}
	at := e.Time(written)
	if isShared && e.Rule == ExpiresAfter && at <= now {
		at = e.Time(now)
	}
	return at
}

// fieldEntry returns the member that stands for a field in the sorted set of fields that expire.
// It is valid until the next call.
func (s *scratch) fieldEntry(at location) []byte {
	s.entry = AppendFieldEntry(s.entry[:0], at.key, at.member)
	return s.entry
}

// AppendFieldEntry appends the member that stands for a field of a hash in the sorted set of fields
// that expire (Mapping.FieldExpiry): the length of the key as a varint, the key, and the field.
func AppendFieldEntry(dst, key, field []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	return append(append(dst, key...), field...)
}

// ParseFieldEntry returns the key and the field that a member of AppendFieldEntry stands for. They
// are parts of b.
func ParseFieldEntry(b []byte) (key, field []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, false
	}
	b = b[n:]
	return b[:size:size], b[size:], true
}

// sameKeyExpiry reports whether two outputs that share a key give it the same expiry.
func sameKeyExpiry(a, b *output) bool {
	x, y := a.keyExpiry(), b.keyExpiry()
	return x.ttl == y.ttl && x.jitter == y.jitter && x.source == y.source
}

// keyExpiry returns the expiry of the output's keys, a zero value if they do not expire.
func (o *output) keyExpiry() expiry {
	if o.expiry == nil || o.expiry.ofField {
		return expiry{}
	}
	return *o.expiry
}

// describe returns the expiry in the words of a pipeline file, for messages.
func (x expiry) describe() string {
	switch {
	case x.source != "":
		return "expire_at: " + x.source
	case x.jitter > 0:
		return fmt.Sprintf("ttl: %s, shortened by up to %s",
			Duration(x.ttl*int64(time.Millisecond)), Duration(x.jitter*int64(time.Millisecond)))
	case x.ttl > 0:
		return "ttl: " + Duration(x.ttl*int64(time.Millisecond)).String()
	}
	return "no ttl"
}

// Expires reports whether keys or fields of an output expire.
func (p *Plan) Expires() bool {
	for i := range p.outputs {
		if p.outputs[i].expiry != nil {
			return true
		}
	}
	return false
}

// ExpiresFieldsOf reports whether the rows of an output are fields that expire.
func (p *Plan) ExpiresFieldsOf(output int) bool {
	x := p.outputs[output].expiry
	return x != nil && x.ofField
}

// ExpiresFields reports whether fields of shared hashes that the plan writes expire.
func (p *Plan) ExpiresFields() bool {
	for i := range p.outputs {
		if p.ExpiresFieldsOf(i) {
			return true
		}
	}
	return false
}

// KeepsField reports whether the plan writes a field of a hash that does not expire.
func (p *Plan) KeepsField(key, field []byte) bool {
	for i := range p.outputs {
		o := &p.outputs[i]
		if o.kind != Hash || o.expiry != nil || !p.OwnsKey(i, key) {
			continue
		}
		if o.member == nil || p.OwnsMember(i, field) {
			return true
		}
	}
	return false
}

// remove appends the commands that remove a row from a location. r is the row; it is nil if only
// the location is known.
func (o *output) remove(u *Commands, s *scratch, r *binlog.Row, at location) {
	o.writer.remove(u, s, r, at)
	if o.expiry != nil && o.expiry.ofField {
		o.expiry.removeField(u, s, at)
	}
}

// put appends the commands that write the new row of a change at a location, with its expiry.
func (o *output) put(
	u *Commands, s *scratch, ch *rowChange, at location, mayExist bool,
) error {
	if o.expiry == nil {
		_, err := o.writer.put(u, s, ch, at, mayExist)
		return err
	}
	e, err := o.expiry.of(s, ch.new, at)
	if err != nil {
		return err
	}
	// Has the time of expiry passed already? Then Redis would remove the key at once. The row alone
	// leaves, since other rows may share the key.
	if ch.Now > 0 && e.IsPast(ch.Now/1000) {
		if mayExist && !ch.Load {
			o.remove(u, s, ch.new, at)
		}
		return nil
	}
	isWritten, err := o.writer.put(u, s, ch, at, mayExist)
	if err == nil {
		o.expiry.append(u, s, ch, at, e, isWritten, mayExist)
	}
	return err
}
