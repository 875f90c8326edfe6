package file

import (
	"errors"
	"fmt"
	"time"

	"rowfall/binlog/tlsfiles"
	"rowfall/replication"
)

// NodeConfig configures a node: the embedded node of a pipeline, or that of `rowfall node`.
//
// To add a setting, add a row to NodeSettings with its key, flag, default, doc and check. The field
// is one of replication.Config.
type NodeConfig struct {
	// Config has every setting but those of TLS, which Load reads from files.
	replication.Config
	// ServerTLS protects the connections of clients and replicas.
	ServerTLS tlsfiles.Server
	// MasterTLS protects the connection to the upstream. Preferred is not allowed: the replication
	// protocol cannot find out whether the upstream offers TLS.
	MasterTLS tlsfiles.Client
}

// NodeSetting is one setting of a node. NodeSettings has them all.
type NodeSetting struct {
	// Key is the path below sink.node in a pipeline file, such as log.keep.
	Key string
	// Flag is the flag of `rowfall node`; "" means that only files have the setting.
	Flag string
	// Default is the text of the default; "" means the zero value.
	Default string
	// Doc is one line for the help text.
	Doc string
	// Value returns the field of n with its check.
	Value func(n *NodeConfig) Value
}

// NodeSettings are the settings of a node that are one scalar each.
var NodeSettings = []NodeSetting{
	{
		"listen", "listen", "", "address to listen on, host:port",
		func(n *NodeConfig) Value { return address{plainText{&n.Listen}} },
	},
	{
		"dir", "dir", "", "directory of snapshots and log",
		func(n *NodeConfig) Value { return filePath{plainText{&n.Dir}} },
	},
	// Passwords have no flags: every user of the machine can read the flags of a process.
	{
		"password", "", "", "password that clients and replicas must give",
		func(n *NodeConfig) Value { return plainText{&n.Password} },
	},
	{
		"replicaof", "replicaof", "",
		"upstream to follow, host:port (first start of a directory)",
		func(n *NodeConfig) Value { return address{plainText{&n.ReplicaOf}} },
	},
	{
		"master_user", "master-user", "", "user name at the upstream",
		func(n *NodeConfig) Value { return plainText{&n.MasterUser} },
	},
	{
		"master_password", "", "", "password at the upstream",
		func(n *NodeConfig) Value { return plainText{&n.MasterPassword} },
	},
	{
		"log.memory", "log-memory", "64MiB", "most bytes of log in memory for lagging replicas",
		func(n *NodeConfig) Value { return size{p: &n.Log.Memory, positive: true} },
	},
	{
		"log.keep", "log-keep", "10GiB", "bytes of log kept on disk; -1: all",
		func(n *NodeConfig) Value { return size{p: &n.Log.Keep, positive: true, all: true} },
	},
	{
		"log.keep_age", "log-keep-age", "",
		"how long the log is kept on disk, such as 24h; 0: no limit",
		func(n *NodeConfig) Value { return duration{&n.Log.KeepAge, 0} },
	},
	{
		"log.fsync", "log-fsync", "everysec", "always, everysec or no",
		func(n *NodeConfig) Value { return fsync{&n.Log.Fsync} },
	},
	{
		"min_replicas", "", "",
		"writes stall while fewer replicas have acknowledged the data in time; 0: never",
		func(n *NodeConfig) Value { return number{&n.MinReplicas, 0, 1000} },
	},
	{
		"min_replicas_max_lag", "", "10s", "time in which min_replicas must acknowledge",
		func(n *NodeConfig) Value { return duration{&n.MinReplicasMaxLag, 0} },
	},
	{
		"assume_replicas", "assume-replicas", "6.2",
		"version of replicas that do not report theirs; 7.0 sends them the faster snapshot",
		func(n *NodeConfig) Value { return version{&n.AssumeReplicas} },
	},
	{
		"max_full_syncs", "max-full-syncs", "16", "full resyncs at once, the others wait",
		func(n *NodeConfig) Value { return number{&n.MaxFullSyncs, 1, 10_000} },
	},
	{
		"full_sync_rate", "full-sync-rate", "",
		"bytes a second that all full resyncs may take together; 0: no limit",
		func(n *NodeConfig) Value { return size{p: &n.FullSyncRate} },
	},
	{
		"full_sync_min_rate", "full-sync-min-rate", "1MiB",
		"bytes a second at which a replica must take and load a snapshot, else it is disconnected",
		func(n *NodeConfig) Value { return size{p: &n.FullSyncMinRate, positive: true} },
	},
	{
		"full_sync_slack", "full-sync-slack", "5m",
		"how much longer than at the least rate a full resync may take",
		func(n *NodeConfig) Value { return duration{&n.FullSyncSlack, time.Second} },
	},
	{
		"full_sync_log", "full-sync-log", "",
		"bytes of log that one full resync may keep beyond the log kept; 0: chosen by the node",
		func(n *NodeConfig) Value { return size{p: &n.FullSyncLog} },
	},
	{
		"snapshot_memory", "snapshot-memory", "",
		"bytes that a running snapshot may pin beyond the live data; 0: chosen by the node",
		func(n *NodeConfig) Value { return size{p: &n.SnapshotMemory} },
	},
	{
		"tls.cert", "tls-cert", "",
		"PEM file of the certificate to listen with; without it the node listens in the clear",
		func(n *NodeConfig) Value { return filePath{plainText{&n.ServerTLS.Cert}} },
	},
	{
		"tls.key", "tls-key", "", "PEM file of the certificate's key",
		func(n *NodeConfig) Value { return filePath{plainText{&n.ServerTLS.Key}} },
	},
	{
		"tls.ca", "tls-ca", "", "PEM file; clients must show a certificate that it signed",
		func(n *NodeConfig) Value { return filePath{plainText{&n.ServerTLS.CA}} },
	},
	{
		"master_tls.mode", "", "", "disabled, required, verify-ca or verify-identity",
		func(n *NodeConfig) Value {
			return word{(*string)(&n.MasterTLS.Mode), modes(
				tlsfiles.Disabled, tlsfiles.Required, tlsfiles.VerifyCA, tlsfiles.VerifyIdentity,
			)}
		},
	},
	{
		"master_tls.ca", "master-tls-ca", "",
		"PEM file that the upstream's certificate is verified by (default: the system's); " +
			"implies --master-tls",
		func(n *NodeConfig) Value { return filePath{plainText{&n.MasterTLS.CA}} },
	},
	{
		"master_tls.cert", "", "", "PEM file of the certificate to show to the upstream",
		func(n *NodeConfig) Value { return filePath{plainText{&n.MasterTLS.Cert}} },
	},
	{
		"master_tls.key", "", "", "PEM file of this certificate's key",
		func(n *NodeConfig) Value { return filePath{plainText{&n.MasterTLS.Key}} },
	},
}

func modes(all ...tlsfiles.Mode) []string {
	words := make([]string, len(all))
	for i, m := range all {
		words[i] = string(m)
	}
	return words
}

// defaultNode returns the defaults of NodeSettings.
func defaultNode() NodeConfig {
	var n NodeConfig
	for _, s := range NodeSettings {
		if s.Default == "" {
			continue
		}
		if err := s.Value(&n).Set(s.Default); err != nil {
			panic(fmt.Sprintf("default of the setting %s: %v", s.Key, err))
		}
	}
	return n
}

// SettingError is a fault of one setting of a node.
type SettingError struct {
	Key string // the path below sink.node, such as tls.cert, or tls for a fault of the section
	Err error
}

// Error returns "key: fault".
func (e *SettingError) Error() string { return e.Key + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *SettingError) Unwrap() error { return e.Err }

// Validate checks which settings are required, and which settings fit together. It opens no files.
func (n NodeConfig) Validate() []*SettingError {
	var faults []*SettingError
	check := func(bad bool, key, message string) {
		if bad {
			faults = append(faults, &SettingError{key, errors.New(message)})
		}
	}
	check(n.Listen == "", "listen", "is required: host:port")
	check(n.Dir == "", "dir", "is required: the directory of snapshots and log")
	if n.ReplicaOf != "" {
		if err := replication.CheckUpstream(n.Listen, n.ReplicaOf); err != nil {
			faults = append(faults, &SettingError{"replicaof", err})
		}
	}
	server, master := n.ServerTLS, n.MasterTLS
	check(server.Cert == "" && server != (tlsfiles.Server{}), "tls.cert",
		"is required with a key or ca; without it the node would listen in the clear")
	check(server.Cert != "" && server.Key == "", "tls.key", "is required with a certificate")
	check(master.Cert == "" && master.Key != "", "master_tls.cert", "is required with a key")
	check(master.Cert != "" && master.Key == "", "master_tls.key", "is required with a certificate")
	return faults
}

// Load reads the files with certificates and keys, and returns the configuration of the node with
// TLS and UpstreamTLS set. With faults, the configuration must not be used.
func (n NodeConfig) Load() (replication.Config, []*SettingError) {
	config := n.Config
	var faults []*SettingError
	var err error
	if config.TLS, err = n.ServerTLS.Config(); err != nil {
		faults = append(faults, &SettingError{"tls", err})
	}
	// Without a ServerName the node verifies the host of the upstream that it connects to.
	if config.UpstreamTLS, err = n.MasterTLS.Config(""); err != nil {
		faults = append(faults, &SettingError{"master_tls", err})
	}
	return config, faults
}
