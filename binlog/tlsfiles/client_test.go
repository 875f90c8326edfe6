package tlsfiles_test

import (
	"crypto/tls"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"rowfall/binlog/tlsfiles"
)

// TestClientModes dials a server whose certificate is for 127.0.0.1 and example.com.
func TestClientModes(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	if err := os.WriteFile(ca, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tls  tlsfiles.Client
		name string
		ok   bool
	}{
		{tlsfiles.Client{Mode: tlsfiles.Required}, "other", true},
		{tlsfiles.Client{Mode: tlsfiles.Preferred}, "other", true},
		{tlsfiles.Client{Mode: tlsfiles.VerifyCA, CA: ca}, "other", true},
		{tlsfiles.Client{Mode: tlsfiles.VerifyCA}, "127.0.0.1", false},
		{tlsfiles.Client{Mode: tlsfiles.VerifyIdentity, CA: ca}, "127.0.0.1", true},
		{tlsfiles.Client{Mode: tlsfiles.VerifyIdentity, CA: ca}, "other", false},
	} {
		config, err := c.tls.Config(c.name)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := tls.Dial("tcp", server.Listener.Addr().String(), config)
		if err == nil {
			conn.Close()
		}
		if (err == nil) != c.ok {
			t.Errorf("%+v to %s: %v", c.tls, c.name, err)
		}
	}
	if config, err := (tlsfiles.Client{}).Config(""); config != nil || err != nil {
		t.Errorf("without a mode: %v, %v", config, err)
	}
}

// A server of crypto/tls always sends a certificate. The check is for one that does not.
func TestVerifyCAWithoutCertificate(t *testing.T) {
	config, err := tlsfiles.Client{Mode: tlsfiles.VerifyCA}.Config("")
	if err != nil {
		t.Fatal(err)
	}
	if err := config.VerifyConnection(tls.ConnectionState{}); err == nil {
		t.Error("a connection without a certificate was accepted")
	}
}
