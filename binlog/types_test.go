package binlog

import (
	"strings"
	"testing"
)

// Each column type is one complete row: a type that is added without one of its parts
// would fail at run time, in whichever package reads that part.
func TestColumnTypes(t *testing.T) {
	seen := make(map[string]Type)
	for typ := TypeInvalid + 1; typ < typeCount; typ++ {
		r := typ.row()
		if len(r.names) == 0 || r.args == 0 || r.charset == 0 || len(r.wires) == 0 || r.json == 0 ||
			r.key == 0 ||
			r.value == 0 ||
			r.extent == 0 ||
			r.typicalLength == 0 {
			t.Errorf("type %d: a part of its row is missing: %+v", typ, *r)
		}
		for _, name := range r.names {
			if other, taken := seen[name]; taken || name != strings.ToLower(name) {
				t.Errorf("type %d: the name %q is not lower case or is type %d's, too", typ, name,
					other)
			}
			seen[name] = typ
			if TypeByName(name) != typ {
				t.Errorf("TypeByName(%q) is %d, want %d", name, TypeByName(name), typ)
			}
		}
		for _, w := range r.wires {
			if wireTypes[w.kind].name == "" {
				t.Errorf("type %d: wire type %d has no row", typ, w.kind)
			}
			if w.size == 0 && r.fit == nil {
				t.Errorf("type %d: nothing says how many bytes a value of wire type %d has", typ,
					w.kind)
			}
		}
		if (r.alphabet.all == "") != (r.alphabet.tail == "") {
			t.Errorf("type %d: one half of its alphabet is missing", typ)
		}
		for _, c := range []byte(r.alphabet.tail) {
			if strings.IndexByte(r.alphabet.all, c) < 0 {
				t.Errorf("type %d: %q can stand behind the first byte but not anywhere", typ, c)
			}
		}
	}
	if TypeInvalid.IsInteger() || TypeInvalid.FixedSize() != 0 {
		t.Error("an unsupported type has values of a fixed size")
	}
	if TypeByName("money") != TypeInvalid || Type(200).row() != &columnTypes[TypeInvalid] {
		t.Error("a type without a row is not invalid")
	}
}

// Names and metadata of each wire type are in one row.
func TestWireTypes(t *testing.T) {
	for kind := range wireTypes {
		r := &wireTypes[kind]
		if r.name == "" && *r != (wireRow{}) {
			t.Errorf("wire type %d has facts but no name", kind)
		}
		w, rest, err := parseWire(byte(kind), []byte{1, 0, 9})
		if err != nil || len(rest) != 3-r.meta.bytes() {
			t.Errorf("parseWire(%d) leaves %v, %v", kind, rest, err)
		}
		if w.String() == "" {
			t.Errorf("wire type %d has no text", kind)
		}
	}
}
