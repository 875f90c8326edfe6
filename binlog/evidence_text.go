package binlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// The text form of an Evidence is one word for each field that is not zero, and a checksum:
//
//	gtid=UUID:5 time=1700000000000000 length=310 start=123 file_time=1700000000 here sum=1f2e3d4c
//
// The word "here" stands for server, file and end: they are those of the position with which the
// text is stored. In values, bytes other than visible ASCII, and '%', are written as %XX.

// evidenceChecksum is the table of the checksum, CRC-32C.
var evidenceChecksum = crc32.MakeTable(crc32.Castagnoli)

// AppendText appends the text form, which ParseEvidence reads. server and at are the position with
// which the text is stored. It allocates only to grow dst.
func (e *Evidence) AppendText(dst []byte, server string, at *Position) []byte {
	begin := len(dst)
	if !e.GTID.IsZero() {
		dst = append(e.GTID.AppendText(append(dst, "gtid="...)), ' ')
	}
	if !e.Previous.IsZero() {
		dst = append(e.Previous.AppendText(append(dst, "previous="...)), ' ')
	}
	if e.Time != 0 {
		dst = append(strconv.AppendInt(append(dst, "time="...), e.Time, 10), ' ')
	}
	dst = appendNumberWord(dst, "length=", e.Length)
	dst = appendNumberWord(dst, "start=", e.Start)
	dst = appendNumberWord(dst, "file_time=", uint64(e.FileTime))
	if e.Server == server && e.File == at.File && e.End == at.Offset {
		dst = append(dst, "here "...)
	} else {
		dst = appendTextWord(dst, "server=", e.Server)
		dst = appendTextWord(dst, "file=", e.File)
		dst = appendNumberWord(dst, "end=", e.End)
	}
	sum := crc32.Checksum(dst[begin:], evidenceChecksum)
	return strconv.AppendUint(append(dst, "sum="...), uint64(sum), 16)
}

func appendNumberWord(dst []byte, name string, n uint64) []byte {
	if n == 0 {
		return dst
	}
	return append(strconv.AppendUint(append(dst, name...), n, 10), ' ')
}

func appendTextWord(dst []byte, name, text string) []byte {
	if text == "" {
		return dst
	}
	const hexDigits = "0123456789ABCDEF"
	dst = append(dst, name...)
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c == '%' || c >= 0x7f {
			dst = append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return append(dst, ' ')
}

// ParseEvidence parses the text form, or the JSON form that older versions stored. server and at
// are the position with which the text is stored. Empty text is the zero Evidence. An error names
// the word that cannot be read.
func ParseEvidence(text []byte, server string, at *Position) (Evidence, error) {
	if len(text) == 0 {
		return Evidence{}, nil
	}
	if text[0] == '{' {
		return parseEvidenceJSON(text)
	}
	end := bytes.LastIndex(text, []byte("sum="))
	if end < 0 {
		return Evidence{}, fmt.Errorf(
			"parse evidence %q: it has no checksum", Clip(text, maxQuoted))
	}
	want := strconv.FormatUint(uint64(crc32.Checksum(text[:end], evidenceChecksum)), 16)
	if got := string(text[end+len("sum="):]); got != want {
		return Evidence{}, fmt.Errorf("parse evidence %q: its checksum is %q, want %q",
			Clip(text, maxQuoted), Clip(got, maxQuoted), want)
	}
	var e Evidence
	for word := range bytes.FieldsSeq(text[:end]) {
		if err := e.parseWord(string(word), server, at); err != nil {
			return Evidence{}, fmt.Errorf("parse evidence: word %q: %w",
				Clip(string(word), maxQuoted), err)
		}
	}
	return e, nil
}

// parseWord sets the field of one word of the text form.
func (e *Evidence) parseWord(word, server string, at *Position) (err error) {
	if word == "here" {
		e.Server, e.File, e.End = server, at.File, at.Offset
		return nil
	}
	name, text, _ := strings.Cut(word, "=")
	switch name {
	case "gtid":
		e.GTID, err = ParseGTID(text)
	case "previous":
		e.Previous, err = ParseGTID(text)
	case "time":
		e.Time, err = strconv.ParseInt(text, 10, 64)
	case "length":
		e.Length, err = strconv.ParseUint(text, 10, 64)
	case "start":
		e.Start, err = strconv.ParseUint(text, 10, 64)
	case "end":
		e.End, err = strconv.ParseUint(text, 10, 64)
	case "file_time":
		var seconds uint64
		seconds, err = strconv.ParseUint(text, 10, 32)
		e.FileTime = uint32(seconds)
	case "server":
		e.Server, err = unescape(text)
	case "file":
		e.File, err = unescape(text)
	default:
		err = fmt.Errorf("its name is not known; a newer version may have written it")
	}
	return err
}

// unescape replaces each %XX by its byte.
func unescape(text string) (string, error) {
	var out []byte
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '%' {
			if len(text)-i < 3 {
				return "", fmt.Errorf("an escape is cut off")
			}
			n, err := strconv.ParseUint(text[i+1:i+3], 16, 8)
			if err != nil {
				return "", err
			}
			c, i = byte(n), i+2
		}
		out = append(out, c)
	}
	return string(out), nil
}

// storedEvidence is the JSON form of Evidence that older versions stored. Zero fields are absent.
type storedEvidence struct {
	GTID     string `json:"gtid"`
	Previous string `json:"previous"`
	Time     int64  `json:"time"`
	Length   uint64 `json:"length"`
	Server   string `json:"server"`
	File     string `json:"file"`
	Start    uint64 `json:"start"`
	End      uint64 `json:"end"`
	FileTime uint32 `json:"file_time"`
}

func parseEvidenceJSON(text []byte) (Evidence, error) {
	var s storedEvidence
	if err := json.Unmarshal(text, &s); err != nil {
		return Evidence{}, fmt.Errorf("parse evidence: %w", err)
	}
	e := Evidence{
		Time: s.Time, Length: s.Length, Server: s.Server,
		File: s.File, Start: s.Start, End: s.End, FileTime: s.FileTime,
	}
	var err error
	if e.GTID, err = ParseGTID(s.GTID); err != nil {
		return Evidence{}, fmt.Errorf("parse evidence: %w", err)
	}
	if e.Previous, err = ParseGTID(s.Previous); err != nil {
		return Evidence{}, fmt.Errorf("parse evidence: %w", err)
	}
	return e, nil
}
