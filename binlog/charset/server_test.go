package charset_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"

	"rowfall/binlog/charset"
	"rowfall/binlog/charset/measure"
	"rowfall/binlog/charset/trie"
	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
)

// isLong reports whether the tests that take minutes run, too.
func isLong() bool { return os.Getenv("ROWFALL_LONG") != "" }

// TestServers compares the decoders of all character sets with what real servers print for every
// sequence of one and two bytes, alone and before another character, and for random longer ones.
func TestServers(t *testing.T) {
	for _, kind := range []servers.Kind{servers.MySQL, servers.MariaDB} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s, err := measure.Start(t.Context(), servertest.Need(t, kind), kind)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			compareAll(t, s, kind)
		})
	}
}

func compareAll(t *testing.T, s *measure.Server, kind servers.Kind) {
	ctx := t.Context()
	all, err := s.Charsets(ctx)
	if err != nil || len(all) < 40 {
		t.Fatalf("%d character sets, %v", len(all), err)
	}
	values := map[string][][]byte{
		"byte":   measure.Sequences("", 1, ""),
		"random": randomTexts(rand.New(rand.NewPCG(1, 2)), 10000),
	}
	if isLong() {
		values["pair"] = measure.Sequences("", 2, "")
		values["random"] = randomTexts(rand.New(rand.NewPCG(3, 4)), 1e6)
		for n := range trie.FourCount {
			values["four"] = append(values["four"], trie.FourBytes(n))
		}
	}
	// A value with all pairs of a first byte is as good as 256 values, and faster.
	for _, separator := range []string{"\n", "\n\x00\x00\x00\n"} {
		name := "joined" + string('a'+rune(len(separator)))
		for first := range 256 {
			pairs := measure.Sequences(string([]byte{byte(first)}), 1, separator)
			values[name] = append(values[name], bytes.Join(pairs, nil))
		}
	}
	for _, lead := range []string{"\x8f", "\xe0", "\xe3", "\xed", "\xef"} {
		for second := range 256 {
			triples := measure.Sequences(lead+string([]byte{byte(second)}), 1, "\n")
			values["triples"] = append(values["triples"], bytes.Join(triples, nil))
		}
	}
	for name, list := range values {
		if err := s.Store(ctx, name, list); err != nil {
			t.Fatal(err)
		}
	}
	for _, cs := range all {
		if cs.Name != "binary" {
			for stored, list := range values {
				if stored == "four" && cs.Width < 4 || stored == "triples" && cs.Width == 1 ||
					stored == "pair" && cs.Width == 1 {
					continue
				}
				compareOne(t, s, kind, cs, stored, list)
			}
		}
	}
}

// randomTexts returns n texts of up to 12 bytes with the bytes that begin or continue characters.
func randomTexts(r *rand.Rand, n int) [][]byte {
	texts := make([][]byte, n)
	for i := range texts {
		text := make([]byte, 1+r.IntN(12))
		for k := range text {
			text[k] = []byte{
				byte(r.Uint32()), byte(r.Uint32()) | 0x80, '0' + byte(r.IntN(10)), 0,
				0x8f, 0xa1, 0x81, 0xd8 + byte(r.IntN(8)), 0xe0 + byte(r.IntN(16)), 0x10, 'a',
			}[r.IntN(11)]
		}
		texts[i] = text
	}
	return texts
}

// compareOne compares what the server prints for stored values with what a decoder does.
func compareOne(
	t *testing.T, s *measure.Server, kind servers.Kind, cs measure.Charset,
	stored string, values [][]byte,
) {
	t.Helper()
	of := charset.MySQL
	if kind == servers.MariaDB {
		of = charset.MariaDB
	}
	d, ok := charset.Find(cs.Name, of)
	if !ok || charset.Width(cs.Name) != cs.Width {
		t.Errorf("%s is not known", cs.Name)
		return
	}
	var converted []byte
	faults := 0
	err := s.Print(t.Context(), cs.Name, stored, func(n int, printed []byte) error {
		if d == nil {
			converted = append(converted[:0], values[n]...)
		} else {
			converted = d.Append(converted[:0], values[n])
		}
		if !bytes.Equal(converted, printed) && faults < 5 {
			faults++
			at := 0
			for at < min(len(converted), len(printed)) && converted[at] == printed[at] {
				at++
			}
			from := max(at-6, 0)
			t.Errorf("%s, value %d of %s, %.48x: converted to %.40q, the server prints %.40q",
				cs.Name, n, stored, values[n], converted[from:], printed[from:])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
