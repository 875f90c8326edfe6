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

// Server is what a server says about itself when a connection begins: a list of
// variables, as long as there are things to ask for.
type Server struct {
	Flavor Flavor
	// Version is @@version: "9.7.0", "10.11.6-MariaDB-log".
	Version string
	// Major, Minor and Patch are the numbers at the start of Version.
	Major, Minor, Patch int
	ServerID            uint32
	// UUID is @@server_uuid; MariaDB has none and gets what mariaDBIdentity
	// makes.
	UUID string
	// GTIDMode says that every transaction in the binlog has a GTID: gtid_mode
	// is ON (under ON_PERMISSIVE anonymous ones may still arrive, which a GTID
	// position would miss), or the server is a MariaDB.
	GTIDMode bool
	LogBin   bool
	// RowFormat, RowImage and RowMetadata are @@binlog_format ("ROW"),
	// @@binlog_row_image ("FULL") and @@binlog_row_metadata ("MINIMAL",
	// "NO_LOG"), in capitals; empty where the server has no such variable.
	RowFormat, RowImage, RowMetadata string
	// PartialJSON says that updates of JSON columns may be logged as patches.
	PartialJSON bool
	// LogReplicaUpdates says that what this server replicates gets into its
	// own binlog.
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

// serverQuery asks by name so that a variable which a server does not have is
// absent from the answer and no error.
const serverQuery = `SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version','version_comment','server_id','server_uuid','gtid_mode','log_bin','binlog_format','binlog_row_image','binlog_row_metadata','binlog_row_value_options','log_replica_updates','log_slave_updates','binlog_checksum','lower_case_table_names','server_uid','hostname','port','datadir')`

// parseServer reads the answer to serverQuery.
func parseServer(r *Result) (Server, error) {
	v := make(map[string]string, len(r.Rows))
	for _, row := range r.Rows {
		if len(row) == 2 {
			v[strings.ToLower(string(row[0]))] = string(row[1])
		}
	}
	s := Server{
		Flavor:            MySQL,
		Version:           v["version"],
		UUID:              strings.ToLower(v["server_uuid"]),
		LogBin:            on(v["log_bin"]),
		RowFormat:         strings.ToUpper(v["binlog_format"]),
		RowImage:          strings.ToUpper(v["binlog_row_image"]),
		RowMetadata:       strings.ToUpper(v["binlog_row_metadata"]),
		PartialJSON:       strings.Contains(strings.ToUpper(v["binlog_row_value_options"]), "PARTIAL_JSON"),
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
		return Server{}, fmt.Errorf("read lower_case_table_names %q: %w", v["lower_case_table_names"], err)
	}
	if s.Flavor == MariaDB {
		s.UUID = mariaDBIdentity(s.ServerID, v)
		s.GTIDMode = true
	} else {
		s.GTIDMode = strings.EqualFold(v["gtid_mode"], "ON")
	}
	return s, nil
}

// mariaDBIdentity tells a MariaDB from others, of which some have the same server
// id (the nodes of a Galera cluster): by its variables, the more the better. Its
// server_uid alone will not do, which is a hash of hardware address and port, and
// containers may have both in common. What counts as another server by mistake (it
// got another host name) is followed by GTID; the other mistake would have its
// binlog read at a place that is not the data's.
func mariaDBIdentity(id uint32, variables map[string]string) string {
	h := sha256.New()
	for _, name := range []string{"server_uid", "hostname", "port", "datadir"} {
		_, _ = fmt.Fprintf(h, "%q", variables[name]) // it never fails
	}
	return fmt.Sprintf(mariaDBPrefix+"%d-%x", id, h.Sum(nil)[:8])
}

func on(v string) bool { return strings.EqualFold(v, "ON") || v == "1" }

// parseVersion reads the two or three numbers that a version begins with.
// "5.5.5-" in front is what MariaDB tells old replicas.
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

// mariaDBPrefix begins the identity of every MariaDB.
const mariaDBPrefix = "mariadb-"

// FlavorOf returns the flavor of the server that a Server.UUID belongs to.
func FlavorOf(uuid string) Flavor {
	if strings.HasPrefix(uuid, mariaDBPrefix) {
		return MariaDB
	}
	return MySQL
}
