package events

import (
	"encoding/binary"
	"strconv"
)

// HeaderSize is the length in bytes of the header of every event.
const HeaderSize = 19

// checksumSize is the length of the CRC32 at the end of an event, in bytes.
const checksumSize = 4

// header is the header of an event (version 4 of the binlog format).
type header struct {
	time   uint32 // seconds since 1970
	typ    eventType
	server uint32
	size   uint32 // of the whole event, in bytes
	end    uint32 // low 32 bits of the event's end offset in its file; 0 if not set
	flags  uint16
}

// Flags of an event's header.
const (
	flagInUse      = 0x01 // in FORMAT_DESCRIPTION_EVENT: the server is still writing the file
	flagArtificial = 0x20 // generated for this connection, not part of the file
	flagIgnorable  = 0x80 // a reader without support for the type may ignore the event
)

// parseHeader reads a header; b holds HeaderSize bytes or more.
func parseHeader(b []byte) header {
	return header{
		time:   binary.LittleEndian.Uint32(b),
		typ:    eventType(b[4]),
		server: binary.LittleEndian.Uint32(b[5:]),
		size:   binary.LittleEndian.Uint32(b[9:]),
		end:    binary.LittleEndian.Uint32(b[13:]),
		flags:  binary.LittleEndian.Uint16(b[17:]),
	}
}

// append appends the header to dst.
func (h header) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, h.time)
	dst = append(dst, byte(h.typ))
	dst = binary.LittleEndian.AppendUint32(dst, h.server)
	dst = binary.LittleEndian.AppendUint32(dst, h.size)
	dst = binary.LittleEndian.AppendUint32(dst, h.end)
	return binary.LittleEndian.AppendUint16(dst, h.flags)
}

// eventType is the type code of an event.
type eventType uint8

// The event types of MySQL (Log_event_type in binlog_event.h) and MariaDB (log_event.h), under the
// names of these sources in Go's form.
const (
	queryEvent              eventType = 2
	stopEvent               eventType = 3
	rotateEvent             eventType = 4
	intvarEvent             eventType = 5
	loadEvent               eventType = 6
	createFileEvent         eventType = 8
	appendBlockEvent        eventType = 9
	execLoadEvent           eventType = 10
	deleteFileEvent         eventType = 11
	newLoadEvent            eventType = 12
	randEvent               eventType = 13
	userVarEvent            eventType = 14
	formatDescriptionEvent  eventType = 15
	xidEvent                eventType = 16
	beginLoadQueryEvent     eventType = 17
	executeLoadQueryEvent   eventType = 18
	tableMapEvent           eventType = 19
	preGAWriteRowsEvent     eventType = 20
	preGAUpdateRowsEvent    eventType = 21
	preGADeleteRowsEvent    eventType = 22
	writeRowsEventV1        eventType = 23
	updateRowsEventV1       eventType = 24
	deleteRowsEventV1       eventType = 25
	incidentEvent           eventType = 26
	heartbeatLogEvent       eventType = 27
	ignorableLogEvent       eventType = 28
	rowsQueryLogEvent       eventType = 29
	writeRowsEvent          eventType = 30
	updateRowsEvent         eventType = 31
	deleteRowsEvent         eventType = 32
	gtidLogEvent            eventType = 33
	anonymousGTIDLogEvent   eventType = 34
	previousGTIDsLogEvent   eventType = 35
	transactionContextEvent eventType = 36
	viewChangeEvent         eventType = 37
	xaPrepareLogEvent       eventType = 38
	partialUpdateRowsEvent  eventType = 39
	transactionPayloadEvent eventType = 40
	heartbeatLogEventV2     eventType = 41
	gtidTaggedLogEvent      eventType = 42

	annotateRowsEvent           eventType = 160
	binlogCheckpointEvent       eventType = 161
	mariaGTIDEvent              eventType = 162
	gtidListEvent               eventType = 163
	startEncryptionEvent        eventType = 164
	queryCompressedEvent        eventType = 165
	writeRowsCompressedEventV1  eventType = 166
	updateRowsCompressedEventV1 eventType = 167
	deleteRowsCompressedEventV1 eventType = 168
	writeRowsCompressedEvent    eventType = 169
	updateRowsCompressedEvent   eventType = 170
	deleteRowsCompressedEvent   eventType = 171
	partialRowDataEvent         eventType = 172
)

var eventTypeNames = map[eventType]string{
	startEventV3:                "START_V3",
	queryEvent:                  "QUERY",
	stopEvent:                   "STOP",
	rotateEvent:                 "ROTATE",
	intvarEvent:                 "INTVAR",
	loadEvent:                   "LOAD",
	createFileEvent:             "CREATE_FILE",
	appendBlockEvent:            "APPEND_BLOCK",
	execLoadEvent:               "EXEC_LOAD",
	deleteFileEvent:             "DELETE_FILE",
	newLoadEvent:                "NEW_LOAD",
	randEvent:                   "RAND",
	userVarEvent:                "USER_VAR",
	formatDescriptionEvent:      "FORMAT_DESCRIPTION",
	xidEvent:                    "XID",
	beginLoadQueryEvent:         "BEGIN_LOAD_QUERY",
	executeLoadQueryEvent:       "EXECUTE_LOAD_QUERY",
	tableMapEvent:               "TABLE_MAP",
	preGAWriteRowsEvent:         "WRITE_ROWS_V0",
	preGAUpdateRowsEvent:        "UPDATE_ROWS_V0",
	preGADeleteRowsEvent:        "DELETE_ROWS_V0",
	writeRowsEventV1:            "WRITE_ROWS_V1",
	updateRowsEventV1:           "UPDATE_ROWS_V1",
	deleteRowsEventV1:           "DELETE_ROWS_V1",
	incidentEvent:               "INCIDENT",
	heartbeatLogEvent:           "HEARTBEAT",
	ignorableLogEvent:           "IGNORABLE",
	rowsQueryLogEvent:           "ROWS_QUERY",
	writeRowsEvent:              "WRITE_ROWS",
	updateRowsEvent:             "UPDATE_ROWS",
	deleteRowsEvent:             "DELETE_ROWS",
	gtidLogEvent:                "GTID",
	anonymousGTIDLogEvent:       "ANONYMOUS_GTID",
	previousGTIDsLogEvent:       "PREVIOUS_GTIDS",
	transactionContextEvent:     "TRANSACTION_CONTEXT",
	viewChangeEvent:             "VIEW_CHANGE",
	xaPrepareLogEvent:           "XA_PREPARE",
	partialUpdateRowsEvent:      "PARTIAL_UPDATE_ROWS",
	transactionPayloadEvent:     "TRANSACTION_PAYLOAD",
	heartbeatLogEventV2:         "HEARTBEAT_V2",
	gtidTaggedLogEvent:          "GTID_TAGGED",
	annotateRowsEvent:           "ANNOTATE_ROWS",
	binlogCheckpointEvent:       "BINLOG_CHECKPOINT",
	mariaGTIDEvent:              "MARIADB_GTID",
	gtidListEvent:               "GTID_LIST",
	startEncryptionEvent:        "START_ENCRYPTION",
	queryCompressedEvent:        "QUERY_COMPRESSED",
	writeRowsCompressedEventV1:  "WRITE_ROWS_COMPRESSED_V1",
	updateRowsCompressedEventV1: "UPDATE_ROWS_COMPRESSED_V1",
	deleteRowsCompressedEventV1: "DELETE_ROWS_COMPRESSED_V1",
	writeRowsCompressedEvent:    "WRITE_ROWS_COMPRESSED",
	updateRowsCompressedEvent:   "UPDATE_ROWS_COMPRESSED",
	deleteRowsCompressedEvent:   "DELETE_ROWS_COMPRESSED",
	partialRowDataEvent:         "PARTIAL_ROW_DATA",
}

// String returns the name of the type without _EVENT, as in the servers' documentation.
func (k eventType) String() string {
	if name, ok := eventTypeNames[k]; ok {
		return name
	}
	return "type " + strconv.Itoa(int(k))
}
