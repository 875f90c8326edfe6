package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// Mode is how much protection a connection needs. The names are those of MySQL's --ssl-mode, in
// lower case and with hyphens.
type Mode string

// The modes.
const (
	// Disabled never encrypts.
	Disabled Mode = "disabled"
	// Preferred encrypts if the server offers TLS, and verifies nothing. It needs a protocol in
	// which the server can offer TLS, as in MySQL's: the caller falls back to plain text.
	Preferred Mode = "preferred"
	// Required encrypts or fails, and verifies nothing.
	Required Mode = "required"
	// VerifyCA is Required, and verifies that the certificate was signed by the CA.
	VerifyCA Mode = "verify-ca"
	// VerifyIdentity is VerifyCA, and verifies that the certificate names the host.
	VerifyIdentity Mode = "verify-identity"
)

// Client is how a connection to a server is protected. Paths name PEM files.
type Client struct {
	// Mode "" means Disabled, unless the owner of the setting has another default.
	Mode Mode
	// CA is the file of the certificate authority; "" means the system's roots.
	CA string
	// Cert and Key are the client's own certificate and its key; both are set, or neither.
	Cert, Key string
}

// Config loads the files and returns the configuration for a connection to host; nil means no TLS.
// If host is "", the caller sets ServerName.
func (c Client) Config(host string) (*tls.Config, error) {
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	switch c.Mode {
	case "", Disabled:
		return nil, nil
	case Preferred, Required:
		config.InsecureSkipVerify = true
	case VerifyCA:
		// crypto/tls verifies the chain and the name together or not at all. To verify the chain
		// alone, that check is off and VerifyConnection does its own.
		config.InsecureSkipVerify = true
		config.VerifyConnection = func(s tls.ConnectionState) error {
			return verifyChain(s, config.RootCAs)
		}
	case VerifyIdentity:
	default:
		return nil, fmt.Errorf(
			"tls mode %q: use disabled, preferred, required, verify-ca or verify-identity", c.Mode)
	}
	if (c.Cert == "") != (c.Key == "") {
		return nil, errors.New("tls cert and key: give both or neither")
	}
	var err error
	if c.CA != "" {
		if config.RootCAs, err = loadCA(c.CA); err != nil {
			return nil, err
		}
	}
	if c.Cert != "" {
		if config.Certificates, err = loadPair(c.Cert, c.Key); err != nil {
			return nil, err
		}
	}
	return config, nil
}

// verifyChain returns an error if no chain leads from the server's certificate to roots. roots nil
// means the system's roots.
func verifyChain(s tls.ConnectionState, roots *x509.CertPool) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the server sent no certificate")
	}
	options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range s.PeerCertificates[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(options)
	return err
}
