// Package charset converts text of every character set that MySQL and MariaDB have to what the
// server prints for it to a utf8mb4 client: the bytes of a column in the binlog become, byte for
// byte, the text of a SELECT.
//
// # Tables
//
// The conversion tables are measured: the generator (go generate, a minute) starts a MySQL and a
// MariaDB, lets them print every sequence of bytes that a character set's characters can have, and
// writes the result to tables.bin, which is a part of the program.
//
// The libraries that exist follow other definitions. golang.org/x/text/encoding, for example, has
// the tables of browsers: its EUC-JP differs from the servers' ujis in 947 characters of two bytes,
// its Big5 from big5 in 267. It decodes thousands of byte pairs for which the servers print a
// question mark, and has no table for armscii8, dec8, geostd8, hp8, keybcs2, macce and swe7.
//
// tables.bin adds 116 kB to the program. A table is unpacked when its character set is used for the
// first time. It then takes 1 KiB for a set of single bytes and 30 to 180 KiB for another set.
//
// # Bytes without a character
//
// A server prints a question mark for bytes that represent no character. How many bytes one
// question mark stands for depends on the server:
//
//   - MariaDB prints one for a well-formed character that is not assigned, and one for each byte
//     that does not begin a well-formed character.
//   - MySQL does the same in some character sets. In big5, euckr, gb2312 and gbk every byte from
//     0x80 takes the next byte with it, whatever that is.
//   - At the end of a value, MySQL prints nothing for the beginning of a character.
//
// A server stores such bytes only if they are well-formed. Ill-formed values come from older
// servers.
//
// The other way round, a server stores a question mark for a character that the character set of
// an ENUM's or SET's label does not have; see Decoder.Represent. The characters that a server can
// store are those that it can print. The only exception that was found is U+6661 in cp932, which
// servers store as U+6659; Represent does not know it.
package charset
