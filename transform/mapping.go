package transform

import (
	"strings"

	"rowfall/replication/resp"
	"rowfall/transform/columns"
)

// MaxValueBytes is the largest length of a value, in bytes: the limit of Redis.
const MaxValueBytes = resp.MaxBulk

// Mapping is the tables section of a pipeline file.
//
// pipelines stores the JSON form of the mapping beside the data, to find out later whether an
// edited mapping still fits the data. Therefore the names of fields in this file are part of a
// stored format: a rename makes all stored data look like data of another mapping. A field whose
// zero value means "as before" may be added.
type Mapping struct {
	Tables []TableRule
	// FieldExpiry is the key of the sorted set in the sink that holds when fields of shared hashes
	// expire. Plan.Append needs it if the mapping has outputs with both field and ttl or expire_at.
	// The key belongs to the pipeline, and the set is a part of the pipeline's state.
	FieldExpiry string `json:"-"`
	// Salt is the key of the masks sha256. It is never stored.
	Salt columns.Salt `json:"-"`
	// SaltDigest stands for Salt in the stored mapping, and is empty elsewhere. It is also empty if
	// no column has a mask sha256.
	SaltDigest string
}

// TableRule is one entry of the tables section.
type TableRule struct {
	// Pattern is database.table, in the syntax of binlog.ParseTablePattern: in either part, *
	// matches any number of characters and ? matches one. Text in backquotes is literal.
	Pattern string
	// Path and Line are the YAML path and the line of the entry: tables."shop.*".
	Path string
	Line int
	// Lines holds the lines of keys within the entry by their path in the entry, such as where or
	// columns.add.name. A key without a line is reported at Line.
	Lines map[string]int `json:"-"`

	// Ignore excludes the tables that the pattern matches.
	Ignore bool
	// KeyColumns names the columns that identify a row; empty means Table.Key.
	KeyColumns []string
	// OnCascade is the reaction to changes that a foreign key makes to rows of the table and that
	// the server does not log. It does not affect the commands of a row, so it is not part of the
	// stored mapping.
	OnCascade OnCascade `json:"-"`
	// OnTruncate, OnDrop, OnAlter and OnError say what happens to the sink's data of the table when
	// rows go or change without row events, and when a change cannot be applied. They do not change
	// the commands of a row either.
	OnTruncate OnRemoval `json:"-"`
	OnDrop     OnRemoval `json:"-"`
	OnAlter    OnAlter   `json:"-"`
	OnError    OnError   `json:"-"`
	// Where is the expression that a row must satisfy to be written; empty accepts every row.
	Where string
	// WhereSeesMasks is set in the stored mapping if Where may read a masked column, and not set
	// elsewhere. Earlier versions evaluated such a condition on the values before the mask.
	WhereSeesMasks bool
	Columns        Columns
	// Write holds the outputs; empty means one hash at {table}:{pk...}.
	Write []Output
}

// line returns the line of a part of the entry. If it is unknown, line returns that of the closest
// part that contains it.
func (r *TableRule) line(part string) int {
	for part != "" {
		if line, ok := r.Lines[part]; ok {
			return line
		}
		part = part[:max(0, strings.LastIndexByte(part, '.'))]
	}
	return r.Line
}

// Columns decides which columns are written, and under which names.
type Columns struct {
	// Include names the columns that are written; empty means all visible columns.
	Include []string
	// Exclude names the columns that must not reach the sink, in any form.
	Exclude []string
	// Rename maps names of columns to names of fields.
	Rename map[string]string
	// Mask maps names of columns to masks, in the form of columns.ParseMask.
	Mask map[string]string
	// MaxBytes limits the bytes of columns' values as they leave. TooLong is what happens to longer
	// values, and to values of any column that are longer than MaxValueBytes. The latter put the
	// table into quarantine if TooLong is TruncateTooLong or OmitTooLong.
	MaxBytes map[string]int
	TooLong  OnTooLong
	// Add holds the computed fields, in the order in which they are written.
	Add []Addition
}

// OnTooLong is what happens to a value that is longer than Columns.MaxBytes allows.
type OnTooLong uint8

// The reactions. Those that leave the row out come last, since they do not change what other rows
// become.
const (
	// QuarantineTooLong puts the table into quarantine.
	QuarantineTooLong OnTooLong = iota
	// TruncateTooLong cuts the value.
	TruncateTooLong
	// OmitTooLong writes NULL instead of the value.
	OmitTooLong
	// DeadLetterTooLong keeps a dead letter instead of applying the change.
	DeadLetterTooLong
	// StopTooLong stops the pipeline.
	StopTooLong
)

// Stored returns the reaction as the stored mapping has it: all reactions that leave the row out
// build the same data.
func (o OnTooLong) Stored() OnTooLong {
	if o > OmitTooLong {
		return QuarantineTooLong
	}
	return o
}

// onError returns the reaction as one to a row that cannot be applied.
func (o OnTooLong) onError() OnError {
	switch o {
	case DeadLetterTooLong:
		return DeadLetter
	case StopTooLong:
		return StopAtError
	}
	return Quarantine
}

// Addition is a computed field: its name and the expression of its value.
type Addition struct {
	Name string
	Expr string
}

// OutputKind is the type of value that an output writes.
type OutputKind uint8

// The kinds of output. Their numbers are part of the stored mapping, so new kinds are added at the
// end.
const (
	Hash OutputKind = iota + 1
	JSON
	String
	Set
	SortedSet
	List
	Stream
	Publish
)

// Push is the end of a list to which values are added.
type Push uint8

// The ends. The zero value is the default.
const (
	PushRight Push = iota
	PushLeft
)

// WhenNull is the policy for a NULL in a key, field, member or score.
type WhenNull uint8

// The policies. The zero value is the default.
const (
	// NullError rejects the row with a *RowError.
	NullError WhenNull = iota
	// NullSkip skips the row in this output.
	NullSkip
)

// Output is one entry of a table's write list.
type Output struct {
	Kind OutputKind
	// Key is the key's template; required. For Publish it is the template of the channel.
	Key string
	// Field is the template of a field in a hash that rows share; empty gives each row a hash.
	Field string
	// Value is the template of the value of a string, of a value in a list, or of a field in a
	// shared hash. For the latter, empty means the row as JSON.
	Value string
	// Member is the template of a set's or sorted set's member.
	Member string
	// Score is the score of a sorted set's member: the name of a column, or an expression.
	Score    string
	WhenNull WhenNull
	// Message is the template of the message of Publish.
	Message string
	// MaxLen is how many entries a list or a stream keeps; 0 keeps all.
	MaxLen int
	// Push is the end of a list to which values are added.
	Push Push
	// Snapshot makes a list or a stream act on each row that the initial load of a table reads.
	Snapshot bool
	// Where is a condition of a list, a stream or Publish: changes that it rejects have no effect.
	// It may use old.column. Empty accepts every change.
	Where string
	// hasWhenNull is set if the pipeline file has the setting, even with its default.
	hasWhenNull bool
	// isDefault is set for the output of a table without a write list.
	isDefault bool
	// TTL is the time to live of the key, or of Field; 0 means that it does not expire. TTLJitter
	// is the part by which it is shortened at most. The names in JSON are those that messages
	// about differences of mappings need.
	TTL       Duration `json:"Ttl"`
	TTLJitter Percent  `json:"TtlJitter"`
	// ExpireAt is when the key, or Field, expires: the name of a column, or an expression.
	ExpireAt string
	// Shared means that several rows may yield one member of a set. The member is in the set while
	// any of them does.
	Shared bool
	// Path and Line are the YAML path and the line of the output: tables."shop.users".write[1].
	Path string
	Line int
}

// OnRemoval is what happens to the keys of a table that was truncated, dropped or renamed.
type OnRemoval uint8

const (
	// RemoveKeys removes the keys of the table's rows.
	RemoveKeys OnRemoval = iota
	// KeepKeys leaves them.
	KeepKeys
	// StopAtRemoval stops the pipeline.
	StopAtRemoval
)

// OnAlter is what happens after an ALTER that changes values or rows without row events.
type OnAlter uint8

const (
	// Reconcile reads the table again while its old keys serve.
	Reconcile OnAlter = iota
	// IgnoreAlter leaves the keys as they are.
	IgnoreAlter
	// QuarantineAtAlter puts the table into quarantine.
	QuarantineAtAlter
	// StopAtAlter stops the pipeline.
	StopAtAlter
)

// OnCascade is the reaction to changes of rows that a foreign key makes and the server does not
// log.
type OnCascade uint8

const (
	// StopAtCascade stops the pipeline if such a foreign key exists.
	StopAtCascade OnCascade = iota
	// ReconcileCascades reads the table again after a change of a table that it refers to.
	ReconcileCascades
	// IgnoreCascades does nothing: the sink misses the changes.
	IgnoreCascades
)

// OnError is what happens if a change of the table cannot be applied.
type OnError uint8

const (
	// Quarantine stops to apply changes of the table.
	Quarantine OnError = iota
	// StopAtError stops the pipeline.
	StopAtError
	// DeadLetter keeps a dead letter of the row, whose keys stay as they are.
	DeadLetter
)
