package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"rowfall/binlog/tlsfiles"
	"rowfall/pipelines"
	"rowfall/pipelines/file"
	"rowfall/replication"
)

// nodeFlags are the flags of `rowfall node`. Those of file.NodeSettings are stored in node.
type nodeFlags struct {
	node               file.NodeConfig
	faults             []*file.SettingError // of flags with a wrong text
	masterTLS          bool
	passwordFile       string
	masterPasswordFile string
}

// flagValue is a setting of a node as a flag. Set keeps a fault instead of returning it, so that
// one run reports the faults of all flags.
type flagValue struct {
	file.Value
	key    string
	faults *[]*file.SettingError
}

func (v flagValue) Set(text string) error {
	if err := v.Value.Set(text); err != nil {
		*v.faults = append(*v.faults, &file.SettingError{Key: v.key, Err: err})
	}
	return nil
}

// flagError returns a fault with the name of the setting's flag. The fault of a section, such as
// tls, gets the first flag of that section.
func flagError(e *file.SettingError) error {
	for _, s := range file.NodeSettings {
		if s.Flag != "" && (s.Key == e.Key || strings.HasPrefix(s.Key, e.Key+".")) {
			return fmt.Errorf("--%s: %w", s.Flag, e.Err)
		}
	}
	return e
}

func newNode(logging *logFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node --listen ADDR --dir DIR",
		Short: "Run a node without a pipeline: a cascaded replica, or a standby",
		Long: "Run a node without a pipeline. It follows --replicaof, keeps the received data " +
			"in --dir, and serves reads and replicas of its own.\n" +
			"A role that was set at run time (REPLICAOF) is kept in the directory and overrides " +
			"--replicaof.\n" +
			"Passwords come from files, or from the environment: ROWFALL_PASSWORD (clients of " +
			"this node), ROWFALL_MASTER_PASSWORD (its upstream).",
		Args: noArguments,
	}
	f := newNodeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return runNode(cmd.Context(), logging, f)
	}
	return cmd
}

// newNodeFlags adds the flags of a node to cmd.
func newNodeFlags(cmd *cobra.Command) *nodeFlags {
	f := &nodeFlags{node: file.Defaults().Sink.Node}
	flags := cmd.Flags()
	for _, s := range file.NodeSettings {
		if s.Flag != "" {
			flags.Var(flagValue{s.Value(&f.node), s.Key, &f.faults}, s.Flag, s.Doc)
		}
	}
	flags.BoolVar(&f.masterTLS, "master-tls", false,
		"connect to the upstream with TLS and verify its certificate")
	flags.StringVar(&f.passwordFile, "password-file", "",
		"file with the password of this node's clients; overrides ROWFALL_PASSWORD")
	flags.StringVar(&f.masterPasswordFile, "master-password-file", "",
		"file with the password for the upstream, read at every connect; "+
			"overrides ROWFALL_MASTER_PASSWORD")
	return f
}

// readPassword returns the contents of the file without the newline at its end, or the variable of
// the environment if path is "". There is no flag for the password itself, because every user of
// the machine can read the flags of a process.
func readPassword(flag, path, variable string) (string, error) {
	if path == "" {
		return os.Getenv(variable), nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("--%s: %w", flag, err)
	}
	text := strings.TrimRight(string(b), "\r\n")
	if text == "" {
		return "", fmt.Errorf("--%s: %s is empty", flag, path)
	}
	return text, nil
}

// config returns the configuration that the flags describe, or the faults of all flags, joined. It
// opens only the files that flags name.
func (f *nodeFlags) config() (file.NodeConfig, error) {
	n := f.node
	var passwordErr, masterErr error
	n.Password, passwordErr = readPassword("password-file", f.passwordFile, "ROWFALL_PASSWORD")
	n.MasterPassword, masterErr = readPassword(
		"master-password-file", f.masterPasswordFile, "ROWFALL_MASTER_PASSWORD",
	)
	if f.masterPasswordFile != "" {
		n.ReadMasterPassword = func() (string, error) {
			return readPassword("master-password-file", f.masterPasswordFile, "")
		}
	}
	if f.masterTLS || n.MasterTLS.CA != "" {
		n.MasterTLS.Mode = tlsfiles.VerifyIdentity
	}
	faults := n.Validate()
	if len(faults) == 0 { // else Load might report a fault of Validate again
		_, faults = n.Load()
	}
	errs := []error{passwordErr, masterErr}
	for _, e := range mergeFaults(f.faults, faults) {
		errs = append(errs, flagError(e))
	}
	return n, errors.Join(errs...)
}

// mergeFaults returns the faults of rejected texts, and the found faults of other settings. A
// setting whose text was rejected has its default, which Validate may report as well.
func mergeFaults(rejected, found []*file.SettingError) []*file.SettingError {
	merged := slices.Clone(rejected)
	for _, e := range found {
		sameKey := func(r *file.SettingError) bool { return r.Key == e.Key }
		if !slices.ContainsFunc(rejected, sameKey) {
			merged = append(merged, e)
		}
	}
	return merged
}

func runNode(ctx context.Context, logging *logFlags, f *nodeFlags) error {
	log, err := logging.logger("console", "info")
	if err != nil {
		return err
	}
	config, err := f.config()
	if err != nil {
		return usageError{err}
	}
	node, commands, err := pipelines.OpenNode(config, log)
	if err != nil {
		if key, remedy := openKey(err); key != "" {
			return flagError(&file.SettingError{Key: key, Err: fmt.Errorf("%w; %s", err, remedy)})
		}
		return err
	}
	began := time.Now()
	log.Info().Str("listen", node.Addr()).Str("dir", config.Dir).Msg("node is open")
	ctx, cancel := context.WithCancel(ctx)
	var updates sync.WaitGroup
	defer updates.Wait()
	defer cancel()
	updates.Go(func() { updateCompleteness(ctx, node, commands, log) })
	if err := node.Run(ctx); err != nil && !errors.Is(err, replication.ErrClosed) {
		return fmt.Errorf("run node: %w", err)
	}
	log.Info().Dur("after", time.Since(began)).Msg("node is closed")
	return nil
}

// updateCompleteness sets, each time the node becomes a master, whether replicas may copy its data.
// The data of a pipeline contain this in their state. For other data the node has kept it. It
// returns when ctx ends.
func updateCompleteness(
	ctx context.Context, node *replication.Node, commands *pipelines.Commands, log zerolog.Logger,
) {
	for {
		changed := node.RoleChanged()
		if role, _ := node.Role(); role == replication.Master {
			st := node.Status()
			switch {
			case commands.Complete():
				node.SetComplete(true)
			case st.Keys+st.HiddenKeys > 0: // an initial load may have written hidden keys only
				node.SetComplete(false)
			}
			if !node.Status().Complete {
				log.Warn().Msg("the node is a master without complete data, and replies LOADING " +
					"to replicas; load data with REPLICAOF host port, then promote it with " +
					"REPLICAOF NO ONE")
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
