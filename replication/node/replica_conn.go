package node

import (
	"net"
	"strconv"

	"rowfall/replication/resp"
)

// Announced is what a connection announced about itself by REPLCONF.
type Announced struct {
	IP, Version string
	Port        int
	PSync2      bool // capa psync2: +CONTINUE may name a new replication id
	EOF         bool // capa eof: the snapshot may end with a mark instead of having a length first
	Listpacks   bool // it loads listpacks
	RDBOnly     bool // rdb-only: it requests the snapshot without the log after it
	RDBEmpty    bool // rdb-filter-only: it requests only parts of the snapshot that are empty
}

// ReplicaConn is a connection that the clients' side hands over to Node.ServeReplica. The node
// reads and writes it until ServeReplica returns, and may close it. The clients' side closes it
// afterwards.
type ReplicaConn struct {
	Conn      net.Conn
	Socket    net.Conn     // the connection below TLS, else Conn
	Reader    *resp.Reader // reads from Conn
	Announced Announced
	Admitted  func() // called once PSYNC is granted, before anything is sent
}

// cut closes the socket, so that every read and write ends. It does not send the TLS close alert:
// if the peer does not read, that write would block.
func (c *ReplicaConn) cut() { c.Socket.Close() }

// addr is the address at which the replica listens. The parts that the replica did not announce are
// those of the connection's peer.
func (c *ReplicaConn) addr() string {
	host, port, _ := net.SplitHostPort(c.Conn.RemoteAddr().String())
	if c.Announced.IP != "" {
		host = c.Announced.IP
	}
	if c.Announced.Port != 0 {
		port = strconv.Itoa(c.Announced.Port)
	}
	return net.JoinHostPort(host, port)
}
