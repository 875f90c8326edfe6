package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"rowfall/replication/disk"
	"rowfall/replication/identity"
)

// replacementDir is the directory of the replacement inside the node's directory.
const replacementDir = "replacement"

// replacement is a second dataset that is built while the node serves its data. Its core is a Node
// without clients and replicas, in a directory inside the node's directory. The caller fills the
// core with Apply. InstallReplacement then replaces the node's data by those of the core, as a full
// resync from an upstream would. DESIGN.md of package replication, "A replacement", describes the
// steps.
type replacement struct {
	n      *Node
	opened chan *Node // hands a core to run

	// mu is held while the core is opened, installed or removed. It is acquired before all other
	// locks, including those of the core.
	mu   sync.Mutex
	core *Node // the last core that run received, whose Run may have ended; nil before the first
}

func newReplacement(n *Node) *replacement {
	return &replacement{n: n, opened: make(chan *Node)}
}

// errReplaced is the reason why a core whose data have become those of the node takes no snapshot.
var errReplaced = errors.New("the data of the replacement were handed over to the node")

// OpenReplacement opens the node's replacement: a new one, or the unfinished one of an earlier
// process. It returns the core of the replacement, which runs until the node stops, or until the
// replacement is installed or discarded. Until then, each call returns the same core. Only Role,
// Apply, SetComplete, Keyspace, Offset, Held and Status of the core may be used. n.Run must be
// running.
//
// A replacement whose directory cannot be opened is removed, and a new one begins.
func (n *Node) OpenReplacement(ctx context.Context) (*Node, error) {
	r := n.replacement
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := n.appender.stopErr(); err != nil {
		return nil, fmt.Errorf("open replacement: %w", err)
	}
	running, err := r.isRunning(ctx)
	if err != nil {
		return nil, fmt.Errorf("open replacement: %w", err)
	}
	if running {
		return r.core, nil
	}
	core, err := r.open()
	if err != nil {
		return nil, fmt.Errorf("open replacement: %w", err)
	}
	select {
	case r.opened <- core:
		r.core = core
		return core, nil
	case <-n.appender.stopped:
		err = n.appender.closedErr()
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, fmt.Errorf("open replacement: %w", errors.Join(err, core.Close()))
}

// isRunning reports whether the core accepts work. If the core has failed, isRunning waits until
// the core's Run has ended. The caller holds mu.
func (r *replacement) isRunning(ctx context.Context) (bool, error) {
	if r.core == nil {
		return false, nil
	}
	// The appender may accept work after its log has failed, until it sees the failure.
	err := r.core.appender.do(ctx, r.core.log.Err)
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, err
	}
	<-r.core.life.done
	return false, nil
}

// run runs the cores that OpenReplacement opens, one after the other, until ctx ends.
func (r *replacement) run(ctx context.Context) {
	for {
		select {
		case core := <-r.opened:
			err := core.Run(ctx, func(ctx context.Context) { <-ctx.Done() })
			if err != nil && !errors.Is(err, ErrClosed) {
				r.n.logger.Error().Err(err).Msg("the replacement failed")
			}
		case <-ctx.Done():
			return
		}
	}
}

// open opens a core on the directory of the replacement.
func (r *replacement) open() (*Node, error) {
	dir, found := r.dir(), r.exists()
	if !found {
		// Files that an interrupted removal or an interrupted start has left cannot be used.
		if err := r.remove(); err != nil {
			return nil, err
		}
	}
	if err := disk.MkdirAll(r.n.c.FS, dir); err != nil {
		return nil, err
	}
	core, err := open(r.config(), r.n.addr, nil)
	if err == nil || !found || disk.IsFull(err) {
		return core, err
	}
	r.n.logger.Warn().Err(err).Str("dir", dir).
		Msg("the unfinished replacement cannot be opened; it is removed, and a new one begins")
	if err := r.remove(); err != nil {
		return nil, err
	}
	if err := disk.MkdirAll(r.n.c.FS, dir); err != nil {
		return nil, err
	}
	return open(r.config(), r.n.addr, nil)
}

// replacementWindow is the memory window of the replacement's log, in bytes. It is small, because
// no replica reads that log.
const replacementWindow = 1 << 20

// config returns the configuration of the core: that of the node, but without an upstream, and with
// only as much log as a restart needs.
func (r *replacement) config() Config {
	c := r.n.c
	c.Dir = r.dir()
	c.Logger = c.Logger.With().Bool("replacement", true).Logger()
	c.ReplicaOf, c.MinReplicas = "", 0
	c.Log.Memory = replacementWindow
	if c.Log.Keep < 0 || c.Log.Keep > c.SnapshotEvery {
		c.Log.Keep = c.SnapshotEvery
	}
	return c
}

func (r *replacement) dir() string { return filepath.Join(r.n.c.Dir, replacementDir) }

// exists reports whether the directory holds a replacement that can be continued.
func (r *replacement) exists() bool {
	of, err := identity.Load(r.n.c.FS, r.dir())
	return err == nil && !isInstalled(of, r.n.identity())
}

// isInstalled reports whether a replacement was installed: its replication id is in the history of
// the node.
func isInstalled(replacement, node identity.State) bool {
	return node.History.Contains(string(replacement.History.ID()))
}

// HasReplacement reports whether there is a replacement that is neither installed nor discarded.
func (n *Node) HasReplacement() bool {
	n.replacement.mu.Lock()
	defer n.replacement.mu.Unlock()
	return n.replacement.exists()
}

// InstallReplacement replaces the node's data by those of the open replacement, in one step:
// clients read either the old data or the new data. The node must be a master, and SetComplete must
// have been called for the replacement. The node continues under the replication id of the
// replacement. No replica has that id, so all replicas get a full resync. Then the files of the
// replacement are removed.
//
// If InstallReplacement returns an error, the node has its old data, and the call can be repeated,
// unless the error ended the node.
func (n *Node) InstallReplacement(ctx context.Context) error {
	r := n.replacement
	r.mu.Lock()
	defer r.mu.Unlock()
	core := r.core
	switch {
	case core == nil:
		return errors.New("install replacement: no replacement is open")
	case !core.isComplete():
		return errors.New("install replacement: the data of the replacement are not complete")
	}
	// The core's appender executes install, so that no unit changes the core's data meanwhile.
	err := core.appender.do(ctx, func() error { return r.install(ctx, core) })
	if err != nil {
		return fmt.Errorf("install replacement: %w", err)
	}
	if err := r.close(); err != nil {
		n.logger.Warn().Err(err).Str("dir", r.dir()).
			Msg("the files of the replacement could not be removed; the next start removes them")
	}
	return nil
}

// install is the part of InstallReplacement that runs on the core's appender.
func (r *replacement) install(ctx context.Context, core *Node) error {
	n, a := r.n, core.appender
	// snapshotPoint deletes the expired keys, and returns the offset of the data.
	point, err := a.snapshotPoint()
	if err != nil {
		return err
	}
	point.Keys.Close()
	role, term := n.Role()
	if role != Master {
		return ErrDemoted
	}
	d := &dataset{
		keys: a.keys, id: point.ID, at: point.At, role: role, term: term,
		why: "the data were replaced",
	}
	old := n.identity().History.ID()
	err = n.installDataset(ctx, d)
	if n.Keyspace() == d.keys {
		// The node's appender owns the keyspace now, even if a later step has failed.
		a.keys = core.newKeyspace()
		core.keys.Store(a.keys)
		a.missing = errReplaced
	}
	if err != nil {
		return err
	}
	n.logger.Info().Str("replid", string(d.id)).Str("was_replid", string(old)).
		Stringer("offset", d.at).Int("keys", d.keys.Len()).
		Msg("the data were replaced; every replica gets a full resync")
	return nil
}

// DiscardReplacement closes the replacement, if there is one, and removes its files. existed is
// false if there was no replacement.
func (n *Node) DiscardReplacement() (existed bool, err error) {
	r := n.replacement
	r.mu.Lock()
	defer r.mu.Unlock()
	existed = r.core != nil || r.exists()
	if err := r.close(); err != nil {
		return existed, fmt.Errorf("discard replacement: %w", err)
	}
	return existed, nil
}

// close closes the core and removes its files. The caller holds mu.
func (r *replacement) close() error {
	if r.core != nil {
		// The files are removed even if the core failed.
		if err := r.core.Close(); err != nil {
			r.n.logger.Warn().Err(err).Msg("the replacement ended with an error")
		}
		r.core = nil
	}
	return r.remove()
}

// removeInstalled removes the files of a replacement that was installed, if the process crashed
// after the installation and before the removal.
func (r *replacement) removeInstalled(id identity.State) error {
	of, err := identity.Load(r.n.c.FS, r.dir())
	if err != nil || !isInstalled(of, id) {
		return nil
	}
	if err := r.remove(); err != nil {
		return fmt.Errorf("remove the installed replacement: %w", err)
	}
	return nil
}

// remove removes the directory of the replacement with its files. The identity file is removed
// first, and durably. Without the identity file the other files are not a replacement, whichever of
// them remain after a power cut.
func (r *replacement) remove() error {
	files, dir := r.n.c.FS, r.dir()
	if err := removeFile(files, filepath.Join(dir, identity.FileName)); err != nil {
		return err
	}
	if err := files.SyncDir(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, d := range []string{filepath.Join(dir, logDir), dir} {
		names, err := files.ReadDir(d)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, name := range names {
			if err := removeFile(files, filepath.Join(d, name)); err != nil {
				return err
			}
		}
	}
	if err := removeFile(files, dir); err != nil {
		return err
	}
	return files.SyncDir(r.n.c.Dir)
}

// removeFile removes a file or an empty directory, if it exists.
func removeFile(files disk.FS, name string) error {
	if err := files.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
