package keyspace

import (
	"errors"
	"maps"
	"math"
	"strconv"
	"strings"

	"rowfall/replication/keyspace/value"
	"rowfall/replication/resp"
)

// writer is the row of a command that a replication stream may contain. A nil run has no effect.
type writer struct {
	arity int // as Command.Arity
	keys  keyRange
	flags commandFlags
	multi int // 1 opens, -1 closes an atomic group
	run   func(k *Keyspace, args [][]byte) error
}

// writers are the write commands of Redis, as servers send them to their replicas.
var writers = joined(keyWriters, stringWriters, hashWriters, setWriters, sortedSetWriters,
	listWriters, streamWriters, rejectedWriters)

func joined[T any](tables ...map[string]*T) map[string]*T {
	all := map[string]*T{}
	for _, t := range tables {
		maps.Copy(all, t)
	}
	return all
}

// keyWriters are the commands for keys of any kind, and the commands without effect that servers
// send to replicas between writes.
var keyWriters = map[string]*writer{
	"DEL":       {arity: -2, keys: everyArg, run: (*Keyspace).del},
	"UNLINK":    {arity: -2, keys: everyArg, run: (*Keyspace).del},
	"PEXPIREAT": {arity: -3, run: (*Keyspace).pexpireat},
	"EXPIREAT":  {arity: -3, run: (*Keyspace).expireat},
	"PERSIST":   {arity: 2, run: (*Keyspace).persist},
	"RENAME":    {arity: 3, keys: keyRange{1, 2, 1}, run: (*Keyspace).rename},
	"RENAMENX":  {arity: 3, keys: keyRange{1, 2, 1}, run: (*Keyspace).renamenx},
	"COPY":      {arity: -3, keys: keyRange{1, 2, 1}, run: (*Keyspace).copy},
	"FLUSHALL":  {arity: -1, flags: keyless, run: (*Keyspace).flush},
	"FLUSHDB":   {arity: -1, flags: keyless, run: (*Keyspace).flush},
	"MULTI":     {arity: 1, flags: keyless | noWrite, multi: 1},
	"EXEC":      {arity: 1, flags: keyless | noWrite, multi: -1},
	"SELECT":    {arity: 2, flags: keyless | noWrite, run: (*Keyspace).selectDB},
	"PING":      {arity: -1, flags: keyless | noWrite},
	"REPLCONF":  {arity: -1, flags: keyless | noWrite},
	"PUBLISH":   {arity: 3, flags: keyless | noWrite},
	"SPUBLISH":  {arity: 3, flags: keyless | noWrite},
}

// rejectedWriters are the write commands of Redis that a unit must not contain. A client that sends
// one to a node gets READONLY, as for every write command.
var rejectedWriters = map[string]*writer{
	"BLMOVE":            {flags: rejected},
	"BLMPOP":            {flags: rejected},
	"BLPOP":             {flags: rejected},
	"BRPOP":             {flags: rejected},
	"BRPOPLPUSH":        {flags: rejected},
	"BZMPOP":            {flags: rejected},
	"BZPOPMAX":          {flags: rejected},
	"BZPOPMIN":          {flags: rejected},
	"DELEX":             {flags: rejected},
	"DELIFEQ":           {flags: rejected},
	"EXPIRE":            {flags: rejected | relative},
	"GEOADD":            {flags: rejected},
	"GEORADIUS":         {flags: rejected},
	"GEORADIUSBYMEMBER": {flags: rejected},
	"GEOSEARCHSTORE":    {flags: rejected},
	"GETDEL":            {flags: rejected},
	"GETEX":             {flags: rejected},
	"GETSET":            {flags: rejected},
	"HEXPIRE":           {flags: rejected},
	"HEXPIREAT":         {flags: rejected},
	"HGETEX":            {flags: rejected},
	"HINCRBYFLOAT":      {flags: rejected},
	"HPERSIST":          {flags: rejected},
	"HPEXPIRE":          {flags: rejected},
	"HPEXPIREAT":        {flags: rejected},
	"INCRBYFLOAT":       {flags: rejected},
	"LMPOP":             {flags: rejected},
	"MIGRATE":           {flags: rejected},
	"MOVE":              {flags: rejected},
	"PEXPIRE":           {flags: rejected | relative},
	"PFADD":             {flags: rejected},
	"PFMERGE":           {flags: rejected},
	"PSETEX":            {flags: rejected | relative},
	"RESTORE":           {flags: rejected},
	"RESTORE-ASKING":    {flags: rejected},
	"SETEX":             {flags: rejected | relative},
	"SORT":              {flags: rejected},
	"SPOP":              {flags: rejected},
	"SWAPDB":            {flags: rejected},
	"XACK":              {flags: rejected},
	"XACKDEL":           {flags: rejected},
	"XAUTOCLAIM":        {flags: rejected},
	"XCLAIM":            {flags: rejected},
	"XDELEX":            {flags: rejected},
	"XGROUP":            {flags: rejected},
	"XREADGROUP":        {flags: rejected},
	"ZMPOP":             {flags: rejected},
}

// unsupported returns why a command cannot be staged. w is nil if the command is unknown.
func unsupported(w *writer) error {
	if w != nil && w.flags.has(relative) {
		return errRelative
	}
	return errors.New("ERR unknown or unsupported write command")
}

// The writers of the commands that pipelines send most.
var (
	hsetWriter  = hashWriters["HSET"]
	hdelWriter  = hashWriters["HDEL"]
	delWriter   = keyWriters["DEL"]
	multiWriter = keyWriters["MULTI"]
	execWriter  = keyWriters["EXEC"]
)

// writeCommand returns the writer of a command, in any case; nil if the command is unknown.
func writeCommand(name []byte) *writer {
	switch string(name) { // faster than the map
	case "HSET":
		return hsetWriter
	case "DEL":
		return delWriter
	case "HDEL":
		return hdelWriter
	case "MULTI":
		return multiWriter
	case "EXEC":
		return execWriter
	}
	if w := writers[string(name)]; w != nil {
		return w
	}
	var room [resp.MaxName]byte
	return writers[string(resp.Upper(&room, name))]
}

func arityOK(arity, n int) bool { return n == arity || arity < 0 && n >= -arity }

func arityError(name []byte) string {
	return "ERR wrong number of arguments for '" + strings.ToLower(
		string(name[:min(len(name), 128)]),
	) + "' command"
}

// Redis's own error texts.
const (
	wrongType   = "WRONGTYPE Operation against a key holding the wrong kind of value"
	syntaxError = "ERR syntax error"
	notInteger  = "ERR value is not an integer or out of range"
	notFloat    = "ERR value is not a valid float"
)

// redisError is an error in Redis's own words, including its full stop.
type redisError string

func (r redisError) Error() string { return string(r) }

var (
	errWrongType  = errors.New(wrongType)
	errSyntax     = errors.New(syntaxError)
	errNotInteger = errors.New(notInteger)
	errNotFloat   = errors.New(notFloat)
	errNoKey      = errors.New("ERR no such key")
)

// targetOfKind looks up a key that must be absent or of one kind.
func (k *Keyspace) targetOfKind(key []byte, kind Kind) (target, error) {
	t := k.target(key)
	if t.rec != "" && t.rec.kind() != kind {
		return t, errWrongType
	}
	return t, nil
}

func (k *Keyspace) hset(args [][]byte) error {
	if len(args)%2 != 0 {
		return errors.New(arityError(args[0]))
	}
	t, err := k.targetOfKind(args[1], Hash)
	if err != nil {
		return err
	}
	e := k.edit(&t, Hash, t.rec.expireAt())
	e.SetFields(t.value(), args[2:])
	if e.Row != nil && 2*len(e.Row.Names()) == len(args)-2 {
		k.rows.learn(e.Row)
	}
	k.save(&t)
	return nil
}

func (k *Keyspace) hdel(args [][]byte) error {
	t, err := k.targetOfKind(args[1], Hash)
	if err != nil || t.rec == "" {
		return err
	}
	e := k.edit(&t, Hash, t.rec.expireAt())
	k.saveShrunk(&t, e.DeleteFields(t.value(), args[2:]))
	return nil
}

// saveShrunk stages a collection after removals. An empty collection deletes its key.
func (k *Keyspace) saveShrunk(t *target, removed int) {
	switch {
	case removed == 0:
	case k.stage.edit.Len() == 0:
		t.big = nil // all its nodes were freed one by one
		k.remove(t)
	default:
		k.save(t)
	}
}

func (k *Keyspace) sadd(args [][]byte) error {
	t, err := k.targetOfKind(args[1], Set)
	if err != nil {
		return err
	}
	if k.edit(&t, Set, t.rec.expireAt()).AddMembers(t.value(), args[2:]) > 0 {
		k.save(&t)
	}
	return nil
}

func (k *Keyspace) srem(args [][]byte) error { return k.removeMembers(args, Set) }

func (k *Keyspace) zrem(args [][]byte) error { return k.removeMembers(args, SortedSet) }

func (k *Keyspace) removeMembers(args [][]byte, kind Kind) error {
	t, err := k.targetOfKind(args[1], kind)
	if err != nil || t.rec == "" {
		return err
	}
	e := k.edit(&t, kind, t.rec.expireAt())
	k.saveShrunk(&t, e.DeleteMembers(t.value(), args[2:]))
	return nil
}

func (k *Keyspace) del(args [][]byte) error {
	for _, key := range args[1:] {
		if t := k.target(key); t.rec != "" {
			k.remove(&t)
		}
	}
	return nil
}

func (k *Keyspace) pexpireat(args [][]byte) error { return k.expire(args, 1) }

func (k *Keyspace) expireat(args [][]byte) error { return k.expire(args, 1000) }

// expire sets an absolute expiry. A time in the past is stored too, and the next expiry sweep
// deletes the key. Replicas that get the same bytes do the same.
func (k *Keyspace) expire(args [][]byte, unit int64) error {
	n, ok := ParseInt(args[2])
	if !ok {
		return errNotInteger
	}
	if n > math.MaxInt64/unit || n < math.MinInt64/unit {
		return errors.New(
			"ERR invalid expire time in '" + strings.ToLower(string(args[0])) + "' command",
		)
	}
	// 0 would mean no expiry; any time up to 1970 has passed, so 1 ms stands for it.
	at := max(n*unit, 1)
	t := k.target(args[1])
	if ok, err := mayExpire(args[3:], t.rec.expireAt(), at); !ok {
		return err
	}
	k.changeExpiry(&t, at)
	return nil
}

// mayExpire evaluates the conditions of PEXPIREAT. was is the current expiry; 0 (no expiry) counts
// as later than any time.
func mayExpire(words [][]byte, was, at int64) (ok bool, err error) {
	ok = true
	for _, word := range words {
		switch strings.ToUpper(string(word[:min(len(word), 8)])) {
		case "NX":
			ok = ok && was == 0
		case "XX":
			ok = ok && was != 0
		case "GT":
			ok = ok && was != 0 && at > was
		case "LT":
			ok = ok && (was == 0 || at < was)
		default:
			return false, errors.New("ERR Unsupported option " + string(word[:min(len(word), 128)]))
		}
	}
	return ok, nil
}

func (k *Keyspace) persist(args [][]byte) error {
	t := k.target(args[1])
	k.changeExpiry(&t, 0)
	return nil
}

// changeExpiry stages a key with another expiry, if the key exists.
func (k *Keyspace) changeExpiry(t *target, expireAt int64) {
	if t.rec != "" && t.rec.expireAt() != expireAt {
		k.moveTo(t, t.rec, t.big, expireAt)
	}
}

// moveTo stages the value of a record for a target. The source record must be deleted or replaced,
// because trees have only one owner (see copy).
func (k *Keyspace) moveTo(t *target, rec record, big *value.Big, expireAt int64) {
	e := k.edit(t, rec.kind(), expireAt)
	e.Buf = append(e.Buf, rec.packed()...)
	e.ReuseBig(big)
	k.save(t)
}

func (k *Keyspace) rename(args [][]byte) error {
	from := k.target(args[1])
	if from.rec == "" {
		return errNoKey
	}
	if string(args[1]) == string(args[2]) {
		return nil
	}
	to := k.target(args[2])
	k.moveTo(&to, from.rec, from.big, from.rec.expireAt())
	from.big = nil // it has moved
	k.remove(&from)
	return nil
}

func (k *Keyspace) renamenx(args [][]byte) error {
	if from := k.target(args[1]); from.rec == "" {
		return errNoKey
	}
	if to := k.target(args[2]); to.rec != "" {
		return nil
	}
	return k.rename(args)
}

// copy stages the value and expiry of one key under another key.
func (k *Keyspace) copy(args [][]byte) error {
	replace := false
	for i := 3; i < len(args); i++ {
		switch word := strings.ToUpper(string(args[i][:min(len(args[i]), 8)])); {
		case word == "REPLACE":
			replace = true
		case word == "DB" && i+1 < len(args):
			i++
			if n, ok := ParseInt(args[i]); !ok || n != 0 {
				return errors.New("ERR only database 0 is supported")
			}
		default:
			return errSyntax
		}
	}
	if string(args[1]) == string(args[2]) {
		return errors.New("ERR source and destination objects are the same")
	}
	from, to := k.target(args[1]), k.target(args[2])
	if from.rec == "" || to.rec != "" && !replace {
		return nil
	}
	e := k.edit(&to, from.rec.kind(), from.rec.expireAt())
	e.Buf = append(e.Buf, from.rec.packed()...)
	e.CloneBig(from.big)
	k.save(&to)
	return nil
}

// flush discards all staged changes, and hides all published keys from the rest of the unit.
func (k *Keyspace) flush(args [][]byte) error {
	if len(args) > 2 {
		return errSyntax
	}
	if len(args) == 2 {
		if mode := strings.ToUpper(string(args[1][:min(len(args[1]), 8)])); mode != "ASYNC" &&
			mode != "SYNC" {
			return errSyntax
		}
	}
	k.discardStaged()
	k.beginUnit()
	k.stage.active, k.stage.flushed = true, true
	return nil
}

func (k *Keyspace) selectDB(args [][]byte) error {
	if n, ok := ParseInt(args[1]); !ok || n != 0 {
		return errors.New("ERR only database 0 is supported")
	}
	return nil
}

// ParseInt parses the canonical decimal text of a 64-bit integer: the text that printing the number
// gives. Redis accepts no other text as an integer.
func ParseInt(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	neg := b[0] == '-'
	digits := b
	if neg {
		digits = b[1:]
	}
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' && len(b) > 1 {
		return 0, false
	}
	var n uint64
	for _, c := range digits {
		if c -= '0'; c > 9 {
			return 0, false
		}
		n = n*10 + uint64(c) // 19 digits always fit
	}
	switch {
	case neg && n <= 1<<63:
		return -int64(n), true
	case !neg && n < 1<<63:
		return int64(n), true
	}
	return 0, false
}

// parseScore parses a score: any number that strtod accepts, except NaN.
func parseScore(b []byte) (float64, bool) {
	if len(b) > 0 && len(b) <= 15 {
		n := int64(0)
		i := 0
		for ; i < len(b) && b[i]-'0' <= 9; i++ {
			n = n*10 + int64(b[i]-'0')
		}
		if i == len(b) {
			return float64(n), true
		}
	}
	for _, c := range b {
		if c == '_' {
			return 0, false // Go accepts it inside hexadecimal numbers
		}
	}
	f, err := strconv.ParseFloat(stringOf(b), 64)
	if err != nil && hexadecimal(b) {
		f, err = strconv.ParseFloat(string(b)+"p0", 64) // Go requires the exponent
	}
	if err != nil || math.IsNaN(f) {
		return 0, false
	}
	return f, true
}
