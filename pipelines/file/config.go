package file

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"rowfall/binlog/mysql"
	"rowfall/replication/replog"
	"rowfall/transform"
)

// Config is one pipeline file, read strictly and validated.
type Config struct {
	// Path is the file it was read from; messages begin with it.
	Path string
	// Name is the pipeline's name: [a-z0-9-]+.
	Name    string
	Source  SourceConfig
	Mapping transform.Mapping
	Node    NodeConfig
	Log     LogConfig

	lines map[string]int // where each path of the file stands
}

// SourceConfig says where changes come from.
type SourceConfig struct {
	MySQL mysql.Config
	// ServerID is this reader's id among the server's replicas; 0 derives one
	// from pipeline, directory, host and purpose.
	ServerID uint32
	// Start is a POSITION, used only when the sink holds none.
	Start    string
	Backfill BackfillConfig
}

// BackfillConfig bounds the reading of rows by SELECT.
type BackfillConfig struct {
	ChunkRows     int // rows of one SELECT, 1 to 1,000,000
	Parallel      int // tables read at once, 1 to 64
	RowsPerSecond int // 0: no limit
}

// NodeConfig is the embedded replication node.
type NodeConfig struct {
	Listen         string
	Dir            string
	Password       string
	MasterUser     string
	MasterPassword string
	MasterTLS      MasterTLS
	ReplicaOf      string // first start only
	Log            replog.Config
	TLS            ServerTLS
	// The pipeline is held back until MinReplicas have what is older than
	// MinReplicasMaxLag.
	MinReplicas       int
	MinReplicasMaxLag time.Duration
	// AssumeReplicas is the version of replicas that do not tell theirs (Redis
	// before 8.0): 6.2 gets a slower form of snapshots.
	AssumeReplicas string
	MaxFullSyncs   int   // full resyncs at once
	FullSyncRate   int64 // bytes a second of all full resyncs together; 0: no limit
	// A replica must take its snapshot at FullSyncMinRate bytes a second on average over
	// FullSyncSlack, and have loaded it after its size at that rate and FullSyncSlack.
	FullSyncMinRate int64
	FullSyncSlack   time.Duration
	// FullSyncLog is what one full resync may keep of the log beyond Log.Keep, in
	// bytes; 0 is the node's own choice.
	FullSyncLog int64
	// SnapshotMemory is what a running snapshot may pin beyond the live data,
	// in bytes; 0 is the node's own choice.
	SnapshotMemory int64
	// A larger transaction is split into several units (rows, bytes).
	MaxAtomicRows  int
	MaxAtomicBytes int
}

// ServerTLS are PEM files; without Cert the node listens in the clear. With CA,
// clients and replicas must show a certificate of that authority.
type ServerTLS struct{ Cert, Key, CA string }

// Config loads the files; nil where TLS is not asked for.
func (t ServerTLS) Config() (*tls.Config, error) {
	if t.Cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		c.ClientAuth = tls.RequireAndVerifyClientCert
		if c.ClientCAs, err = loadCA(t.CA); err != nil {
			return nil, err
		}
	}
	return c, nil
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

// MasterTLS says how the link to a replica's upstream is protected. The modes are
// those of source.mysql.tls but preferred: this protocol cannot ask whether the
// other side would encrypt. Files are PEM.
type MasterTLS struct {
	Mode          mysql.Mode // empty: disabled
	CA, Cert, Key string     // without CA the system's roots; Cert and Key both or neither
}

// Config loads the files; nil where TLS is not asked for.
func (t MasterTLS) Config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	switch t.Mode {
	case "", mysql.Disabled:
		return nil, nil
	case mysql.Required:
		c.InsecureSkipVerify = true
	case mysql.VerifyCA:
		// crypto/tls verifies chain and name together; the chain alone it leaves to us.
		c.InsecureSkipVerify = true
		c.VerifyConnection = func(s tls.ConnectionState) error {
			o := x509.VerifyOptions{Roots: c.RootCAs, Intermediates: x509.NewCertPool()}
			for _, cert := range s.PeerCertificates[1:] {
				o.Intermediates.AddCert(cert)
			}
			_, err := s.PeerCertificates[0].Verify(o)
			return err
		}
	}
	var err error
	if t.CA != "" {
		if c.RootCAs, err = loadCA(t.CA); err != nil {
			return nil, err
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("load certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// LogConfig is what is logged and how.
type LogConfig struct {
	Level  string // trace, debug, info, warn, error
	Format string // console, json
}

// Defaults returns the values that a file need not give.
func Defaults() Config {
	return Config{
		Source: SourceConfig{
			Start:    "snapshot",
			Backfill: BackfillConfig{ChunkRows: 10000, Parallel: 2},
		},
		Node: NodeConfig{
			Log:               replog.Config{Memory: 64 << 20, Keep: 10 << 30, Fsync: replog.EverySecond},
			MinReplicasMaxLag: 10 * time.Second, AssumeReplicas: "6.2", MaxFullSyncs: 16,
			FullSyncMinRate: 1 << 20, FullSyncSlack: 5 * time.Minute,
			MaxAtomicRows:  10000,
			MaxAtomicBytes: 64 << 20,
		},
		Log: LogConfig{Level: "info", Format: "console"},
	}
}
