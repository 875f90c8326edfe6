package keyspace

import (
	"errors"
	"fmt"

	"rowfall/replication/keyspace/arena"
	"rowfall/replication/keyspace/btree"
	"rowfall/replication/keyspace/value"
	"rowfall/replication/resp"
)

// stage is the overlay of one unit: the new state of each key that the unit changes.
type stage struct {
	active  bool // a unit is staged; Publish or Discard must follow
	flushed bool // the unit flushed all keys; changes are those after that
	changes []change

	// index finds a change by hash if there are many. It is an open-addressing table of positions
	// in changes, counted from 1.
	index []int32

	unit        uint64 // number of the unit
	edit        value.Editor
	expiryIndex btree.Tree // what Keyspace.expiryIndex becomes
	fault       error      // why the arena could not store a record
	args        [][]byte
	usedArgs    int // elements of args that refer to the unit
	scores      []float64
	members     [][]byte
	scratch     []byte
}

// change is one key of the overlay.
type change struct {
	hash uint64
	rec  record // the new record; if deleted, the last record
	// address of rec; 0 if this change staged no new record (a delete of a published key)
	at      arena.Addr
	big     *value.Big // the trees of rec
	old     record     // the published record; "" if no record was published, or after a flush
	oldAt   arena.Addr
	oldSlot int32 // where the key's shard held old when the change was staged
	deleted bool
}

// scanChanges is up to how many changes are searched without the index.
const scanChanges = 8

// maxScratch is how many bytes of scratch space may be kept from one unit to the next.
const maxScratch = 1 << 20

func (st *stage) reset() {
	st.active, st.flushed, st.fault = false, false, nil
	switch n := len(st.changes); {
	case n <= scanChanges:
	case len(st.index) > 64*n:
		st.index = nil
	default:
		clear(st.index)
	}
	clear(st.changes)
	st.changes = st.changes[:0]
	if cap(st.changes) > maxScratch/64 {
		st.changes, st.index = nil, nil
	}
	if cap(st.edit.Buf) > maxScratch {
		st.edit.Buf = nil
	}
	st.edit.Reset()
	st.args, st.members = value.ResetScratch(st.args, st.usedArgs),
		value.ResetScratch(st.members, cap(st.members))
	st.usedArgs = 0
	if cap(st.scores) > maxScratch/64 {
		st.scores = nil
	}
}

// find returns the position of a key's change, or -1.
func (st *stage) find(hash uint64, key []byte) int {
	if len(st.changes) <= scanChanges {
		for i := range st.changes {
			if st.changes[i].hash == hash && st.changes[i].rec.key() == string(key) {
				return i
			}
		}
		return -1
	}
	mask := uint64(len(st.index) - 1)
	for at := hash & mask; st.index[at] != 0; at = (at + 1) & mask {
		c := &st.changes[st.index[at]-1]
		if c.hash == hash && c.rec.key() == string(key) {
			return int(st.index[at] - 1)
		}
	}
	return -1
}

func (st *stage) add(c change) {
	st.changes = append(st.changes, c)
	n := len(st.changes)
	switch {
	case n <= scanChanges:
		return
	case 2*n > len(st.index):
		size := 4 * scanChanges
		for size < 4*n {
			size *= 2
		}
		st.index = make([]int32, size)
	case n > scanChanges+1:
		st.addToIndex(n - 1)
		return
	}
	for i := range st.changes {
		st.addToIndex(i)
	}
}

func (st *stage) addToIndex(i int) {
	mask := uint64(len(st.index) - 1)
	at := st.changes[i].hash & mask
	for st.index[at] != 0 {
		at = (at + 1) & mask
	}
	st.index[at] = int32(i + 1)
}

// discardStaged frees the records and nodes of a unit that will not be published.
func (k *Keyspace) discardStaged() {
	for i := len(k.stage.changes) - 1; i >= 0; i-- {
		if at := k.stage.changes[i].at; at != 0 {
			k.arena.FreeUnpublished(at)
		}
	}
	k.nodes.Rollback()
	k.stage.reset()
	k.rows.reset()
	// The same unit may be rejected again and again, for example while the disk is full.
	for k.arena.Advance() || k.trees.Advance() {
	}
}

// store stores the editor's buffer in the arena as a record. If the arena is full, it sets
// stage.fault, and the unit is rejected.
func (k *Keyspace) store() (record, arena.Addr) {
	e := &k.stage.edit
	if e.Big != nil {
		e.Buf[0] |= flagBig
	}
	at, b, err := k.arena.Append(e.Buf)
	if err != nil {
		k.stage.fault = err
		return record(e.Buf), 0
	}
	return record(stringOf(b)), at
}

// target is a key that a command is about to change.
type target struct {
	hash   uint64
	key    []byte
	change int    // position in the overlay, or -1
	base   record // the published record, if change is -1
	baseAt arena.Addr
	slot   int    // of base in its shard
	rec    record // the record that the command sees; "" if absent
	big    *value.Big
	k      *Keyspace
}

func (t *target) value() Value { return t.k.valueOf(t.rec, t.big) }

// target looks a key up as the unit sees it: staged or published.
func (k *Keyspace) target(key []byte) target {
	return k.targetAt(key, &keySlot{hash: hashOf(key)})
}

// targetAt is target for a key whose hash is known, and whose slot is known if at.shard is set.
func (k *Keyspace) targetAt(key []byte, at *keySlot) target {
	t := target{hash: at.hash, key: key, k: k}
	if t.change = k.stage.find(t.hash, key); t.change >= 0 {
		if c := &k.stage.changes[t.change]; !c.deleted {
			t.rec, t.big = c.rec, c.big
		}
		return t
	}
	if k.stage.flushed {
		return t
	}
	s := k.table.dir.Load().shard(t.hash)
	if at.shard == s && at.at == 0 {
		return t // no record
	}
	if at.shard == s {
		t.slot, t.baseAt, t.base = at.slot, at.at, k.table.record(at.at)
	}
	if t.base == "" || t.base.key() != string(key) {
		t.baseAt = 0
		if t.slot, t.base = k.table.locate(s, t.hash, key); t.base != "" {
			t.baseAt = s.slots.at(t.slot).at()
		}
	}
	if t.base.isBig() {
		t.big = s.bigs[t.base.key()]
	}
	t.rec = t.base
	return t
}

// put stages a new record for a target.
func (k *Keyspace) put(t *target, rec record, at arena.Addr, big *value.Big) {
	if t.change >= 0 {
		c := &k.stage.changes[t.change]
		if c.at != 0 {
			k.arena.Free(c.at)
		}
		c.rec, c.at, c.big, c.deleted = rec, at, big, false
		return
	}
	k.prepare(t)
	k.stage.add(change{
		hash: t.hash, rec: rec, at: at, big: big,
		old: t.base, oldAt: t.baseAt, oldSlot: int32(t.slot),
	})
}

// remove stages the deletion of a target, which must exist.
func (k *Keyspace) remove(t *target) {
	k.stage.edit.FreeBig(t.big)
	if t.change >= 0 {
		c := &k.stage.changes[t.change]
		c.big, c.deleted = nil, true
		return
	}
	k.prepare(t)
	k.stage.add(change{
		hash: t.hash, rec: t.base, old: t.base, oldAt: t.baseAt, oldSlot: int32(t.slot),
		deleted: true,
	})
}

// prepare does the slow part of publishing a target without the write lock.
func (k *Keyspace) prepare(t *target) {
	if k.stage.flushed {
		return
	}
	adds := 0
	if t.base == "" {
		adds = 1
	}
	k.table.reserve(t.hash, adds, k.stage.unit)
}

// edit starts a record for a target, with its new expiry.
func (k *Keyspace) edit(t *target, kind Kind, expireAt int64) *value.Editor {
	e := &k.stage.edit
	e.Discard()
	e.Buf = appendRecordHead(e.Buf[:0], kind, t.key, expireAt)
	return e
}

// save stages the editor's record for a target.
func (k *Keyspace) save(t *target) {
	rec, at := k.store()
	k.put(t, rec, at, k.stage.edit.TakeBig(t.big))
}

// Stage executes a unit: a sequence of RESP commands, some of which may be enclosed in MULTI and
// EXEC. The staged result is the same at every replay. Commands with an expiry relative to the
// current time are rejected for that reason. Nothing is visible before Publish.
//
// After an error the whole unit is rejected and nothing is staged. If a unit is staged already,
// Stage returns an error and that unit stays. Stage does not retain unit.
func (k *Keyspace) Stage(unit []byte) error {
	if k.stage.active {
		return errors.New("stage unit: another unit is staged")
	}
	k.stage.active = true
	k.beginUnit()
	if err := k.stageAll(unit); err != nil {
		k.discardStaged()
		return err
	}
	return nil
}

// beginUnit starts a unit.
func (k *Keyspace) beginUnit() { k.stage.unit = k.nodes.Begin() }

func (k *Keyspace) stageAll(unit []byte) error {
	if err := k.execute(unit); err != nil {
		return err
	}
	k.stage.edit.Discard()
	k.stageExpiryIndex()
	return k.nodes.Err()
}

// full returns why an arena could not store a record or node of the unit, or nil. Commands do not
// check this at each step: after the fault their trees become empty, and what they return means
// nothing.
func (k *Keyspace) full() error {
	if err := k.nodes.Err(); err != nil {
		return err
	}
	return k.stage.fault
}

// IsFull reports whether err means that Stage ran out of memory. Nothing is staged then, and the
// same unit may succeed later.
func IsFull(err error) bool {
	var full btree.FullError
	return errors.As(err, &full) || errors.Is(err, arena.ErrFull)
}

// stageExpiryIndex computes the expiry index that Publish installs.
func (k *Keyspace) stageExpiryIndex() {
	st := &k.stage
	if st.expiryIndex = k.expiryIndex; st.flushed {
		st.expiryIndex = k.nodes.Tree()
	}
	for i := range st.changes {
		c := &st.changes[i]
		was, is := c.old.expireAt(), c.rec.expireAt()
		if c.deleted {
			is = 0
		}
		if was == is {
			continue
		}
		if was != 0 {
			st.expiryIndex.Delete(k.expiryKey(was, c.old.key()))
		}
		if is != 0 {
			st.expiryIndex.Set(k.expiryKey(is, c.rec.key()), nil)
		}
	}
}

func (k *Keyspace) execute(unit []byte) error {
	multi := false
	for pos, number := 0, 1; pos < len(unit); number++ {
		size, commands := k.stageRows(unit[pos:])
		pos, number = pos+size, number+commands
		if pos == len(unit) {
			break
		}
		args, n, err := resp.ParseCommand(unit[pos:], k.stage.args)
		k.stage.args, k.stage.usedArgs = args, max(k.stage.usedArgs, len(args))
		if err != nil {
			return &StageError{At: pos, err: fmt.Errorf(
				"stage command %d at byte %d: %w", number, pos, err)}
		}
		pos += n
		c := writeCommand(args[0])
		switch {
		case c == nil || c.flags.has(rejected):
			err = unsupported(c)
		case !arityOK(c.arity, len(args)):
			err = errors.New(arityError(args[0]))
		case c.multi != 0:
			if opens := c.multi > 0; opens == multi {
				err = errors.New(multiErrors[opens])
			} else {
				multi = opens
			}
		case c.run != nil:
			err = c.run(k, args)
			if full := k.full(); full != nil {
				err = full
			}
		}
		if err != nil {
			fault := &StageError{At: pos - n, err: commandError(number, args, err)}
			if errors.Is(err, errWrongType) {
				fault.Key = string(args[1])
			}
			return fault
		}
	}
	if multi {
		return errors.New("stage unit: it ends between MULTI and EXEC")
	}
	return nil
}

// multiErrors are the errors of MULTI (true) and EXEC (false) in the wrong order.
var multiErrors = map[bool]string{
	true:  "ERR MULTI calls can not be nested",
	false: "ERR EXEC without MULTI",
}

// StageError identifies the command of a unit that cannot be staged. The commands before it can be
// staged.
type StageError struct {
	At int // byte offset of the command in the unit
	// Key is the command's key if the key holds a value of another type than the command needs.
	Key string
	err error
}

func (e *StageError) Error() string { return e.err.Error() }

func (e *StageError) Unwrap() error { return e.err }

func commandError(number int, args [][]byte, err error) error {
	if len(args) < 2 {
		return fmt.Errorf("stage command %d, %.32q: %w", number, args[0], err)
	}
	return fmt.Errorf("stage command %d, %.32q %.64q: %w", number, args[0], args[1], err)
}
