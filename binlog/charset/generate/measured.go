package main

import (
	"context"
	"fmt"
	"unicode/utf8"

	"rowfall/binlog/charset/measure"
	"rowfall/binlog/charset/trie"
	"rowfall/internal/servers"
)

// end follows a sequence, to show how many bytes a question mark before it stands for.
const end = "\n"

// lead3 is the first byte of the characters of three bytes in ujis and eucjpms.
const lead3 = "\x8f"

// sequences are the values that the server prints.
var (
	short = append(append(measure.Sequences("", 1, ""), measure.Sequences("", 2, "")...),
		append(measure.Sequences("", 1, end), measure.Sequences("", 2, end)...)...)
	japanese = append(measure.Sequences(lead3, 2, ""), measure.Sequences(lead3, 2, end)...)
)

func store(ctx context.Context, s *measure.Server) error {
	err := s.Store(ctx, "short", short)
	if err == nil {
		err = s.Store(ctx, "japanese", japanese)
	}
	if err != nil {
		return err
	}
	four := make([][]byte, trie.FourCount)
	for n := range four {
		four[n] = trie.FourBytes(n)
	}
	return s.Store(ctx, "four", four)
}

// measured is what a server prints for byte sequences in one character set.
type measured struct {
	out     map[string]string
	four    []trie.Run
	charset measure.Charset
	kind    servers.Kind
}

func (m *measured) read(ctx context.Context, s *measure.Server) error {
	keep := func(values [][]byte) func(int, []byte) error {
		return func(n int, printed []byte) error {
			m.out[string(values[n])] = string(printed)
			return nil
		}
	}
	err := s.Print(ctx, m.charset.Name, "short", keep(short))
	if err == nil && m.charset.Width == 3 {
		err = s.Print(ctx, m.charset.Name, "japanese", keep(japanese))
	}
	if err == nil && m.charset.Width == 4 {
		err = s.Print(ctx, m.charset.Name, "four", m.addFour)
	}
	return err
}

// addFour adds the character of four bytes with number n.
func (m *measured) addFour(n int, printed []byte) error {
	r, size := utf8.DecodeRune(printed)
	if size != len(printed) {
		return fmt.Errorf("%x is printed as %q", trie.FourBytes(n), printed)
	}
	if k := len(m.four) - 1; k >= 0 {
		last := m.four[k]
		if last.Rune == '?' && r == '?' || last.Rune != '?' && r-last.Rune == rune(n-last.First) {
			return nil
		}
	}
	m.four = append(m.four, trie.Run{First: n, Rune: r})
	return nil
}

// table builds the trie.
func (m *measured) table() (*trie.Table, error) {
	t := &trie.Table{Four: m.four}
	_, err := m.addPage(t, "")
	return t, err
}

// addPage adds the page of the characters that begin with prefix, and returns its code. If no
// character begins with prefix, the code is Illegal.
func (m *measured) addPage(t *trie.Table, prefix string) (code uint16, err error) {
	index := len(t.Pages)
	p := new(trie.Page)
	t.Pages = append(t.Pages, p)
	isEmpty := true
	for b := range p {
		if p[b], err = m.entry(t, prefix+string([]byte{byte(b)})); err != nil {
			return 0, err
		}
		isEmpty = isEmpty && p[b] == trie.Illegal
	}
	if isEmpty && m.kind == servers.MariaDB {
		t.Pages = t.Pages[:index]
		return trie.Illegal, nil
	}
	return trie.Node + uint16(index), nil
}

// entry returns the code for the bytes s.
func (m *measured) entry(t *trie.Table, s string) (uint16, error) {
	alone, found := m.out[s]
	followed := m.out[s+end]
	if !found {
		return 0, fmt.Errorf("% x was not measured", s)
	}
	r, size := utf8.DecodeRuneInString(alone)
	isOne := size > 0 && size == len(alone) && followed == alone+end
	isIllegal := alone == "?"+m.out[s[1:]] && followed == "?"+m.out[s[1:]+end]
	switch {
	case isOne && r != '?', s == "?", isOne && len(s) == 2, isOne && !isIllegal:
		if r > 0xffff || r >= 0xd800 && r < 0xe000 {
			return 0, fmt.Errorf("% x is printed as %q, which does not fit", s, alone)
		}
		return uint16(r), nil
	case len(s) == 2 && m.charset.Width == 4 && '0' <= s[1] && s[1] <= '9' && alone == "":
		return trie.Four, nil
	case len(s) < min(m.charset.Width, 3) && (len(s) == 1 || s[:1] == lead3) &&
		(alone == "" || m.kind == servers.MariaDB):
		return m.addPage(t, s)
	case isIllegal:
		return trie.Illegal, nil
	}
	return 0, fmt.Errorf("% x is printed as %q, and before a line feed as %q", s, alone, followed)
}
