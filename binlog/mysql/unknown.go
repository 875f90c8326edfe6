package mysql

// unknownServer takes the place of a Server.UUID that is not known.
const unknownServer = "unknown"

// UnknownServer returns what takes the place of a Server.UUID if the server is not known, as for
// data from binlog files. FlavorOf returns the flavor for it.
func UnknownServer(f Flavor) string {
	if f == MariaDB {
		return mariaDBPrefix + unknownServer
	}
	return unknownServer
}

// IsUnknownServer reports whether a string is a result of UnknownServer.
func IsUnknownServer(uuid string) bool {
	return uuid == unknownServer || uuid == mariaDBPrefix+unknownServer
}
