// Package replication is a node: a Redis-protocol master and replica by itself.
//
// A Node keeps a keyspace in memory, the replication log on disk, and a snapshot file to start
// from. Real Redis and Valkey servers attach to it with REPLICAOF, it can itself follow any of
// them, and clients read from it. Its only writer is the Go program that holds it, through
// Node.Apply; writes of clients get READONLY. It stores database 0 only. The node does not know the
// source of the units.
//
// # Promises
//
// DESIGN.md in this folder describes how each is kept.
//
//   - A unit given to Apply becomes visible, and is sent to replicas, as a whole or not at
//     all, and only after its exact bytes are in the log.
//   - An offset names the same bytes forever under one replication id. If a restart may have
//     lost bytes, a new id begins before any replica is answered.
//   - A slow replica costs a cursor into the log, never memory, and delays nobody else.
//   - An incomplete node never wipes its replicas: PSYNC gets LOADING.
//   - A replacement of all data is built while the old data serve, and replaces them in one step.
//
// # Files
//
//	the API           node.go, core.go (the types of package node under this package's names)
//	connections       loading.go (LOADING while Open runs), clients.go (accepts), session.go (one
//	                  connection), reply.go, client_memory.go, pacing_linux.go
//	execution         dispatch.go (which part executes a command), commands.go (the table, and
//	                  short commands), readgate.go (LOADING and MASTERDOWN)
//	commands          transaction.go (MULTI), replconf.go (REPLCONF, PSYNC), wait.go,
//	                  failover_command.go, client.go (CLIENT), command.go (COMMAND),
//	                  config_command.go (CONFIG), info.go
//
// This package is the clients' side: it accepts connections and executes commands. It calls package
// node, the core, which knows no client. Packages below hold what can be understood and tested
// without a node:
//
//	node          the core: role, log, snapshots, replicas, and the link to the upstream
//	disk          the file system, and atomic writes of small files
//	replog        the replication log
//	identity      replication ids, role and the lock of a directory; the answer to PSYNC
//	snapshots     the snapshot files
//	progress      how far one replica has come
//	syncthrottle  slots, rates and delays of full resyncs
//	upstream      a replica's side of the wire
//	notify        wakes goroutines that wait for a change
//	clientconn    a client's connection, with few system calls per request
//	keyspace, rdb, resp
//
// Config is one struct for this package and package node, because the owner of a node sets all of
// its options in one composite literal. If the core had its own Config inside this one, every owner
// would have to import package node to write that literal.
//
// The files *_helper_test.go hold what several tests use.
//
// The package has more than 12 files because every command, or group of commands, with its own
// rules has its own file.
package replication
