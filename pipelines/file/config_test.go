package file_test

import (
	"crypto/tls"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"rowfall/binlog/mysql"
	"rowfall/pipelines/file"
)

// TLS to an upstream was in the node and could not be asked for in a file.
func TestMasterTLS(t *testing.T) {
	server := httptest.NewTLSServer(nil) // its certificate is for 127.0.0.1 and example.com
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tls  file.MasterTLS
		name string
		ok   bool
	}{
		{file.MasterTLS{Mode: mysql.Required}, "other", true},
		{file.MasterTLS{Mode: mysql.VerifyCA, CA: ca}, "other", true},
		{file.MasterTLS{Mode: mysql.VerifyCA}, "127.0.0.1", false},
		{file.MasterTLS{Mode: mysql.VerifyIdentity, CA: ca}, "127.0.0.1", true},
		{file.MasterTLS{Mode: mysql.VerifyIdentity, CA: ca}, "other", false},
	} {
		config, err := c.tls.Config()
		if err != nil {
			t.Fatal(err)
		}
		config.ServerName = c.name
		conn, err := tls.Dial("tcp", server.Listener.Addr().String(), config)
		if err == nil {
			conn.Close()
		}
		if (err == nil) != c.ok {
			t.Errorf("%+v to %s: %v", c.tls, c.name, err)
		}
	}
	if config, err := (file.MasterTLS{}).Config(); config != nil || err != nil {
		t.Errorf("without a mode: %v, %v", config, err)
	}
}
