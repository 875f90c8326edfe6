package mysql

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"rowfall/binlog/tlsfiles"
)

// Config is the address of a MySQL or MariaDB server, and how to log in there.
type Config struct {
	// Addresses are host:port or the absolute path of a Unix socket. Dial tries them in this order.
	Addresses []string
	User      string
	Password  string
	// ReadPassword returns the password for one connection; nil means Password. A password that is
	// kept in a file may change while connections exist.
	ReadPassword func() (string, error)
	// Attributes are attributes of connections in addition to program_name=rowfall. Servers show
	// them in performance_schema.session_connect_attrs.
	Attributes map[string]string
	// TLS with the Mode "" is tlsfiles.Preferred. In this mode a Unix socket is not encrypted.
	TLS tlsfiles.Client
	// Timeout bounds connecting and authenticating at one address; 0 means 10 seconds.
	Timeout time.Duration
	// Silence bounds how long the server may send nothing while a statement runs; 0 means one
	// minute. After that time the statement fails with a SilentError and the connection is closed.
	Silence time.Duration
	// LockWait bounds how long a statement waits for a metadata lock, in whole seconds; 0 means ten
	// seconds. After that time the statement fails with CodeLockTimeout. LockWait must be below
	// Silence.
	LockWait time.Duration
}

const defaultLockWait = 10 * time.Second

func (c Config) lockWait() time.Duration {
	if c.LockWait <= 0 {
		return defaultLockWait
	}
	return c.LockWait
}

// password returns the password for a new connection.
func (c Config) password() (string, error) {
	if c.ReadPassword == nil {
		return c.Password, nil
	}
	password, err := c.ReadPassword()
	if err != nil {
		return "", fmt.Errorf("read the password of the user %s: %w", c.User, err)
	}
	return password, nil
}

// tlsConfig loads the TLS files and returns the configuration for a connection to address; nil
// means no TLS.
func (c Config) tlsConfig(address string) (*tls.Config, error) {
	client := c.TLS
	client.Mode = cmp.Or(client.Mode, tlsfiles.Preferred)
	host, _, err := net.SplitHostPort(address)
	if err != nil && client.Mode == tlsfiles.VerifyIdentity {
		return nil, errors.New("tls mode verify-identity needs a host name, not a socket")
	}
	config, err := client.Config(host)
	if err == nil && c.tlsOptional() && isSocket(address) {
		return nil, nil
	}
	return config, err
}

// CheckFiles loads the TLS files and returns an error if they cannot be used. Each connection loads
// them again.
func (c Config) CheckFiles() error {
	_, err := c.tlsConfig("host:3306") // any host does: no connection is opened
	return err
}

// tlsOptional reports whether a connection to a server without TLS is allowed.
func (c Config) tlsOptional() bool {
	return c.TLS.Mode == "" || c.TLS.Mode == tlsfiles.Preferred
}

func isSocket(address string) bool { return strings.HasPrefix(address, "/") }
