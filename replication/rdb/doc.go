// Package rdb writes and reads RDB files, the snapshot format of Redis and Valkey, over keyspace
// values.
//
// Write produces one file for every replica: version 9 in the header, which all of them accept, and
// only value types that all servers since Redis 7.0 know. Small hashes and sorted sets are written
// as listpacks, because a replica loads those two to four times as fast as single fields. Keys are
// in database 0 only. There are no consumer groups, modules or functions. For servers before Redis
// 7.0, Transcode makes a copy with older types.
//
// A string of 16378, 2097146 or 268435450 bytes in a stream has no encoding that all servers read.
// In 2026, Valkey (with 9.1) and then Redis changed how the length after such an element is
// written. Write uses the older form; Read accepts both.
//
// Read accepts the same kinds of values as other servers write them, in every encoding from Redis
// 2.6 to 8.4. It is safe with damaged or hostile files: it returns an error, and its memory grows
// only with bytes that are really in the file. A file with anything else is rejected with an error
// that names the type and key.
//
//	file     "REDIS0009", aux*, [0xfe database, 0xfb keys expires], key*, 0xff, CRC-64 of all
//	         bytes before it (little-endian)
//	aux      0xfa name value       (redis-ver redis-bits ctime used-mem repl-stream-db repl-id
//	                                repl-offset)
//	key      [0xfc ms u64] type key value
//	length   00llllll | 01llllll l | 0x80 u32 | 0x81 u64 (big-endian)
//	string   length bytes | 0xc0 i8 | 0xc1 i16 | 0xc2 i32 (little-endian) | 0xc3 packed size LZF
//
//	 0 string      string
//	 1 list        length, strings
//	 2 set         length, strings
//	 4 hash        length, field and value strings
//	 5 sorted set  length, member string and score (8 bytes, little-endian)
//	11 set         string holding an intset    (integers, up to 512)
//	16 hash        string holding a listpack   (up to 128 fields, each string up to 64 bytes)
//	17 sorted set  string holding a listpack   (the same, members and scores, ascending)
//	19 stream      nodes as in stream.go       (up to 100 entries, or until 4,096 bytes)
//
// The package is longer than most here, because Read knows every encoding that servers have written
// since 2.6. Each encoding has a file (listpack.go, stream.go, and legacy.go for those that no
// server writes any more), and so has each direction: encoder.go, decoder.go, transcode.go.
package rdb
