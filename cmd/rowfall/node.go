package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"rowfall/pipelines"
	"rowfall/replication"
	"rowfall/replication/stream"
	"rowfall/sink"
)

type nodeFlags struct {
	listen, dir, replicaOf string
	masterUser, fsync      string
	logMemory, logKeep     int64
	snapshotMemory         int64
	assumeReplicas         string
}

func newNode(logging *logFlags) *cobra.Command {
	var f nodeFlags
	cmd := &cobra.Command{
		Use:   "node --listen ADDR --dir DIR",
		Short: "Run a node without a pipeline: a cascaded replica, or a stand-by",
		Long: "Run a node without a pipeline. It follows --replicaof, keeps what it gets in --dir, and serves reads and replicas of its own.\n" +
			"The role set at run time (REPLICAOF) is kept in the directory and wins over --replicaof.\n" +
			"Passwords come from the environment: ROWFALL_PASSWORD (clients of this node), ROWFALL_MASTER_PASSWORD (its upstream).",
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runNode(cmd.Context(), logging, f) },
	}
	cmd.Flags().StringVar(&f.listen, "listen", "", "address to listen on, host:port")
	cmd.Flags().StringVar(&f.dir, "dir", "", "directory of snapshots and log")
	cmd.Flags().StringVar(&f.replicaOf, "replicaof", "", "upstream to follow, host:port (first start of a directory)")
	cmd.Flags().StringVar(&f.masterUser, "master-user", "", "user name at the upstream")
	cmd.Flags().StringVar(&f.fsync, "log-fsync", "everysec", "always, everysec or no")
	cmd.Flags().Int64Var(&f.logMemory, "log-memory", 64<<20, "bytes of the log's newest part kept in memory")
	cmd.Flags().Int64Var(&f.logKeep, "log-keep", 10<<30, "bytes of log kept on disk")
	cmd.Flags().Int64Var(&f.snapshotMemory, "snapshot-memory", 0, "bytes that a running snapshot may pin beyond the live data; 0: chosen by the node")
	cmd.Flags().StringVar(&f.assumeReplicas, "assume-replicas", "6.2", "version of replicas that do not tell theirs; 7.0 sends them the faster snapshot")
	return cmd
}

func runNode(ctx context.Context, logging *logFlags, f nodeFlags) error {
	if f.listen == "" || f.dir == "" {
		return usageError{errors.New("a node needs --listen host:port and --dir directory")}
	}
	if f.replicaOf != "" {
		if err := replication.CheckAddr(f.replicaOf); err != nil {
			return usageError{fmt.Errorf("--replicaof: %w", err)}
		}
	}
	log, err := logging.logger("console", "info")
	if err != nil {
		return err
	}
	fsync, err := stream.ParseFsync(f.fsync)
	if err != nil {
		return usageError{fmt.Errorf("--log-fsync: %w", err)}
	}
	var node *replication.Node
	commands := pipelines.NewCommands(func() *replication.Node { return node })
	node, err = replication.Open(replication.Config{
		Listen: f.listen, Dir: f.dir, ReplicaOf: f.replicaOf,
		Password: os.Getenv("ROWFALL_PASSWORD"), MasterUser: f.masterUser, MasterPassword: os.Getenv("ROWFALL_MASTER_PASSWORD"),
		Log:            stream.Config{Memory: f.logMemory, Keep: f.logKeep, Fsync: fsync},
		SnapshotMemory: f.snapshotMemory, AssumeReplicas: f.assumeReplicas,
		HiddenPrefix: sink.HiddenPrefix,
		Commands:     commands.Handlers(), Info: commands.Info,
		Logger: log,
	})
	if err != nil {
		return fmt.Errorf("open node: %w", err)
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
			} else if st.Keys > 0 {
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
