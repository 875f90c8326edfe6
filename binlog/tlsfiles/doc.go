// Package tlsfiles turns settings that name PEM files into configurations of crypto/tls. Client is
// for connections that this process opens, Server for connections that it accepts. binlog/mysql
// uses it for MySQL; pipelines/file and cmd use it for a node's listener and upstream, so that the
// settings mean the same everywhere.
package tlsfiles
