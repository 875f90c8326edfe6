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
	"rowfall/sink"
)

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
		Long: "Run everything once: a real MySQL with a sample shop, the pipeline of pipelines/shop.yaml, a node that cascades from it,\n" +
			"a real redis-server and a real valkey-server that cascade from that one, and a generator that keeps writing.\n" +
			"Servers are fetched once into a cache folder of the user; nothing is installed. Ctrl-C stops everything.",
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logging.logger("console", "warn")
			if err != nil {
				return err
			}
			if err := f.validate(); err != nil {
				return usageError{err}
			}
			err = runDemo(cmd.Context(), f, log)
			switch {
			case err == nil || cmd.Context().Err() == nil:
				return err
			case f.duration > 0:
				return errors.New("stopped before the rows were compared; nothing is left running")
			}
			fmt.Println("\nstopped; nothing is left running")
			return nil
		},
	}
	cmd.Flags().StringVar(&f.mysql, "mysql", "", "use this server, user[:password]@host:port, instead of starting one; the demo makes a database shop there and drops it at the end")
	cmd.Flags().StringVar(&f.server, "server", "mysql", "the server to start: mysql or mariadb")
	cmd.Flags().DurationVar(&f.duration, "for", 0, "end after this time (20s) and compare every row with every replica; 0: until Ctrl-C")
	cmd.Flags().IntVar(&f.rows, "rows", 3000, "customers to begin with; each brings an order and two lines")
	return cmd
}

func (f *demoFlags) validate() error {
	switch {
	case f.rows < 1:
		return fmt.Errorf("--rows %d: want at least 1", f.rows)
	case f.duration < 0:
		return fmt.Errorf("--for %s: want a time, or 0 for until Ctrl-C", f.duration)
	case f.server != string(servers.MySQL) && f.server != string(servers.MariaDB):
		return fmt.Errorf("--server %s: want mysql or mariadb", f.server)
	}
	if f.mysql == "" {
		return nil
	}
	_, err := parseSource(f.mysql)
	return err
}

// patience is how long the demo waits for something that does not move.
const patience = time.Minute

// demo is the running demonstration; every part that must be stopped has put its
// stop on the stack.
type demo struct {
	flags demoFlags
	log   zerolog.Logger
	dir   string
	stops []func() error
	// failed takes the first part that ends before it is stopped; watchers are who
	// wait for that.
	failed   chan error
	watchers sync.WaitGroup

	source   mysql.Config
	database string // what the source is, for the view
	config   *file.Config
	member   *pipelines.Member
	replicas []*demoReplica
}

// demoReplica is one of those who follow, as the view shows it.
type demoReplica struct {
	name, role string
	depth      int
	remote     *sink.Remote
	probe      *probe
}

func (d *demo) onStop(f func() error) { d.stops = append(d.stops, f) }

// stop ends everything in the reverse order of its start.
func (d *demo) stop() {
	for i := len(d.stops) - 1; i >= 0; i-- {
		if err := d.stops[i](); err != nil {
			d.log.Warn().Err(err).Msg("cleaning up")
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

// keep has a child stopped at the end, and its own end noticed before.
func (d *demo) keep(name string, c child) {
	d.onStop(c.Stop)
	done := c.Done()
	d.watchers.Go(func() {
		<-done
		d.fail(fmt.Errorf("%s ended; its log says:\n%s", name, c.Tail()))
	})
}

func (d *demo) fail(err error) {
	select {
	case d.failed <- err:
	default: // what failed first is the cause
	}
}

func runDemo(ctx context.Context, f demoFlags, log zerolog.Logger) error {
	dir, err := os.MkdirTemp("", "rowfall-demo-")
	if err != nil {
		return fmt.Errorf("make demo directory: %w", err)
	}
	d := &demo{flags: f, log: log, dir: dir, failed: make(chan error, 1)}
	d.onStop(func() error { return os.RemoveAll(dir) })
	defer d.stop()

	installed, err := d.startSource(ctx)
	if err != nil {
		return err
	}
	shop := newShop(d.source)
	if err := shop.Free(ctx); err != nil {
		return err
	}
	if f.mysql != "" {
		d.onStop(func() error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			defer cancel()
			return shop.Drop(ctx)
		})
	}
	say("loading the shop: %d customers, their orders and lines", f.rows)
	if err := shop.Load(ctx, f.rows); err != nil {
		return err
	}
	if err := d.startPipeline(ctx); err != nil {
		return err
	}
	if err := d.startReplicas(ctx, installed); err != nil {
		return err
	}
	return d.show(ctx, shop)
}

func say(format string, args ...any) { fmt.Printf("· "+format+"\n", args...) }

// startSource installs the servers that are needed and starts the database.
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
	say("starting %s", d.database)
	db, err := installed.StartDatabase(ctx, kind, servers.DatabaseOptions{GTID: true})
	if err != nil {
		return nil, err
	}
	d.keep(d.database, db)
	d.source = mysql.Config{Addresses: []string{db.Addr()}, User: "root"}
	return installed, nil
}

// startPipeline runs pipelines/shop.yaml in this process, until it streams.
func (d *demo) startPipeline(ctx context.Context) error {
	config, err := file.Parse("pipelines/shop.yaml", pipelines.Shop, func(string) (string, bool) { return "", true })
	if err != nil {
		return err
	}
	config.Source.MySQL = d.source
	config.Node.Listen = "127.0.0.1:0"
	config.Node.Dir = filepath.Join(d.dir, "shop")
	d.config = config
	d.member, err = pipelines.Open(*config, "", d.log)
	if err != nil {
		return err
	}
	// The pipeline ends by its own stop, so that replicas are stopped first.
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
	d.onStop(func() error { cancel(); return <-ended })
	say("pipeline shop: node on %s", d.member.Node.Addr())
	if err := d.waitUntil(ctx, "the first load", func() (bool, int64, error) {
		stats := d.member.Pipeline.Stats()
		return stats.Phase == sink.Streaming, stats.Loaded, d.stoppedPipeline()
	}); err != nil {
		return err
	}
	say("loaded %d rows; streaming", d.member.Pipeline.Stats().Loaded)
	d.addReplica("rowfall", "master", 0, d.member.Node.Addr())
	return nil
}

// stoppedPipeline returns why the pipeline has stopped for good; its node goes on.
func (d *demo) stoppedPipeline() error {
	if why := d.member.Pipeline.Stats().Stopped; why != "" {
		return fmt.Errorf("the pipeline stopped: %s", why)
	}
	return nil
}

// startReplicas starts a node that follows the master, and a Redis and a Valkey
// that follow the node.
func (d *demo) startReplicas(ctx context.Context, installed *servers.Installation) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find our own program: %w", err)
	}
	node, err := servers.StartProgram(ctx, "node", func(port int) []string {
		return []string{
			self, "node", "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--dir", filepath.Join(d.dir, "node"),
			"--replicaof", d.member.Node.Addr(), "--log-level", "warn",
		}
	})
	if err != nil {
		return err
	}
	d.keep("rowfall node", node)
	d.addReplica("rowfall node", "replica", 1, node.Addr())
	for _, kind := range []servers.Kind{servers.Redis, servers.Valkey} {
		c, err := installed.StartCache(ctx, kind, servers.CacheOptions{ReplicaOf: node.Addr()})
		if err != nil {
			return err
		}
		d.keep(installed.Version(kind), c)
		d.addReplica(installed.Version(kind), "replica", 2, c.Addr())
	}
	for _, r := range d.replicas {
		say("%-28s %s", r.name, r.remote.Addr())
		if err := d.waitUntil(ctx, r.name+" to load", func() (bool, int64, error) {
			p, err := r.remote.Progress(ctx, d.config.Name)
			return err == nil && p.Phase == sink.Streaming, 0, nil // LOADING until then
		}); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) addReplica(name, role string, depth int, addr string) {
	r := &demoReplica{name: name, role: role, depth: depth, remote: sink.OpenRemote(addr, ""), probe: newProbe()}
	d.onStop(r.remote.Close)
	d.replicas = append(d.replicas, r)
}

// waitUntil polls done until it holds, ctx ends, a part of the demo fails, or the
// figure that done returns has not moved for as long as there is patience.
func (d *demo) waitUntil(ctx context.Context, what string, done func() (ok bool, moved int64, err error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last, since := int64(0), time.Now()
	for {
		ok, moved, err := done()
		if err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		if ok {
			return nil
		}
		if moved != last {
			last, since = moved, time.Now()
		}
		if time.Since(since) > patience {
			return fmt.Errorf("wait for %s: nothing moved for %s", what, patience)
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
