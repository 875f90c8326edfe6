package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"rowfall/binlog/mysql"
	"rowfall/internal/servers"
	"rowfall/pipelines"
	"rowfall/pipelines/file"
	shopfiles "rowfall/pipelines/shop"
	"rowfall/sink"
)

// demoFlags are the flags of `rowfall demo`.
type demoFlags struct {
	mysql, server string
	duration      time.Duration
	rows          int
}

func newDemo(logging *logFlags) *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "A real MySQL, a sample shop, a pipeline and a cascade of replicas",
		Long: "Run everything once: a real MySQL with a sample shop, the pipeline of\n" +
			"pipelines/shop/shop.yaml, a node that replicates from the pipeline's node, a real\n" +
			"redis-server and a real valkey-server that replicate from that node, " +
			"and a generator\n" +
			"that keeps writing to MySQL. The servers are fetched once into a cache folder of " +
			"the\n" +
			"user; nothing is installed. Ctrl-C stops everything.",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logging.logger("console", "warn")
			if err != nil {
				return err
			}
			if f.mysql != "" && cmd.Flags().Changed("server") {
				return usageError{errors.New("--server: --mysql names the server to use, " +
					"so none is started; remove one of the two")}
			}
			if err := f.validate(); err != nil {
				return usageError{err}
			}
			err = runDemo(cmd.Context(), f, log)
			switch {
			case err == nil || cmd.Context().Err() == nil:
				return err
			case f.duration > 0:
				return errors.New(
					"stopped before the rows were compared; no process is left running",
				)
			}
			fmt.Println("\nstopped; no process is left running")
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.mysql, "mysql", "",
		"use the server user[:password]@host:port instead of starting one; "+
			"the demo creates a database shop there and drops it at the end")
	flags.StringVar(&f.server, "server", "mysql", "the server to start: mysql or mariadb")
	flags.DurationVar(&f.duration, "for", 0,
		"end after this duration, such as 20s, and compare every row with every replica; "+
			"0 means run until Ctrl-C")
	flags.IntVar(&f.rows, "rows", 3000,
		"customers to start with; each has an order with two lines")
	return cmd
}

func (f *demoFlags) validate() error {
	switch {
	case f.rows < 1:
		return fmt.Errorf("--rows %d: want at least 1", f.rows)
	case f.duration < 0:
		return fmt.Errorf("--for %s: want a duration, or 0 to run until Ctrl-C", f.duration)
	case f.server != string(servers.MySQL) && f.server != string(servers.MariaDB):
		return fmt.Errorf("--server %s: want mysql or mariadb", f.server)
	}
	if f.mysql == "" {
		return nil
	}
	_, err := parseSource(f.mysql)
	return err
}

// stallTimeout is how long the demo waits for progress before it fails.
const stallTimeout = time.Minute

// demo is a running demonstration. Each part that must be stopped has added its stop function.
type demo struct {
	flags demoFlags
	log   zerolog.Logger
	dir   string
	stops []func() error // called in reverse order at the end
	// failed receives the error of the first part that ends before it is stopped. The goroutines
	// of watchers wait for that.
	failed   chan error
	watchers sync.WaitGroup

	source    mysql.Config
	database  string // the version of the source, for the dashboard
	config    *file.Config
	member    *pipelines.Instance
	instances []*demoInstance
}

// demoInstance is the master or one of its direct or indirect replicas.
type demoInstance struct {
	name, role string
	depth      int // number of links to the master
	remote     *sink.Remote
	probe      *probe
}

// addStop adds a function that stop calls.
func (d *demo) addStop(f func() error) { d.stops = append(d.stops, f) }

// stop stops all parts in the reverse order of their start, and waits for the watchers.
func (d *demo) stop() {
	for i := len(d.stops) - 1; i >= 0; i-- {
		if err := d.stops[i](); err != nil {
			d.log.Warn().Err(err).Msg("stopping a part of the demo failed")
		}
	}
	d.stops = nil
	d.watchers.Wait()
}

// child is a server that runs as a process of its own.
type child interface {
	Stop() error
	Done() <-chan struct{}
	Tail() string
}

// supervise stops a child at the end of the demo. If the child ends before, it reports an error to
// failed.
func (d *demo) supervise(name string, c child) {
	d.addStop(c.Stop)
	done := c.Done()
	d.watchers.Go(func() {
		<-done
		d.fail(fmt.Errorf("%s ended unexpectedly; its log:\n%s", name, c.Tail()))
	})
}

// fail reports an error, unless another one was reported before.
func (d *demo) fail(err error) {
	select {
	case d.failed <- err:
	default: // the first error is the cause
	}
}

// runDemo starts all parts of the demo, shows the dashboard, and stops all parts.
func runDemo(ctx context.Context, f demoFlags, log zerolog.Logger) error {
	dir, err := os.MkdirTemp("", "rowfall-demo-")
	if err != nil {
		return fmt.Errorf("create demo directory: %w", err)
	}
	d := &demo{flags: f, log: log, dir: dir, failed: make(chan error, 1)}
	d.addStop(func() error { return os.RemoveAll(dir) })
	defer d.stop()

	installed, err := d.startSource(ctx)
	if err != nil {
		return err
	}
	shop := newShop(d.source)
	if err := shop.CheckReplaceable(ctx); err != nil {
		return err
	}
	if f.mysql != "" {
		d.addStop(func() error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stallTimeout)
			defer cancel()
			return shop.Drop(ctx)
		})
	}
	printStep("loading the shop: %d customers, their orders and lines", f.rows)
	if err := shop.Load(ctx, f.rows); err != nil {
		return err
	}
	if err := d.startPipeline(ctx); err != nil {
		return err
	}
	if err := d.startReplicas(ctx, installed); err != nil {
		return err
	}
	return d.run(ctx, shop)
}

// printStep prints what the demo is doing.
func printStep(format string, args ...any) { fmt.Printf("· "+format+"\n", args...) }

// startSource installs the servers that the demo needs, and starts the database unless the user
// has named one.
func (d *demo) startSource(ctx context.Context) (*servers.Installation, error) {
	kind := servers.Kind(d.flags.server)
	kinds := []servers.Kind{servers.Redis, servers.Valkey}
	if d.flags.mysql == "" {
		kinds = append(kinds, kind)
	} else {
		source, err := parseSource(d.flags.mysql)
		if err != nil {
			return nil, usageError{err}
		}
		d.source, d.database = source, "MySQL"
	}
	installed, err := servers.Install(ctx, os.Stderr, kinds...)
	if err != nil {
		return nil, err
	}
	if d.flags.mysql != "" {
		return installed, nil
	}
	d.database = installed.Version(kind)
	printStep("starting %s", d.database)
	db, err := installed.StartDatabase(ctx, kind, servers.DatabaseOptions{GTID: true})
	if err != nil {
		return nil, err
	}
	d.supervise(d.database, db)
	d.source = mysql.Config{Addresses: []string{db.Addr()}, User: "root"}
	printStep("%s listens on %s, user root, no password", d.database, db.Addr())
	return installed, nil
}

// startPipeline runs pipelines/shop/shop.yaml in this process and waits until the initial load is
// complete.
func (d *demo) startPipeline(ctx context.Context) error {
	config, err := file.Parse(
		shopfiles.Path, shopfiles.File, func(string) (string, bool) { return "", true },
	)
	if err != nil {
		return err
	}
	config.Source.MySQL = d.source
	config.Sink.Node.Listen = "127.0.0.1:0"
	config.Sink.Node.Dir = filepath.Join(d.dir, "shop")
	d.config = config
	d.member, err = pipelines.Open(*config, "", d.log)
	if err != nil {
		return err
	}
	// The pipeline has its own context, so that replicas are stopped before it.
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	d.watchers.Go(func() {
		err := d.member.Run(runCtx)
		if runCtx.Err() == nil {
			d.fail(errors.Join(errors.New("the pipeline ended"), err))
			err = nil
		}
		ended <- err
	})
	d.addStop(func() error { cancel(); return <-ended })
	printStep("pipeline shop: node on %s", d.member.Node.Addr())
	if err := d.waitUntil(ctx, "the initial load", func() (bool, int64, error) {
		stats := d.member.Pipeline.Stats()
		return stats.Phase == sink.Streaming, stats.Loaded, d.pipelineError()
	}); err != nil {
		return err
	}
	printStep("loaded %d rows; streaming", d.member.Pipeline.Stats().Loaded)
	d.addInstance("rowfall", "master", 0, d.member.Node.Addr())
	return nil
}

// pipelineError returns an error if the pipeline has stopped for good. Its node continues to serve
// reads.
func (d *demo) pipelineError() error {
	if why := d.member.Pipeline.Stats().Stopped; why != "" {
		return fmt.Errorf("the pipeline stopped: %s", why)
	}
	return nil
}

// startReplicas starts a node that follows the master, and a Redis and a Valkey that follow this
// node. It waits until each of them has loaded the data.
func (d *demo) startReplicas(ctx context.Context, installed *servers.Installation) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own executable: %w", err)
	}
	node, err := servers.StartProgram(ctx, "node", func(port int) []string {
		return []string{
			self, "node", "--listen", fmt.Sprintf("127.0.0.1:%d", port),
			"--dir", filepath.Join(d.dir, "node"), "--replicaof", d.member.Node.Addr(),
			"--log-level", "warn",
		}
	})
	if err != nil {
		return err
	}
	d.supervise("rowfall node", node)
	d.addInstance("rowfall node", "replica", 1, node.Addr())
	for _, kind := range []servers.Kind{servers.Redis, servers.Valkey} {
		c, err := installed.StartCache(ctx, kind, servers.CacheOptions{ReplicaOf: node.Addr()})
		if err != nil {
			return err
		}
		d.supervise(installed.Version(kind), c)
		d.addInstance(installed.Version(kind), "replica", 2, c.Addr())
	}
	for _, r := range d.instances {
		printStep("%-28s %s", r.name, r.remote.Addr())
		if err := d.waitUntil(ctx, r.name+" to load the data", func() (bool, int64, error) {
			p, err := r.remote.Progress(ctx, d.config.Name)
			// A server that is loading replies with an error.
			return err == nil && p.Phase == sink.Streaming, 0, nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// addInstance adds an instance to the dashboard.
func (d *demo) addInstance(name, role string, depth int, addr string) {
	r := &demoInstance{
		name: name, role: role, depth: depth, remote: sink.OpenRemote(addr, ""), probe: newProbe(),
	}
	d.addStop(r.remote.Close)
	d.instances = append(d.instances, r)
}

// waitUntil polls done until it returns true. It fails if ctx ends, a part of the demo fails, or
// the number that done returns does not change for stallTimeout. That number is any measure of
// progress.
func (d *demo) waitUntil(
	ctx context.Context, what string, done func() (ok bool, progress int64, err error),
) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last, changed := int64(0), time.Now()
	for {
		ok, progress, err := done()
		if err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		if ok {
			return nil
		}
		if progress != last {
			last, changed = progress, time.Now()
		}
		if time.Since(changed) > stallTimeout {
			return fmt.Errorf("wait for %s: no progress for %s", what, stallTimeout)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		case err := <-d.failed:
			return fmt.Errorf("wait for %s: %w", what, err)
		case <-tick.C:
		}
	}
}
