// Package tlsfiles turns settings that name PEM files into configurations of crypto/tls. Client is
// for connections that this process opens, Server for connections that it accepts.
package tlsfiles
