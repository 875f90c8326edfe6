// Package rdb writes and reads RDB files, the snapshot format of Redis and Valkey, over keyspace values.
//
// Write is for every replica at once: version 9 in the header, which all of them take, and types up to Redis 7.0, which all of them
// know. Small hashes and sorted sets go as listpacks, since a replica loads those two to four times as fast as single fields.
// Keys are in database 0 only; there are no consumer groups, modules or functions. For servers before Redis 7.0 Transcode makes a copy
// with older types.
//
// A text of 16378, 2097146 or 268435450 bytes in a stream has no form that all servers read: in 2026 Valkey (with 9.1) and then
// Redis changed how the length behind such an element is written. Write has the older one, Read takes both.
//
// Read takes what other servers write of the same kinds of values, in every encoding of Redis 2.6 to 8.4, and is made for files
// that are damaged or hostile: it ends with an error, and its memory grows only with the bytes that are really there. A file with
// anything else is refused, by the name of the type and key.
//
//	file     "REDIS0009", aux*, [0xfe database, 0xfb keys expires], key*, 0xff, CRC-64 of all before (little-endian)
//	aux      0xfa name value       redis-ver redis-bits ctime used-mem repl-stream-db repl-id repl-offset
//	key      [0xfc ms u64] type key value
//	length   00llllll | 01llllll l | 0x80 u32 | 0x81 u64 (big-endian)
//	string   length bytes | 0xc0 i8 | 0xc1 i16 | 0xc2 i32 (little-endian) | 0xc3 packed size LZF
//
//	 0 string      string
//	 1 list        length, strings
//	 2 set         length, strings
//	 4 hash        length, field and value strings
//	 5 sorted set  length, member string and score (8 bytes, little-endian)
//	11 set         string holding an intset          (integers, up to 512)
//	16 hash        string holding a listpack         (up to 128 fields, each and its value up to 64 bytes)
//	17 sorted set  string holding a listpack         (the same, members and scores in ascending order)
//	19 stream      nodes as in stream.go             (up to 100 entries or some more than 4,096 bytes each)
//
// The package is longer than most here, since Read knows every form that servers have ever written since 2.6; each form has a file (listpack.go,
// stream.go, and legacy.go for what nobody writes any more), and so has each way through them: encoder.go, decoder.go, transcode.go.
package rdb
