package mysql

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// Config holds the addresses of a server and the credentials for it.
type Config struct {
	// Addresses are host:port or absolute paths of Unix sockets. Dial tries them in order.
	Addresses []string
	User      string
	Password  string
	TLS       TLS
	// Timeout bounds connecting to and authenticating at one address; 0 is 10 s.
	Timeout time.Duration
	// Silence bounds how long the server may send nothing while a statement runs; 0 is one
	// minute. Past it the statement fails with a SilentError and the connection is closed.
	Silence time.Duration
	// LockWait bounds how long a statement waits for a metadata lock, in whole seconds; 0 is ten
	// seconds. Past it the statement fails with CodeLockTimeout. It must be below Silence.
	LockWait time.Duration
}

const defaultLockWait = 10 * time.Second

func (c Config) lockWait() time.Duration {
	if c.LockWait <= 0 {
		return defaultLockWait
	}
	return c.LockWait
}

// Mode is how TLS is used. The names are MySQL's own (--ssl-mode).
type Mode string

// The TLS modes.
const (
	// Disabled never encrypts.
	Disabled Mode = "disabled"
	// Preferred encrypts if the server supports TLS, and verifies nothing; it is the default. A
	// Unix socket is not encrypted.
	Preferred Mode = "preferred"
	// Required encrypts or fails, verifying nothing.
	Required Mode = "required"
	// VerifyCA is Required, and the certificate must be signed by the CA.
	VerifyCA Mode = "verify-ca"
	// VerifyIdentity is VerifyCA, and the certificate must name the host.
	VerifyIdentity Mode = "verify-identity"
)

// TLS configures the encryption of a connection. Files are PEM.
type TLS struct {
	// Mode empty is Preferred.
	Mode Mode
	// CA is a file of root certificates; empty means the system's. Cert and Key are the client's
	// certificate, both or neither.
	CA, Cert, Key string
}

// config returns the configuration for an address; nil means no TLS.
func (t TLS) config(address string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if host, _, err := net.SplitHostPort(address); err == nil {
		c.ServerName = host
	}
	switch t.Mode {
	case Disabled:
		return nil, nil
	case Preferred, "", Required:
		c.InsecureSkipVerify = true
	case VerifyCA:
		// crypto/tls verifies chain and name together. Here its verification is switched off, and
		// the chain alone is verified after the handshake.
		c.InsecureSkipVerify = true
		c.VerifyConnection = func(s tls.ConnectionState) error { return verifyChain(s, c.RootCAs) }
	case VerifyIdentity:
		if c.ServerName == "" {
			return nil, errors.New("tls mode verify-identity needs a host name, not a socket")
		}
	default:
		return nil, fmt.Errorf("tls mode %q: use disabled, preferred, required, "+
			"verify-ca or verify-identity", t.Mode)
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("read tls ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read tls ca %s: no PEM certificate in it", t.CA)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		return nil, errors.New("tls cert and key: give both or neither")
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("read tls cert and key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// CheckFiles loads the files and returns the first error. Each connection loads them again.
func (t TLS) CheckFiles() error {
	_, err := t.config("host:3306") // a host, so that verify-identity has a name
	return err
}

// optional reports whether a server without TLS is accepted.
func (t TLS) optional() bool { return t.Mode == "" || t.Mode == Preferred }

func verifyChain(s tls.ConnectionState, roots *x509.CertPool) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the server sent no certificate")
	}
	o := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range s.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(o)
	return err
}

func isSocket(address string) bool { return strings.HasPrefix(address, "/") }
