package transform

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Kind is a row of the registry of output kinds: what this package, the reader of pipeline files
// and the sinks need to know of a kind. To add a kind, add its number to OutputKind, a row to kinds
// and a file with its writer.
type Kind struct {
	Number OutputKind
	// Keyword selects the kind in a pipeline file. Its value is the template of the key.
	Keyword string
	// RedisType is the type of the keys, as the command TYPE returns it; empty for a kind that
	// writes no keys.
	RedisType string
	// Settings are those that the kind has besides CommonSettings.
	Settings []Setting

	// validate checks what the settings alone do not show; nil accepts everything.
	validate func(w *Output) error
	// canBeShared is set if the outputs of the kind accept the setting shared.
	canBeShared bool
	// compile fills in the member, the writer and the columns of the content of an output.
	compile func(c *compiler, w *Output, o *output) error
}

// kinds is the registry, in the order in which messages list the kinds.
var kinds = []Kind{
	{
		Number: Hash, Keyword: "hash", RedisType: "hash",
		Settings: withExpiry(
			textSetting("field", Template, false, func(w *Output) *string { return &w.Field }),
			textSetting("value", ValueTemplate, false, valueOf),
		),
		validate: validateHash, compile: compileHash,
	},
	{
		Number: JSON, Keyword: "json", RedisType: "string",
		Settings: withExpiry(), compile: compileJSON,
	},
	{
		Number: String, Keyword: "string", RedisType: "string",
		Settings: withExpiry(textSetting("value", ValueTemplate, true, valueOf)),
		compile:  compileString,
	},
	{
		Number: Set, Keyword: "set", RedisType: "set",
		Settings: withExpiry(textSetting("member", Template, true, memberOf)),
		compile:  compileSet, canBeShared: true,
	},
	{
		Number: SortedSet, Keyword: "sorted_set", RedisType: "zset",
		Settings: withExpiry(
			textSetting("member", Template, true, memberOf),
			textSetting("score", Expression, true, func(w *Output) *string { return &w.Score }),
		),
		compile: compileSortedSet,
	},
	{
		Number: List, Keyword: "list", RedisType: "list",
		Settings: []Setting{
			textSetting("value", ValueTemplate, true, valueOf), pushSetting, maxLenSetting,
			snapshotSetting, whereSetting,
		},
		compile: compileList,
	},
	{
		Number: Stream, Keyword: "stream", RedisType: "stream",
		Settings: []Setting{maxLenSetting, snapshotSetting, whereSetting},
		compile:  compileStream,
	},
	{
		Number: Publish, Keyword: "publish",
		Settings: []Setting{
			textSetting("message", ValueTemplate, true,
				func(w *Output) *string { return &w.Message }),
			whereSetting,
		},
		compile: compilePublish,
	},
}

// withExpiry returns the settings of a kind whose keys or fields can expire.
func withExpiry(own ...Setting) []Setting { return slices.Concat(own, expirySettings) }

func valueOf(w *Output) *string  { return &w.Value }
func memberOf(w *Output) *string { return &w.Member }

// commonSettings are the settings of outputs of every kind.
var commonSettings = []Setting{
	{
		Name: "when_null", Form: Word, Words: []string{"error", "skip"},
		get: func(w *Output) string {
			if w.WhenNull == NullSkip {
				return "skip"
			}
			return ""
		},
		set: func(w *Output, text string) error {
			w.WhenNull, w.hasWhenNull = NullError, true
			if text == "skip" {
				w.WhenNull = NullSkip
			}
			return nil
		},
	},
	{
		Name: "shared", Form: Boolean,
		get: func(w *Output) string {
			if w.Shared {
				return "true"
			}
			return ""
		},
		set: func(w *Output, text string) error { w.Shared = text == "true"; return nil },
	},
}

// Form is the form in which a pipeline file has the text of a setting.
type Form uint8

// The forms.
const (
	// Template is the template of a field or member. In it, % and : of a part are escaped.
	Template Form = iota
	// ValueTemplate is the template of a value, whose parts are printed unchanged.
	ValueTemplate
	// Expression is the name of a column, or an expression over columns.
	Expression
	// Word is one of Setting.Words.
	Word
	// Number is a whole number.
	Number
	// Boolean is true or false. Get returns "true" or "".
	Boolean
	// Scalar is a number with its unit, such as 30d or 10%.
	Scalar
)

// Setting is a setting of an output besides its key.
type Setting struct {
	Name string
	Form Form
	// Words are the accepted texts of form Word; the first is the default.
	Words []string
	// Required is set if an output of the kind must have the setting.
	Required bool

	get func(*Output) string
	set func(*Output, string) error
}

// textSetting returns a setting that is stored as it is written.
func textSetting(name string, f Form, required bool, field func(*Output) *string) Setting {
	return Setting{
		Name: name, Form: f, Required: required,
		get: func(w *Output) string { return *field(w) },
		set: func(w *Output, text string) error { *field(w) = text; return nil },
	}
}

// maxLenSetting limits the length of a list or a stream.
var maxLenSetting = Setting{
	Name: "max_len", Form: Number,
	get: func(w *Output) string {
		if w.MaxLen == 0 {
			return ""
		}
		return strconv.Itoa(w.MaxLen)
	},
	set: func(w *Output, text string) error {
		n, err := strconv.Atoi(strings.ReplaceAll(text, "_", ""))
		if err != nil || n < 1 {
			return fmt.Errorf("%q: want a whole number above 0; "+
				"remove max_len to keep every entry", text)
		}
		w.MaxLen = n
		return nil
	},
}

// pushSetting is the end of a list to which values are added.
var pushSetting = Setting{
	Name: "push", Form: Word, Words: []string{"right", "left"},
	get: func(w *Output) string {
		if w.Push == PushLeft {
			return "left"
		}
		return ""
	},
	set: func(w *Output, text string) error {
		w.Push = PushRight
		if text == "left" {
			w.Push = PushLeft
		}
		return nil
	},
}

// snapshotSetting makes an initial load act on each row.
var snapshotSetting = Setting{
	Name: "snapshot", Form: Boolean,
	get: func(w *Output) string {
		if w.Snapshot {
			return "true"
		}
		return ""
	},
	set: func(w *Output, text string) error { w.Snapshot = text == "true"; return nil },
}

// whereSetting is a condition over the change, for a kind that acts once per change.
var whereSetting = textSetting("where", Expression, false,
	func(w *Output) *string { return &w.Where })

// Get returns the text of the setting in an output, "" if the output does not have it.
func (s *Setting) Get(w *Output) string { return s.get(w) }

// Set stores the text of the setting in an output. An error is a sentence about a text that the
// setting does not accept.
func (s *Setting) Set(w *Output, text string) error { return s.set(w, text) }

// Kinds returns the registry of output kinds. The caller must not change it.
func Kinds() []Kind { return kinds }

// CommonSettings returns the settings of outputs of every kind. The caller must not change them.
func CommonSettings() []Setting { return commonSettings }

// Keywords returns the keywords of all kinds, in the order of the registry.
func Keywords() []string {
	words := make([]string, len(kinds))
	for i := range kinds {
		words[i] = kinds[i].Keyword
	}
	return words
}

// row returns the kind's row of the registry, nil for an unknown kind.
func (k OutputKind) row() *Kind {
	for i := range kinds {
		if kinds[i].Number == k {
			return &kinds[i]
		}
	}
	return nil
}

// keySetting returns the name of the setting that has the output's key; empty for the output of a
// table without a write list.
func (w *Output) keySetting() string {
	if w.isDefault {
		return ""
	}
	return w.Kind.String()
}

// memberSetting returns the name of the setting that has the field or member of the output.
func (w *Output) memberSetting() string {
	if w.Kind == Hash {
		return "field"
	}
	return "member"
}

// String returns the kind as a pipeline file spells it, or "" for an unknown kind.
func (k OutputKind) String() string {
	if row := k.row(); row != nil {
		return row.Keyword
	}
	return ""
}

// RedisType returns the type of the keys that an output of the kind writes, or "" for an unknown
// kind.
func (k OutputKind) RedisType() string {
	if row := k.row(); row != nil {
		return row.RedisType
	}
	return ""
}

// allSettings returns the settings of every kind, each name once.
func allSettings() []Setting {
	var all []Setting
	for i := range kinds {
		for _, s := range kinds[i].Settings {
			if !slices.ContainsFunc(all, func(o Setting) bool { return o.Name == s.Name }) {
				all = append(all, s)
			}
		}
	}
	return all
}

// has returns the kind's setting with a name, nil if the kind has none.
func (k *Kind) has(name string) *Setting {
	for i := range k.Settings {
		if k.Settings[i].Name == name {
			return &k.Settings[i]
		}
	}
	return nil
}

// errNoKind is the fault of an output of an unknown kind.
func errNoKind() error {
	words := Keywords()
	last := len(words) - 1
	return fmt.Errorf("the output names no kind; write %s or %s",
		strings.Join(words[:last], ", "), words[last])
}

// validateSettings checks that an output has the settings that its kind requires, and no setting
// that its kind does not have. It returns every fault.
func (k *Kind) validateSettings(w *Output) error {
	var faults []error
	if w.Key == "" {
		faults = append(faults, fmt.Errorf("a %s output needs %s", k.Keyword, k.Keyword))
	}
	for _, s := range allSettings() {
		own := k.has(s.Name)
		switch given := s.Get(w) != ""; {
		case own == nil && given:
			faults = append(faults, fmt.Errorf("a %s output has no %s", k.Keyword, s.Name))
		case own != nil && own.Required && !given:
			faults = append(faults, fmt.Errorf("a %s output needs %s", k.Keyword, s.Name))
		}
	}
	if w.Shared && !k.canBeShared {
		faults = append(faults, fmt.Errorf("a %s output cannot be shared: only the members of a "+
			"set can, because rows could disagree about a value or a score", k.Keyword))
	}
	if w.Shared && (w.TTL > 0 || w.ExpireAt != "") {
		faults = append(faults, errors.New("a shared output cannot have ttl or expire_at: the "+
			"members would expire while rows still yield them; remove one of the settings"))
	}
	if k.validate != nil {
		faults = append(faults, k.validate(w))
	}
	faults = append(faults, w.validateExpiry())
	return errors.Join(faults...)
}
