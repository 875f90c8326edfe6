package rdb_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"rowfall/replication/keyspace"
	"rowfall/replication/rdb"
)

// TestReadRejects lists files that Read rejects, with a fragment of the error text.
func TestReadRejects(t *testing.T) {
	whole := write(t, sample(t), aux)
	damaged := bytes.Clone(whole)
	damaged[len(damaged)-20] ^= 1
	for name, c := range map[string]struct{ file, want string }{
		"nothing":                   {"", "EOF"},
		"no RDB":                    {"+OK\r\n$5\r\nxxxxxx", "not an RDB file"},
		"newer, hash templates":     {file("REDIS0015", "\xf2\x01k\x01v"), "unknown type 242"},
		"newer, key metadata":       {file("REDIS0013", "\xf3\x01k\x01v"), "unknown type 243"},
		"newer Valkey, slot import": {file("VALKEY081", "\xf3\x01k\x01v"), "unknown type 243"},
		"cut short":                 {string(whole[:len(whole)-9]), "EOF"},
		"no trailer":                {string(whole[:len(whole)-3]), "EOF"},
		"damaged":                   {string(damaged), ""},
		"wrong checksum": {
			"REDIS0009\xff\x01\x00\x00\x00\x00\x00\x00\x00", "checksum is 0000000000000001",
		},
		"module": {
			file("REDIS0009", "\x07\x01k\x01v"), `key "k": it is a module value (type 7)`,
		},
		"stream from the future": {file("REDIS0009", "\x1a\x01k\x01v"), "stream (type 26)"},
		"packed bomb": {
			file("REDIS0009", "\x10\x01k\xc3\x80\x00\x10\x00\x00\x80\x04\x00\x00\x01"),
			"string of 67108865 bytes",
		},
		"node bomb": {
			file("REDIS0009", "\x12\x01k\x01\x02\xc3\x80\x10\x00\x00\x00\x80\x40\x10\x00\x01"),
			"string of 1074790401 bytes",
		},
		"packed too long": {
			file("REDIS0009", "\x10\x01k\x80\x04\x00\x00\x01"), "string of 67108865 bytes",
		},
		"list of unknown nodes": {
			file("REDIS0009", "\x12\x01k\x01\x03\x01v"), "unknown form 3",
		},
		"list too large": {
			"REDIS0009\x01\x01k\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01m", "EOF",
		},
		"nodes too many": {
			"REDIS0009\x12\x01k\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01m", "EOF",
		},
		"stream of too many nodes": {
			"REDIS0009\x0f\x01k\x81\xff\xff\xff\xff\xff\xff\xff\xff", "EOF",
		},
		"node without a key": {
			file("REDIS0009", "\x0f\x01k\x01\x01v"), "node of a stream is damaged",
		},
		"consumer group": {
			file("REDIS0009", "\x0f\x01k\x00\x00\x05\x06\x01\x02gr"), `consumer group "gr"`,
		},
		"stream of other length": {
			file("REDIS0009", "\x0f\x01k\x00\x01\x05\x06\x00"), "0 entries, but its length is 1",
		},
		"field expiry": {
			file("REDIS0012", "\x19\x01k\x01v"), "hash with field expiry (type 25)",
		},
		"type from the future": {file("REDIS0012", "\x63\x01k\x01v"), "unknown type 99"},
		"functions":            {file("REDIS0011", "\xf5\x01f"), "function libraries"},
		"module aux":           {file("REDIS0011", "\xf7\x01f"), "module"},
		"database 1":           {file("REDIS0009", "\xfe\x01\x00\x01k\x01v"), "database 1"},
		"same key twice": {
			file("REDIS0009", "\x00\x01k\x01v\x00\x01k\x01v"), "duplicate",
		},
		"same field twice": {
			file("REDIS0009", "\x04\x01k\x02\x01f\x01v\x01f\x01v"), "duplicate",
		},
		"no score": {
			file("REDIS0009", "\x05\x01k\x01\x01m\x00\x00\x00\x00\x00\x00\xf8\x7f"), "not a number",
		},
		"score is text": {
			file("REDIS0009", "\x03\x01k\x01\x01m\x03abc"), `score "abc" is not a number`,
		},
		"string too long": {
			file("REDIS0009", "\x00\x01k\x81\x7f\xff\xff\xff\xff\xff\xff\xff"), "are allowed",
		},
		"set too large": {
			"REDIS0009\x02\x01k\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01m", "EOF",
		},
		"hash too large": {
			file("REDIS0009", "\x04\x01k\x81\xff\xff\xff\xff\xff\xff\xff\xff"), "elements",
		},
		"LZF bomb": {
			file("REDIS0009", "\x00\x01k\xc3\x04\x80\x1f\xff\xff\xff\x00a\xe0\x00"),
			"compressed to 4",
		},
		"LZF before its start": {
			file("REDIS0009", "\x00\x01k\xc3\x04\x08\x00a\x80\x05"), "compressed string is damaged",
		},
		"listpack": {
			file("REDIS0009", "\x10\x01k\x08\x08\x00\x00\x00\x01\x00\xbf\xff"),
			"listpack is damaged",
		},
		"ziplist": {
			file("REDIS0009", "\x0d\x01k\x0c\x0c\x00\x00\x00\x00\x00\x00\x00\x01\x00\xfe\xff"),
			"ziplist is damaged",
		},
		"intset": {
			file("REDIS0009", "\x0b\x01k\x09\x03\x00\x00\x00\x01\x00\x00\x00\x01"),
			"integers is damaged",
		},
		"odd hash": {
			file("REDIS0009", "\x10\x01k\x09\x09\x00\x00\x00\x01\x00\x05\x01\xff"), "no value",
		},
		"expiry in the past of all": {
			file("REDIS0009", "\xfc\xff\xff\xff\xff\xff\xff\xff\xff\x00\x01k\x01v"), "out of range",
		},
		"aux is no number": {
			file("REDIS0009", "\xfa\x0brepl-offset\x01x"), "want a number",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rdb.Read(strings.NewReader(c.file), keyspace.New(keyspace.Options{}).Loader())
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, io.EOF) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestHostileLengths: lengths that a file only claims allocate nothing.
func TestHostileLengths(t *testing.T) {
	for name, body := range map[string]string{
		"string":        "\x00\x01k\x80\x1f\xff\xff\xff",
		"LZF":           "\x00\x01k\xc3\x80\x1f\xff\xff\xff\x80\x1f\xff\xff\xff",
		"hash":          "\x04\x01k\x80\xff\xff\xff\xff",
		"set":           "\x02\x01k\x81\x0f\xff\xff\xff\xff\xff\xff\xff",
		"sorted set":    "\x05\x01k\x80\xff\xff\xff\xff",
		"listpack":      "\x10\x01k\x80\x1f\xff\xff\xff\xff\xff\xff\xff\x00\x00",
		"list":          "\x01\x01k\x80\xff\xff\xff\xff",
		"quicklist":     "\x0e\x01k\x80\xff\xff\xff\xff",
		"quicklist 2":   "\x12\x01k\x80\xff\xff\xff\xff",
		"plain node":    "\x12\x01k\x01\x01\x80\x1f\xff\xff\xff",
		"64-bit list":   "\x01\x01k\x81\x0f\xff\xff\xff\xff\xff\xff\xff",
		"stream":        "\x0f\x01k\x80\xff\xff\xff\xff",
		"64-bit stream": "\x15\x01k\x81\x0f\xff\xff\xff\xff\xff\xff\xff",
		"stream node": "\x13\x01k\x01\x10\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00" +
			"\x00\x00\x06\x80\x1f\xff\xff\xff",
		"stream groups": "\x0f\x01k\x00\x00\x00\x00\x80\xff\xff\xff\xff",
		"hints":         "\xfb\x80\xff\xff\xff\xff\x80\xff\xff\xff\xff",
	} {
		var before, after runtime.MemStats
		k := keyspace.New(keyspace.Options{})
		runtime.ReadMemStats(&before)
		_, err := rdb.Read(strings.NewReader("REDIS0009"+body), k.Loader())
		runtime.ReadMemStats(&after)
		if err == nil || after.TotalAlloc-before.TotalAlloc > 1<<20 {
			t.Errorf("%s: %v after %d bytes", name, err, after.TotalAlloc-before.TotalAlloc)
		}
	}
}
