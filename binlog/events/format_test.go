package events

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"rowfall/binlog"
)

// lengthsOf55 are the lengths of the post-headers as MySQL 5.1.18 to 5.5 writes them, of 27 types.
var lengthsOf55 = []byte{
	0x38, 0x0d, 0x00, 0x08, 0x00, 0x12, 0x00, 0x04, 0x04, 0x04, 0x04, 0x12, 0x00, 0x00, 0x54, 0x00,
	0x04, 0x1a, 0x08, 0x00, 0x00, 0x00, 0x08, 0x08, 0x08, 0x02, 0x00,
}

// formatBody is the body of a FORMAT_DESCRIPTION_EVENT up to the lengths of the post-headers.
func formatBody(version uint16, server string, headerLength byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, version)
	b = append(b, server...)
	b = append(b, make([]byte, 2+50+4-len(b))...)
	return append(b, headerLength)
}

// Servers before MySQL 5.6.1 and MariaDB 5.3 write no checksums, and do not declare that.
func TestFormatWithoutChecksum(t *testing.T) {
	for _, server := range []string{"5.1.73-log", "5.5.62", "5.6.0-m4", "5.2.14-MariaDB-log"} {
		m := &eventBuilder{}
		m.add(formatDescriptionEvent, 0, formatBody(4, server, HeaderSize), lengthsOf55)
		m.add(queryEvent, 0, queryBody("BEGIN"))
		m.add(tableMapEvent, 0, mapBody(1, "t"))
		rows := rowsBody(1, 2)
		m.add(writeRowsEventV1, 0, slices.Delete(rows, 8, 10)) // version 1 has no extra data
		m.add(xidEvent, 0, make([]byte, 8))
		rowCount, commits := 0, 0
		p := newParser(newOneTable())
		if err := feed(p, m.events, func(ev *binlog.Event) {
			switch ev.Kind {
			case binlog.Changes:
				for ev.Rows.Next() {
					rowCount++
				}
			case binlog.Commit:
				commits++
			}
		}); err != nil || rowCount != 2 || commits != 1 {
			t.Errorf("%s: %d rows, %d commits, %v", server, rowCount, commits, err)
		}
		if has, err := HasChecksums(m.events[0]); err != nil || has {
			t.Errorf("%s: checksums %v, %v", server, has, err)
		}
	}
}

func TestDeclaresChecksums(t *testing.T) {
	for version, want := range map[string]bool{
		"5.0.96": false, "5.1.73-log": false, "5.5.62-log": false, "5.6.0": false, "5.6.1-m5": true,
		"5.6.51": true, "5.7.44": true, "8.4.9": true, "9.7.4": true, "5.2.14-MariaDB": false,
		"5.3.0-MariaDB": true, "5.5.68-MariaDB": true, "10.11.18-MariaDB-log": true, "": true,
		"5": true, "4.1.22": false, "5.6.x": true,
	} {
		if got := DeclaresChecksums(version); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}

// A format that is not supported is an error that names what is not supported.
func TestUnsupportedFormat(t *testing.T) {
	m := &eventBuilder{checksum: true}
	of := func(version uint16, headerLength byte, algorithm byte) []byte {
		return m.raw(formatDescriptionEvent, 0, true, formatBody(version, "8.4.9", headerLength),
			lengthsOf55, []byte{algorithm})
	}
	start := func(version uint16, server string) []byte {
		body := formatBody(version, server, 0)
		return m.raw(startEventV3, 0, false, body[:len(body)-1])
	}
	// The header of MySQL 3.23 ends after the size of the event.
	v1 := start(1, "3.23.58")
	v1 = slices.Delete(v1, 13, HeaderSize)
	binary.LittleEndian.PutUint32(v1[9:], uint32(len(v1)))
	for want, raw := range map[string][]byte{
		"version 5 of the binlog format (server 8.4.9)":                      of(5, 19, 1),
		"headers of events have 27 bytes instead of 19":                      of(4, 27, 1),
		"checksum algorithm 7 is unknown":                                    of(4, 19, 7),
		"version 3 of the binlog format, of MySQL 4.0 or 4.1 (server 4.1.2)": start(3, "4.1.2"),
		"version 1 of the binlog format, of MySQL 3.23 (server 3.23.58)":     v1,
		"row events of MySQL 5.1.17 and earlier": m.raw(
			preGAWriteRowsEvent, 0, false, make([]byte, 8)),
	} {
		var refused *binlog.RefusedError
		_, err := newParser(newOneTable()).Next(raw)
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
	}
}
