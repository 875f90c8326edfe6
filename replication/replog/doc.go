// Package replog is the replication log: the bytes that replicas receive, stored as records in
// segment files on disk, with the newest bytes also in a memory window. It handles offsets and
// checksums. It does not interpret the bytes.
//
// One writer appends records; a record is applied as a whole or not at all. Any number of readers
// follow, each at its own speed and starting at any byte. They read from memory while they keep up,
// and from disk when they fell behind. A waiting reader costs the writer nothing. A slow reader
// holds no log back unless it has a Pin: segments beyond Config.Keep are removed. Retain protects
// what a restart needs. On a full volume, Trimmable and Trim remove more than Keep requires, and
// SetSpare makes records leave room there for other files.
//
// # Memory
//
// The window always holds its base, an eighth of Config.Memory but at most 1 MiB, which is enough
// for readers at the end of the log.
// While a reader lags, the window grows, up to Config.Memory, and keeps everything that the reader
// has not read. When the reader has caught up or was closed, the window shrinks to its base again
// and returns the pages to the system. A reader that is more than Config.Memory behind keeps
// nothing in memory. It reads from the segment files, which are usually in the page cache, until it
// is near enough.
//
// # Guarantees
//
//   - Bytes that a reader received are in the file, so a crash of the process loses none of them.
//     With Fsync Always they are durable too.
//   - Open cuts the log after its last complete record. Recovery.Lost is set if more than one
//     interrupted record had to be cut, which only happens when the machine stopped before a sync.
//     Readers of the last run may then hold bytes that the log has lost.
//   - Damage in durable bytes is a CorruptError and is never cut silently, neither by Open nor by a
//     reader. Bytes are read from disk only after the record's checksum has been verified. A
//     location that returns EIO three times counts as damage, also at the end of the log. A file
//     that cannot be opened does not.
//   - A failed write or sync is final, because a second sync after a failed one proves nothing. A
//     full disk is the exception: a FullError leaves the log as it was, and the reserve lets all
//     records except units continue.
//   - After a crash during Reset, the directory holds either the old log or the new one.
//
// The package neither locks its directory nor detects other writers.
//
// # Damage
//
// A caller that gets a CorruptError while the log is in use calls ExcludeDamaged, so that no reader
// starts before the damage again. If Open or Replay returns the error, and the lost records can be
// produced again, Repair continues from the newest snapshot with the undamaged records after it.
// The caller must then treat the end of the log as Recovery.Lost describes. If the records cannot
// be produced again, an operator has to restore the file.
//
// # On disk
//
// All numbers are little-endian; checksums are CRC-32C. The directory holds the segments, named
// GENERATION-START.seg (16 hexadecimal and 20 decimal digits), and the file "synced". Every Create
// and Reset starts a higher generation. Only the highest generation whose first segment is complete
// is used. The upper half of the number is a counter and the lower half is random, so that it
// identifies the log. (Older versions counted from 1 and wrote 8 digits.) A segment is a header
// followed by records without gaps:
//
//	header   0  8  "RFSEG001"
//	         8  8  generation
//	        16  8  start: stream bytes before the segment
//	        24  8  start of the previous segment; of a generation's first segment, its own start
//	        32  4  creation time, in seconds since 1970; 0: unknown
//	        36  4  checksum of bytes 0 to 35
//
//	record   0  4  checksum of the rest of the record
//	         4  4  payload bytes, 1 to MaxPayload
//	         8  1  kind
//	         9  7  start: stream bytes before the record
//	        16     payload
//
//	synced   0  8  "RFSYN001"
//	         8  8  generation
//	        16  8  offset up to which that generation is durable
//	        24  4  0
//	        28  4  checksum of bytes 0 to 27
//	        32  8  generation
//	        40  8  start of the newest segment
//	        48  4  checksum of bytes 32 to 47
//
// At most two segments are not durable, because a third is created only after the first was synced.
// So Open scans the last two segments; older ones are checked when they are read. "synced" is
// written after each sync, without a sync of its own. Bytes before its offset are never cut,
// whatever they look like. Its second part is written when a segment is created, except for the
// first segment and with Fsync Always. If the newest segment on disk starts before the one named
// there, the log has lost segments.
//
// The package is longer than most here, because writer, readers and recovery must agree on every
// byte above and on what is durable at each moment. record.go and segment.go hold the format,
// window.go the memory window.
package replog
