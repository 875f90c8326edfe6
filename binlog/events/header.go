package events

import (
	"encoding/binary"
	"strconv"
)

// HeaderSize is the length in bytes of the header of every event.
const HeaderSize = 19

// checksumSize is the length of the CRC32 at the end of an event.
const checksumSize = 4

// header is the beginning of an event.
type header struct {
	time   uint32 // seconds since 1970
	kind   kind
	server uint32
	size   uint32 // of the whole event, in bytes
	end    uint32 // low 32 bits of where the event ends in its file; 0: not said
	flags  uint16
}

// Flags of an event's header.
const (
	flagInUse      = 0x01 // the file that a FORMAT_DESCRIPTION begins is being written
	flagArtificial = 0x20 // made up for us, not in the file
	flagIgnorable  = 0x80 // who does not know the type may skip it
)

// parseHeader reads a header; b holds HeaderSize bytes or more.
func parseHeader(b []byte) header {
	return header{
		time:   binary.LittleEndian.Uint32(b),
		kind:   kind(b[4]),
		server: binary.LittleEndian.Uint32(b[5:]),
		size:   binary.LittleEndian.Uint32(b[9:]),
		end:    binary.LittleEndian.Uint32(b[13:]),
		flags:  binary.LittleEndian.Uint16(b[17:]),
	}
}

// kind is the type of an event.
type kind uint8

// The event types that are told apart here.
const (
	kindQuery             kind = 2
	kindStop              kind = 3
	kindRotate            kind = 4
	kindIntVar            kind = 5
	kindLoad              kind = 6
	kindCreateFile        kind = 8
	kindAppendBlock       kind = 9
	kindExecLoad          kind = 10
	kindDeleteFile        kind = 11
	kindNewLoad           kind = 12
	kindRand              kind = 13
	kindUserVar           kind = 14
	kindFormatDescription kind = 15
	kindXID               kind = 16
	kindBeginLoadQuery    kind = 17
	kindExecuteLoadQuery  kind = 18
	kindTableMap          kind = 19
	kindWriteRowsV0       kind = 20
	kindUpdateRowsV0      kind = 21
	kindDeleteRowsV0      kind = 22
	kindWriteRowsV1       kind = 23
	kindUpdateRowsV1      kind = 24
	kindDeleteRowsV1      kind = 25
	kindIncident          kind = 26
	kindHeartbeat         kind = 27
	kindIgnorable         kind = 28
	kindRowsQuery         kind = 29
	kindWriteRows         kind = 30
	kindUpdateRows        kind = 31
	kindDeleteRows        kind = 32
	kindGTID              kind = 33
	kindAnonymousGTID     kind = 34
	kindPreviousGTIDs     kind = 35
	kindTransactionCtx    kind = 36
	kindViewChange        kind = 37
	kindXAPrepare         kind = 38
	kindPartialUpdateRows kind = 39
	kindPayload           kind = 40
	kindHeartbeatV2       kind = 41
	kindTaggedGTID        kind = 42

	kindMariaAnnotate             kind = 160
	kindMariaCheckpoint           kind = 161
	kindMariaGTID                 kind = 162
	kindMariaGTIDList             kind = 163
	kindMariaStartEncryption      kind = 164
	kindMariaQueryCompressed      kind = 165
	kindMariaWriteCompressedV1    kind = 166
	kindMariaUpdateCompressedV1   kind = 167
	kindMariaDeleteCompressedV1   kind = 168
	kindMariaWriteRowsCompressed  kind = 169
	kindMariaUpdateRowsCompressed kind = 170
	kindMariaDeleteRowsCompressed kind = 171
)

var kindNames = map[kind]string{
	kindQuery: "QUERY", kindStop: "STOP", kindRotate: "ROTATE", kindIntVar: "INTVAR", kindLoad: "LOAD",
	kindCreateFile: "CREATE_FILE", kindAppendBlock: "APPEND_BLOCK", kindExecLoad: "EXEC_LOAD",
	kindDeleteFile: "DELETE_FILE", kindNewLoad: "NEW_LOAD", kindRand: "RAND", kindUserVar: "USER_VAR",
	kindFormatDescription: "FORMAT_DESCRIPTION", kindXID: "XID", kindBeginLoadQuery: "BEGIN_LOAD_QUERY",
	kindExecuteLoadQuery: "EXECUTE_LOAD_QUERY", kindTableMap: "TABLE_MAP",
	kindWriteRowsV0: "WRITE_ROWS_V0", kindUpdateRowsV0: "UPDATE_ROWS_V0", kindDeleteRowsV0: "DELETE_ROWS_V0",
	kindWriteRowsV1: "WRITE_ROWS_V1", kindUpdateRowsV1: "UPDATE_ROWS_V1", kindDeleteRowsV1: "DELETE_ROWS_V1",
	kindIncident: "INCIDENT", kindHeartbeat: "HEARTBEAT", kindIgnorable: "IGNORABLE", kindRowsQuery: "ROWS_QUERY",
	kindWriteRows: "WRITE_ROWS", kindUpdateRows: "UPDATE_ROWS", kindDeleteRows: "DELETE_ROWS", kindGTID: "GTID",
	kindAnonymousGTID: "ANONYMOUS_GTID", kindPreviousGTIDs: "PREVIOUS_GTIDS", kindTransactionCtx: "TRANSACTION_CONTEXT",
	kindViewChange: "VIEW_CHANGE", kindXAPrepare: "XA_PREPARE", kindPartialUpdateRows: "PARTIAL_UPDATE_ROWS",
	kindPayload: "TRANSACTION_PAYLOAD", kindHeartbeatV2: "HEARTBEAT_V2", kindTaggedGTID: "GTID_TAGGED",
	kindMariaAnnotate: "ANNOTATE_ROWS", kindMariaCheckpoint: "BINLOG_CHECKPOINT", kindMariaGTID: "MARIADB_GTID",
	kindMariaGTIDList: "GTID_LIST", kindMariaStartEncryption: "START_ENCRYPTION",
	kindMariaQueryCompressed:   "QUERY_COMPRESSED",
	kindMariaWriteCompressedV1: "WRITE_ROWS_COMPRESSED_V1", kindMariaUpdateCompressedV1: "UPDATE_ROWS_COMPRESSED_V1",
	kindMariaDeleteCompressedV1: "DELETE_ROWS_COMPRESSED_V1", kindMariaWriteRowsCompressed: "WRITE_ROWS_COMPRESSED",
	kindMariaUpdateRowsCompressed: "UPDATE_ROWS_COMPRESSED", kindMariaDeleteRowsCompressed: "DELETE_ROWS_COMPRESSED",
}

// String returns the name that the servers' documentation gives the type.
func (k kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return "type " + strconv.Itoa(int(k))
}
