package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// Server is how accepted connections are protected. Paths name PEM files.
type Server struct {
	// Cert and Key are the server's certificate and its key. Without Cert there is no TLS.
	Cert, Key string
	// CA is the file of a certificate authority. If it is set, clients must show a certificate
	// that this authority signed.
	CA string
}

// Config loads the files and returns the configuration for a listener; nil means no TLS.
func (s Server) Config() (*tls.Config, error) {
	if s.Cert == "" {
		return nil, nil
	}
	pair, err := loadPair(s.Cert, s.Key)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: pair, MinVersion: tls.VersionTLS12}
	if s.CA != "" {
		config.ClientAuth = tls.RequireAndVerifyClientCert
		if config.ClientCAs, err = loadCA(s.CA); err != nil {
			return nil, err
		}
	}
	return config, nil
}

func loadPair(cert, key string) ([]tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	return []tls.Certificate{pair}, nil
}

func loadCA(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("load certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("load certificate authority %s: no PEM certificate in it", path)
	}
	return pool, nil
}
