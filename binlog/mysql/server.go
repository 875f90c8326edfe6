package mysql

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
)

// Flavor is the family of a server.
type Flavor uint8

// The flavors. Percona Server and Aurora count as MySQL.
const (
	MySQL Flavor = iota + 1
	MariaDB
)

// String returns "MySQL" or "MariaDB".
func (f Flavor) String() string {
	if f == MariaDB {
		return "MariaDB"
	}
	return "MySQL"
}

// Server holds a server's version and variables at the time of the connection. Its fields are the
// variables that this program uses.
type Server struct {
	Flavor Flavor
	// Version is @@version: "9.7.0", "10.11.6-MariaDB-log".
	Version string
	// Major, Minor and Patch are the numbers at the start of Version.
	Major, Minor, Patch int
	// ServerID is @@server_id; 0 means that the server serves no replicas.
	ServerID uint32
	// UUID is @@server_uuid in lower case. MariaDB has no such variable; mariaDBIdentity
	// computes an identity.
	UUID string
	// GTIDMode is set if every transaction in the binlog has a GTID: gtid_mode is ON, or the server
	// is a MariaDB. With ON_PERMISSIVE, transactions without a GTID may still come, which a GTID
	// position would miss.
	GTIDMode bool
	// LogBin is set if the server writes a binlog (@@log_bin).
	LogBin bool
	// BinlogEngine is @@binlog_storage_engine in lower case: "innodb" where MariaDB 12.3 or later
	// writes its binlog into InnoDB's pages; empty for a binlog in ordinary files.
	BinlogEngine string
	// RowFormat, RowImage and RowMetadata are @@binlog_format ("ROW"),
	// @@binlog_row_image ("FULL") and @@binlog_row_metadata ("MINIMAL",
	// "NO_LOG"), in capitals; empty where the server has no such variable.
	RowFormat, RowImage, RowMetadata string
	// PartialJSON is set if updates of JSON columns may be logged as patches (PARTIAL_JSON in
	// @@binlog_row_value_options).
	PartialJSON bool
	// LogReplicaUpdates is set if the server logs the changes that it replicates to its own binlog
	// (@@log_replica_updates).
	LogReplicaUpdates bool
	// Checksum is @@binlog_checksum: "CRC32" or "NONE".
	Checksum string
	// LowerCaseNames is @@lower_case_table_names: 0, 1 or 2.
	LowerCaseNames int
}

// AtLeast reports whether the server's version is major.minor.patch or later.
func (s Server) AtLeast(major, minor, patch int) bool {
	if s.Major != major {
		return s.Major > major
	}
	if s.Minor != minor {
		return s.Minor > minor
	}
	return s.Patch >= patch
}

// serverQuery reads variables by name. A variable that the server does not have is then absent from
// the result instead of an error.
const serverQuery = `SHOW GLOBAL VARIABLES WHERE Variable_name IN (` +
	`'version','version_comment','server_id','server_uuid','gtid_mode','log_bin',` +
	`'binlog_format','binlog_row_image','binlog_row_metadata','binlog_row_value_options',` +
	`'log_replica_updates','log_slave_updates','binlog_checksum','lower_case_table_names',` +
	`'binlog_storage_engine','server_uid','hostname','port','datadir')`

// parseServer reads the result of serverQuery.
func parseServer(r *Result) (Server, error) {
	v := make(map[string]string, len(r.Rows))
	for _, row := range r.Rows {
		if len(row) == 2 {
			v[strings.ToLower(string(row[0]))] = string(row[1])
		}
	}
	s := Server{
		Flavor:       MySQL,
		Version:      v["version"],
		UUID:         strings.ToLower(v["server_uuid"]),
		LogBin:       on(v["log_bin"]),
		RowFormat:    strings.ToUpper(v["binlog_format"]),
		RowImage:     strings.ToUpper(v["binlog_row_image"]),
		RowMetadata:  strings.ToUpper(v["binlog_row_metadata"]),
		BinlogEngine: strings.ToLower(v["binlog_storage_engine"]),
		PartialJSON: strings.Contains(
			strings.ToUpper(v["binlog_row_value_options"]), "PARTIAL_JSON"),
		LogReplicaUpdates: on(v["log_replica_updates"]) || on(v["log_slave_updates"]),
		Checksum:          strings.ToUpper(v["binlog_checksum"]),
	}
	if strings.Contains(strings.ToLower(s.Version+" "+v["version_comment"]), "mariadb") {
		s.Flavor = MariaDB
	}
	var err error
	if s.Major, s.Minor, s.Patch, err = parseVersion(s.Version); err != nil {
		return Server{}, err
	}
	id, err := strconv.ParseUint(v["server_id"], 10, 32)
	if err != nil {
		return Server{}, fmt.Errorf("read server_id %q: %w", v["server_id"], err)
	}
	s.ServerID = uint32(id)
	if s.LowerCaseNames, err = strconv.Atoi(v["lower_case_table_names"]); err != nil {
		return Server{}, fmt.Errorf("read lower_case_table_names %q: %w",
			v["lower_case_table_names"], err)
	}
	if s.Flavor == MariaDB {
		s.UUID = mariaDBIdentity(s.ServerID, v)
		s.GTIDMode = true
	} else {
		s.GTIDMode = strings.EqualFold(v["gtid_mode"], "ON")
	}
	return s, nil
}

// mariaDBIdentity returns an identity for a MariaDB, from several of its variables. The server id
// alone may be shared (by the nodes of a Galera cluster), and so may server_uid, a hash of hardware
// address and port (by containers). If a server wrongly counts as another one (its host name
// changed), it is followed by GTID. If another server wrongly counted as the same one, its binlog
// would be read at the first server's file and offset.
func mariaDBIdentity(id uint32, variables map[string]string) string {
	h := sha256.New()
	for _, name := range []string{"server_uid", "hostname", "port", "datadir"} {
		_, _ = fmt.Fprintf(h, "%q", variables[name]) // it never fails
	}
	return fmt.Sprintf(mariaDBPrefix+"%d-%x", id, h.Sum(nil)[:8])
}

func on(v string) bool { return strings.EqualFold(v, "ON") || v == "1" }

// parseVersion reads the two or three numbers at the start of a version. MariaDB puts "5.5.5-" in
// front for old replicas.
func parseVersion(version string) (major, minor, patch int, err error) {
	s := version
	if rest, found := strings.CutPrefix(s, "5.5.5-"); found && strings.Contains(s, "MariaDB") {
		s = rest
	}
	end := strings.IndexFunc(s, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end >= 0 {
		s = s[:end]
	}
	parts := strings.Split(strings.TrimRight(s, "."), ".")
	if len(parts) < 2 {
		return 0, 0, 0, fmt.Errorf("read version %q: want two or three numbers", version)
	}
	var n [3]int
	for i := range min(len(parts), 3) {
		if n[i], err = strconv.Atoi(parts[i]); err != nil {
			return 0, 0, 0, fmt.Errorf("read version %q: %w", version, err)
		}
	}
	return n[0], n[1], n[2], nil
}

// VersionNumber returns a version as a number, 80036 for "8.0.36"; 0 for one that cannot be read.
func VersionNumber(version string) int {
	major, minor, patch, err := parseVersion(version)
	if err != nil {
		return 0
	}
	return major*10000 + minor*100 + patch
}

// mariaDBPrefix is the start of every MariaDB's identity.
const mariaDBPrefix = "mariadb-"

// FlavorOf returns the flavor of the server with a Server.UUID.
func FlavorOf(uuid string) Flavor {
	if strings.HasPrefix(uuid, mariaDBPrefix) {
		return MariaDB
	}
	return MySQL
}
