// Package arena stores records, which are runs of bytes, in memory that the
// garbage collector does not scan. A record has an address of 40 bits (Addr).
//
// # Allocation
//
// A record lies in a block of a chunk. A block holds the record's length, the
// record and padding. A record never changes once its writer has filled it.
// Append and Alloc take a free block of exactly the right size, or else cut a
// new block from the end of the active chunk. Freed blocks that no reader can
// see any more wait on a free list, one for each block size. So an owner that
// keeps replacing records of similar sizes needs little more memory than its
// live records, and moves none of them.
//
// Free blocks of sizes that are no longer requested remain as garbage, which is
// counted for each chunk. When there is too much garbage, the owner compacts:
// SelectVictim picks the chunk with the largest share of garbage, NextRecord
// returns its records one by one, and the owner copies those it still refers to
// with Move and frees the originals. A chunk without live records is retired.
// Its memory is released once no reader and no snapshot can hold an address in
// it.
//
// # Chunk format
//
//	record      length uvarint (at least 1), the record, padding to a multiple of 4 bytes
//	free block  0, size in units of 4 bytes u16 LE, whatever was there before
//	...
//
// A freed block that a reader may still see keeps the form of a record until it
// goes to a free list. A chunk has 64 KiB to 2 MiB: the more live bytes the
// arena has, the larger its new chunks are. A record of more than an eighth of
// 2 MiB gets a chunk of its own, which is just as large as its block. An Addr
// is the chunk's number (19 bits, from 1) and the offset in that chunk
// (21 bits): 2^19 chunks, 1 TiB.
//
// On Linux, chunks are mapped outside of Go's heap. On other systems, and under
// the race detector, they are ordinary byte slices.
//
// # Size classes
//
// With Options.SizeClasses every chunk has blocks of a single size, as in a slab
// allocator: multiples of 64 bytes up to 1 KiB, and eight sizes for each power
// of two above. This mode is for records whose content does not lead to the
// reference to them, such as nodes of trees. SelectVictim, NextRecord and Move
// do not work in it. Where all records of an owner grow or shrink
// together, chunks of sizes that are no longer requested become empty and are
// retired. Chunks that only become sparse are emptied by defragmentation:
// StartDefrag marks them, and the owner moves every record for which NeedsMove
// is true.
//
// # Concurrency
//
// One goroutine, the writer, calls all methods except Pin, Unpin, At, Hold and
// ReleaseHold, which any goroutine may call. Reclamation is based on epochs. An
// epoch ends when a chunk is retired, or when some hundred records have been
// freed. A reader pins the epoch in which it begins, which costs two atomic
// additions; the records it can find then stay until it unpins. A snapshot reads
// the records of one moment for a long time, so it takes a Hold, which is
// narrower than a pin: only blocks that were in use at that moment, and chunks
// that existed then, are kept for it. The writer never waits for a reader: a
// slow reader only delays the reuse of memory.
package arena
