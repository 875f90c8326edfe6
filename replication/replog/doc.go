// Package replog is the replication log: the bytes that replicas are sent, as records on disk and as a window of the newest
// bytes in memory. It knows offsets and checksums, nothing of what the bytes mean.
//
// One writer appends records; a record is applied as a whole or not at all. Any number of readers
// follow, each at its own pace and from any byte: from memory while they keep up, from disk when
// they fell behind. A reader that waits costs the writer nothing, one that is slow keeps nothing:
// what Keep allows to be dropped is dropped, unless it is pinned, and Retain names what a restart
// needs. On a full volume Droppable and Trim go below Keep; SetSpare has units leave room there for
// others.
//
// # Promises
//
//   - What a reader has seen is in the file, so the end of the process loses none of it; with Fsync Always it is durable too.
//   - Open cuts at the last whole record. Where more than one interrupted record had to be cut (the machine stopped before a sync), Recovery
//     says so: readers of the last run may hold bytes that are gone.
//   - Damage in what was durable is a CorruptError, never a cut. So is damage met while reading; no byte of a record is handed
//     out from disk before its checksum was right. A place that the disk does not give (EIO) at three tries is damage, also at the
//     end, which is then not cut; that a file cannot be opened says nothing of it.
//   - A failed write or sync is final: a second sync after a failed one proves nothing. Only a disk without room is not: a FullError
//     leaves the log as it was, and a reserve lets all but units go on.
//   - Reset leaves the old log or the new one, whenever the machine stops.
//
// It does not lock its directory, and does not look for other writers.
//
// # Damage
//
// Whoever meets a CorruptError while the log is in use calls Condemn, so that nobody is sent there again. Where Open or Replay meets
// it and what the log held can be had again from elsewhere, Repair goes on from the newest snapshot with what is whole after it; the
// caller must then treat the end as Recovery.Lost says. Where it cannot be had again, the error is for a human.
//
// # On disk
//
// All numbers are little-endian; checksums are CRC-32C. The directory holds segments, named
// GENERATION-START.seg (16 hexadecimal and 20 decimal digits), and the file "synced". The generation grows with every Create or
// Reset, and only the highest whose first segment is whole counts. Its upper half is a counter, its lower half is random, so that it
// identifies the log. (Older versions counted from 1 and wrote 8 digits.) A segment is a header and records without gaps:
//
//	header   0  8  "RFSEG001"
//	         8  8  generation
//	        16  8  start: stream bytes before the segment
//	        24  8  start of the segment before it; its own in the first of a generation
//	        32  4  when it was begun, in seconds since 1970; 0: not known
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
//	        40  8  start of the newest segment that was begun
//	        48  4  checksum of bytes 32 to 47
//
// Two segments at most are not durable: a third is begun after the first has been synced. So Open scans the last two, and the
// older ones are checked when they are read. "synced" is written after each sync without a sync of its own; what lies
// before its offset is not cut, whatever it looks like. Its second part, missing until a second segment is begun and with Always, is
// written when a segment is begun: a log whose newest segment begins earlier has lost segments.
//
// The package is longer than most here, since writer, readers and recovery must agree on every byte above and on what is durable
// when: record.go and segment.go are that format, window.go the memory, fs.go what is asked of the disk.
package replog
