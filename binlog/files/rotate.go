package files

import (
	"encoding/binary"
	"hash/crc32"
)

// flagArtificial marks an event that is not part of a file.
const flagArtificial = 0x20

// rotateEvent returns the ROTATE_EVENT that a server sends before the events of a file.
func rotateEvent(name string, hasChecksum bool) []byte {
	size := headerSize + 8 + len(name)
	if hasChecksum {
		size += checksumSize
	}
	b := make([]byte, headerSize, size)
	b[4] = typeRotate
	binary.LittleEndian.PutUint32(b[9:], uint32(size))
	binary.LittleEndian.PutUint16(b[17:], flagArtificial)
	b = append(binary.LittleEndian.AppendUint64(b, firstEvent), name...)
	if hasChecksum {
		b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	}
	return b
}
