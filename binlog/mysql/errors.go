package mysql

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Error numbers that this program's packages compare.
const (
	CodeBadDatabase    = 1049
	CodeUnknownColumn  = 1054
	CodeDuplicateKey   = 1062
	CodeTableDenied    = 1142
	CodeNoSuchTable    = 1146
	CodeLockTimeout    = 1205
	CodeDeadlock       = 1213
	CodeWhileExecuting = 1220
	CodeNoPrivilege    = 1227
	CodeBinlogMissing  = 1236
	CodeTableChanged   = 1412 // the table was altered after the snapshot was opened
	CodeRoleNotGranted = 3530
)

// ServerError is an error that the server returned.
type ServerError struct {
	// Code is the server's error number, for example 1045 or CodeBinlogMissing.
	Code uint16
	// State is the five-character SQLSTATE. It is empty before the handshake is complete.
	State   string
	Message string
}

// Error returns "error 1045 (28000): Access denied ...".
func (e *ServerError) Error() string {
	if e.State == "" {
		return fmt.Sprintf("error %d: %s", e.Code, e.Message)
	}
	return fmt.Sprintf("error %d (%s): %s", e.Code, e.State, e.Message)
}

// ParseError returns the error in an ERR packet's payload (first byte 0xff): a *ServerError, unless
// the packet is malformed.
func ParseError(payload []byte) error {
	if len(payload) < 3 || payload[0] != 0xff {
		return fmt.Errorf("%w: error packet", errMalformed)
	}
	e := &ServerError{Code: binary.LittleEndian.Uint16(payload[1:])}
	b := payload[3:]
	// Errors before the exchange of capabilities have no state.
	if len(b) >= 6 && b[0] == '#' {
		e.State, b = string(b[1:6]), b[6:]
	}
	e.Message = string(b)
	return e
}

// IsCode reports whether err is a *ServerError with this error number.
func IsCode(err error, code uint16) bool {
	var e *ServerError
	return errors.As(err, &e) && e.Code == code
}

// remedies holds remedies for server errors whose own message names no remedy.
var remedies = map[uint16]string{
	1040: "raise max_connections or close other clients",
	1044: "grant SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* to the user",
	1045: "check user and password, and that the account exists " +
		"for the host this comes from",
	1129:            "run FLUSH HOSTS (or TRUNCATE performance_schema.host_cache) on the server",
	1130:            "create the account for the host this comes from",
	1142:            "grant SELECT on the table to the user",
	1143:            "grant SELECT on the whole table to the user",
	CodeNoPrivilege: "grant REPLICATION SLAVE, REPLICATION CLIENT ON *.* to the user",
	1251:            "give the account the plugin caching_sha2_password, or ed25519 on MariaDB",
	3118:            "unlock the account with ALTER USER ... ACCOUNT UNLOCK",
	3159:            "set tls mode to required: the server refuses unencrypted connections",
	3955:            "unlock the account with ALTER USER ... ACCOUNT UNLOCK",
	1862:            "give the account a new password: the old one has expired",
	1820:            "give the account a new password: the old one has expired",
}

// withRemedy adds the remedy to a server's error, if there is one.
func withRemedy(err error) error {
	var e *ServerError
	if errors.As(err, &e) {
		if r := remedies[e.Code]; r != "" {
			return fmt.Errorf("%w; %s", err, r)
		}
	}
	return err
}
