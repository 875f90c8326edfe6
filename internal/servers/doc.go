// Package servers runs real database servers for the demo and for tests: MySQL, MariaDB, three ages of Redis and
// two of Valkey.
//
// It needs no Docker and no root, installs nothing system-wide and starts no service. A server comes from the first of
// these places that has one:
//
//  1. the binary that an environment variable names (ROWFALL_MYSQLD, ROWFALL_MARIADBD, ROWFALL_REDIS_SERVER,
//     ROWFALL_REDIS_STABLE_SERVER, ROWFALL_REDIS_OLDEST_SERVER, ROWFALL_VALKEY_SERVER, ROWFALL_VALKEY_STABLE_SERVER);
//  2. a binary on PATH whose version says that it is the kind asked for;
//  3. the packages of the machine's own Debian or Ubuntu mirror, unpacked into a folder of the user's cache
//     (ROWFALL_CACHE, else rowfall/servers in the user's cache directory); for Redis 6.2, which no distribution has any
//     more, a package of Python's index, fetched by pip with its checksum pinned.
//
// The third way keeps a private apt state with an empty list of installed packages, so that apt fetches every library a
// server needs, libc included, and the binary runs through that libc's own loader. So a server of Debian's newest suite
// runs on an older system. Everything lands in a temporary folder that is renamed when complete, under a file lock:
// a second run finds it, and two runs at once are safe.
//
// The cache folder holds
//
//	packages/SUITE-ROLE-ARCH-rN/    the unpacked packages of one suite; PROJECT-VERSION-ARCH-rN of a Python package
//	data/KIND-HASH/                 an initialised data directory, copied for each server started
//
// and can be deleted at any time.
//
// The servers started are children of this process. They listen on 127.0.0.1 only, have an empty root password, and on
// Linux the kernel kills them when this process dies, however it dies.
//
// The package is a little longer than most here: where a server comes from (packages.go, sources.go, wheel.go) and how it is run
// (process.go, database.go, cache.go) meet in Installation, which is all that its users see.
package servers
