// Package arena keeps records, runs of bytes, in memory that the garbage
// collector does not look into, under addresses of 40 bits.
//
// A record is put at the end of a chunk, or in the place of one of the same
// length (in steps of 4 bytes) that is not needed any more, and never changes.
// Places that nobody can look at any more are remembered by length. So steady
// updates need hardly more memory than the records in use, and move nothing.
// What lengths nobody asks for any more leave behind is garbage, counted by
// chunk; when it is too much, the owner compacts: it takes the records of the
// chunk with the most garbage one by one (Next), stores those it still refers to
// again (Move), and frees the old ones. A chunk without a record in use is
// retired, and its memory goes back once no reader and no snapshot can have
// found an address in it.
//
// # Chunk
//
//	record      size uvarint (not 0), the record, 0 to 3 bytes to a multiple of 4
//	free place  0, length in units of 4 bytes u16 LE, whatever was there
//	...
//
// A place that has been freed but may still be looked at reads as the record
// that it was. A chunk has 64 KiB to 2 MiB, more the more records there are. A
// record of more than an eighth of 2 MiB may get a chunk by itself, which is as
// large as it. An Addr is the chunk's number (19 bits, from 1) and the offset in
// it (21 bits): 2^19 chunks, 1 TiB.
//
// On Linux chunks are mapped apart from Go's heap; elsewhere, and under the race
// detector, they are ordinary byte slices.
//
// # Slabs
//
// Records whose owner does not find them by what they hold, such as nodes of trees, lie
// in slabs: every chunk has places of one length then, of at most eight lengths
// between two powers of two. Next and Move are not for them. Where records grow or shrink in step,
// the chunks of lengths that nobody asks for any more become empty and go; those that
// become thin only are named by Thin, and the owner moves what it comes across in them.
//
// # Who waits for whom
//
// One goroutine, the writer, calls everything but Pin, Unpin, At, Hold and
// ReleaseHold. Time is cut into epochs: one ends when a chunk is retired or some
// hundred records have been freed. A reader pins the epoch it begins in, two
// atomic additions in all, and its bytes stay until it unpins. A snapshot, which
// refers to one moment's records for long, holds that moment: only places in
// chunks that were there then, and freed since, wait for it. Nobody waits for a
// reader; what a slow one delays is the use of memory again.
package arena
