package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"rowfall/pipelines"
	"rowfall/pipelines/file"
	"rowfall/replication"
	"rowfall/replication/replog"
	"rowfall/sink"
)

type nodeFlags struct {
	listen, dir, replicaOf string
	masterUser, fsync      string
	logMemory, logKeep     int64
	snapshotMemory         int64
	assumeReplicas         string
	keepAge                time.Duration
	maxFullSyncs           int
	fullSyncRate           int64
	fullSyncMinRate        int64
	fullSyncSlack          time.Duration
	fullSyncLog            int64
	tls                    file.ServerTLS
	masterTLS              bool
	masterCA               string
	passwordFile           string
	masterPasswordFile     string
}

func newNode(logging *logFlags) *cobra.Command {
	var f nodeFlags
	cmd := &cobra.Command{
		Use:   "node --listen ADDR --dir DIR",
		Short: "Run a node without a pipeline: a cascaded replica, or a stand-by",
		Long: "Run a node without a pipeline. It follows --replicaof, keeps what it gets in --dir, and serves reads and replicas of its own.\n" +
			"The role set at run time (REPLICAOF) is kept in the directory and wins over --replicaof.\n" +
			"Passwords come from the environment: ROWFALL_PASSWORD (clients of this node), ROWFALL_MASTER_PASSWORD (its upstream), or from files.",
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runNode(cmd.Context(), logging, f) },
	}
	cmd.Flags().StringVar(&f.listen, "listen", "", "address to listen on, host:port")
	cmd.Flags().StringVar(&f.dir, "dir", "", "directory of snapshots and log")
	cmd.Flags().StringVar(&f.replicaOf, "replicaof", "", "upstream to follow, host:port (first start of a directory)")
	cmd.Flags().StringVar(&f.masterUser, "master-user", "", "user name at the upstream")
	cmd.Flags().StringVar(&f.fsync, "log-fsync", "everysec", "always, everysec or no")
	cmd.Flags().Int64Var(&f.logMemory, "log-memory", 64<<20, "bytes of the log's newest part kept in memory")
	cmd.Flags().Int64Var(&f.logKeep, "log-keep", 10<<30, "bytes of log kept on disk; -1: all")
	cmd.Flags().Int64Var(&f.snapshotMemory, "snapshot-memory", 0, "bytes that a running snapshot may pin beyond the live data; 0: chosen by the node")
	cmd.Flags().StringVar(&f.assumeReplicas, "assume-replicas", "6.2", "version of replicas that do not tell theirs; 7.0 sends them the faster snapshot")
	cmd.Flags().DurationVar(&f.keepAge, "log-keep-age", 0, "how long the log is kept on disk, such as 24h; 0: no limit")
	cmd.Flags().IntVar(&f.maxFullSyncs, "max-full-syncs", 16, "full resyncs at once, the others wait")
	cmd.Flags().Int64Var(&f.fullSyncRate, "full-sync-rate", 0, "bytes a second that all full resyncs may take together; 0: no limit")
	cmd.Flags().Int64Var(&f.fullSyncMinRate, "full-sync-min-rate", 1<<20,
		"bytes a second at which a replica must take and load a snapshot, else it is disconnected")
	cmd.Flags().DurationVar(&f.fullSyncSlack, "full-sync-slack", 5*time.Minute,
		"how much longer than at --full-sync-min-rate a full resync may take")
	cmd.Flags().Int64Var(&f.fullSyncLog, "full-sync-log", 0,
		"bytes of log that one full resync may keep beyond --log-keep; 0: chosen by the node")
	cmd.Flags().StringVar(&f.tls.Cert, "tls-cert", "", "PEM file of the certificate to listen with; without it the node listens in the clear")
	cmd.Flags().StringVar(&f.tls.Key, "tls-key", "", "PEM file of the certificate's key")
	cmd.Flags().StringVar(&f.tls.CA, "tls-ca", "", "PEM file; clients must show a certificate that it signed")
	cmd.Flags().BoolVar(&f.masterTLS, "master-tls", false, "reach the upstream by TLS and verify its certificate")
	cmd.Flags().StringVar(&f.masterCA, "master-tls-ca", "", "PEM file that the upstream's certificate is verified by (default: the system's); implies --master-tls")
	cmd.Flags().StringVar(&f.passwordFile, "password-file", "", "file with the password of this node's clients; wins over ROWFALL_PASSWORD")
	cmd.Flags().StringVar(&f.masterPasswordFile, "master-password-file", "", "file with the password for the upstream; wins over ROWFALL_MASTER_PASSWORD")
	return cmd
}

// secret is what a file says, without the newline at its end, or the environment
// where no file is named: a flag's own value would be seen in every list of processes.
func secret(flag, file, variable string) (string, error) {
	if file == "" {
		return os.Getenv(variable), nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("--%s: %w", flag, err)
	}
	text := strings.TrimRight(string(b), "\r\n")
	if text == "" {
		return "", fmt.Errorf("--%s: %s is empty", flag, file)
	}
	return text, nil
}

// upstreamTLS is nil where the upstream is reached in the clear.
func (f nodeFlags) upstreamTLS() (*tls.Config, error) {
	if !f.masterTLS && f.masterCA == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.masterCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(f.masterCA)
	if err != nil {
		return nil, fmt.Errorf("--master-tls-ca: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--master-tls-ca: no PEM certificate in %s", f.masterCA)
	}
	return c, nil
}

// config returns what the flags ask for, without what the command itself adds. It checks every
// flag, and opens nothing but the files that flags name.
func (f nodeFlags) config() (replication.Config, error) {
	var faults []error
	check := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	check(f.validate())
	fsync, err := replog.ParseFsync(f.fsync)
	if err != nil {
		check(fmt.Errorf("--log-fsync: %w", err))
	}
	password, err := secret("password-file", f.passwordFile, "ROWFALL_PASSWORD")
	check(err)
	masterPassword, err := secret("master-password-file", f.masterPasswordFile, "ROWFALL_MASTER_PASSWORD")
	check(err)
	if f.tls.Cert == "" && f.tls != (file.ServerTLS{}) {
		check(errors.New("--tls-key and --tls-ca need --tls-cert: " +
			"without it the node would listen in the clear"))
	}
	listenTLS, err := f.tls.Config()
	if err != nil {
		check(fmt.Errorf("--tls-cert: %w", err))
	}
	masterTLS, err := f.upstreamTLS()
	check(err)
	return replication.Config{
		Listen: f.listen, Dir: f.dir, ReplicaOf: f.replicaOf,
		Password: password, MasterUser: f.masterUser, MasterPassword: masterPassword,
		TLS: listenTLS, UpstreamTLS: masterTLS,
		Log:            replog.Config{Memory: f.logMemory, Keep: f.logKeep, KeepAge: f.keepAge, Fsync: fsync},
		SnapshotMemory: f.snapshotMemory, AssumeReplicas: f.assumeReplicas,
		MaxFullSyncs: f.maxFullSyncs, FullSyncRate: f.fullSyncRate,
		FullSyncMinRate: f.fullSyncMinRate, FullSyncSlack: f.fullSyncSlack, FullSyncLog: f.fullSyncLog,
	}, errors.Join(faults...)
}

// validate checks what flags say by themselves.
func (f nodeFlags) validate() error {
	var faults []error
	check := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	if f.listen == "" || f.dir == "" {
		check(true, "a node needs --listen host:port and --dir directory")
	}
	if f.listen != "" {
		err := replication.CheckHostPort(f.listen)
		check(err != nil, "--listen %w", err)
	}
	if f.replicaOf != "" {
		err := replication.CheckUpstream(f.listen, f.replicaOf)
		check(err != nil, "--replicaof %w", err)
	}
	check(f.logMemory < 1, "--log-memory %d: want at least 1 byte", f.logMemory)
	check(f.logKeep == 0 || f.logKeep < -1,
		"--log-keep %d: want at least 1 byte, or -1 for all", f.logKeep)
	check(f.keepAge < 0, "--log-keep-age %s: want a time, or 0 for no limit", f.keepAge)
	check(f.snapshotMemory < 0,
		"--snapshot-memory %d: want bytes, or 0 for the node's own choice", f.snapshotMemory)
	check(f.maxFullSyncs < 1, "--max-full-syncs %d: want at least 1", f.maxFullSyncs)
	check(f.fullSyncRate < 0,
		"--full-sync-rate %d: want bytes a second, or 0 for no limit", f.fullSyncRate)
	check(f.fullSyncMinRate < 1,
		"--full-sync-min-rate %d: want at least 1 byte a second", f.fullSyncMinRate)
	check(f.fullSyncSlack < time.Second,
		"--full-sync-slack %s: want at least 1s", f.fullSyncSlack)
	check(f.fullSyncLog < 0,
		"--full-sync-log %d: want bytes, or 0 for the node's own choice", f.fullSyncLog)
	check(!replicaVersion.MatchString(f.assumeReplicas),
		"--assume-replicas %s: want a version such as 6.2 or 7.0", f.assumeReplicas)
	return errors.Join(faults...)
}

// replicaVersion is the form of --assume-replicas.
var replicaVersion = regexp.MustCompile(`^[1-9][0-9]{0,2}(\.[0-9]+)*$`)

func runNode(ctx context.Context, logging *logFlags, f nodeFlags) error {
	log, err := logging.logger("console", "info")
	if err != nil {
		return err
	}
	config, err := f.config()
	if err != nil {
		return usageError{err}
	}
	var node *replication.Node
	commands := pipelines.NewCommands(func() *replication.Node { return node })
	config.HiddenPrefix, config.Logger = sink.HiddenPrefix, log
	config.Commands, config.Info = commands.Handlers(), commands.Info
	node, err = replication.Open(config)
	if err != nil {
		return err // it says that the node was to be opened
	}
	began := time.Now()
	log.Info().Str("listen", node.Addr()).Str("dir", f.dir).Msg("node is open")
	ctx, cancel := context.WithCancel(ctx)
	var judge sync.WaitGroup
	defer judge.Wait()
	defer cancel()
	judge.Go(func() { judgeData(ctx, node, commands, log) })
	if err := node.Run(ctx); err != nil && !errors.Is(err, replication.ErrClosed) {
		return fmt.Errorf("run node: %w", err)
	}
	log.Info().Dur("after", time.Since(began)).Msg("node is closed")
	return nil
}

// judgeData says, whenever the node is or becomes a master, whether its data are
// complete: those of a pipeline tell themselves. Of others the node knows.
func judgeData(ctx context.Context, node *replication.Node, commands *pipelines.Commands, log zerolog.Logger) {
	for {
		changed := node.RoleChanged()
		if role, _ := node.Role(); role == replication.Master {
			if st := node.Status(); commands.Complete() {
				node.SetComplete(true)
			} else if st.Keys+st.HiddenKeys > 0 { // the state of a first load is hidden, and may be all there is
				node.SetComplete(false)
			}
			if !node.Status().Complete {
				log.Warn().Msg("the node is a master without complete data: replicas are answered LOADING; give it some with REPLICAOF host port, then promote it with REPLICAOF NO ONE")
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
