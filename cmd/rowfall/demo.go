package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"rowfall/binlog/mysql"
	"rowfall/internal/servers"
	"rowfall/pipelines"
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
			err = runDemo(cmd.Context(), f, log)
			if errors.Is(err, context.Canceled) && cmd.Context().Err() != nil {
				fmt.Println("\nstopped; nothing is left running")
				return nil
			}
			return err
		},
	}
	cmd.Flags().StringVar(&f.mysql, "mysql", "", "use this server, user[:password]@host:port, instead of starting one; its database shop is replaced")
	cmd.Flags().StringVar(&f.server, "server", "mysql", "the server to start: mysql or mariadb")
	cmd.Flags().DurationVar(&f.duration, "for", 0, "end after this time (20s) and compare every row with every replica; 0: until Ctrl-C")
	cmd.Flags().IntVar(&f.rows, "rows", 3000, "customers to begin with; each brings an order and two lines")
	return cmd
}

// demo is the running demonstration; every part that must be stopped has put its
// stop on the stack.
type demo struct {
	flags demoFlags
	log   zerolog.Logger
	dir   string
	stops []func()

	source   mysql.Config
	database string // what the source is, for the view
	config   *pipelines.Config
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

func (d *demo) onStop(f func()) { d.stops = append(d.stops, f) }

// stop ends everything in the reverse order of its start.
func (d *demo) stop() {
	for i := len(d.stops) - 1; i >= 0; i-- {
		d.stops[i]()
	}
	d.stops = nil
}

func runDemo(ctx context.Context, f demoFlags, log zerolog.Logger) error {
	dir, err := os.MkdirTemp("", "rowfall-demo-")
	if err != nil {
		return fmt.Errorf("make demo directory: %w", err)
	}
	d := &demo{flags: f, log: log, dir: dir}
	d.onStop(func() { _ = os.RemoveAll(dir) })
	defer d.stop()

	installed, err := d.startSource(ctx)
	if err != nil {
		return err
	}
	shop := newShop(d.source)
	say("loading the shop: %d customers, their orders and lines", f.rows)
	if err := shop.Load(ctx, f.rows); err != nil {
		return err
	}
	failed, err := d.startPipeline(ctx)
	if err != nil {
		return err
	}
	if err := d.startReplicas(ctx, installed); err != nil {
		return err
	}
	return d.show(ctx, shop, failed)
}

func say(format string, args ...any) { fmt.Printf("· "+format+"\n", args...) }

// startSource installs the servers that are needed and starts the database.
func (d *demo) startSource(ctx context.Context) (*servers.Installation, error) {
	kind := servers.MySQL
	switch d.flags.server {
	case "mysql":
	case "mariadb":
		kind = servers.MariaDB
	default:
		return nil, usageError{fmt.Errorf("--server %s: want mysql or mariadb", d.flags.server)}
	}
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
	d.onStop(func() { _ = db.Stop() })
	d.source = mysql.Config{Addresses: []string{db.Addr()}, User: "root"}
	return installed, nil
}

// startPipeline runs pipelines/shop.yaml in this process, until it streams.
func (d *demo) startPipeline(ctx context.Context) (<-chan error, error) {
	config, err := pipelines.Parse("pipelines/shop.yaml", pipelines.Shop, func(string) (string, bool) { return "", true })
	if err != nil {
		return nil, err
	}
	config.Source.MySQL = d.source
	config.Node.Listen = "127.0.0.1:0"
	config.Node.Dir = filepath.Join(d.dir, "shop")
	d.config = config
	d.member, err = pipelines.Open(*config, "", d.log)
	if err != nil {
		return nil, err
	}
	// The pipeline ends by its own stop, so that replicas are stopped first.
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	failed := make(chan error, 1)
	wg.Go(func() { failed <- d.member.Run(runCtx) })
	d.onStop(func() { cancel(); wg.Wait() })
	say("pipeline shop: node on %s", d.member.Node.Addr())
	if err := waitUntil(ctx, failed, func() (bool, error) {
		return d.member.Pipeline.Stats().Phase == sink.Streaming, nil
	}); err != nil {
		return nil, fmt.Errorf("wait for the first load: %w", err)
	}
	say("loaded %d rows; streaming", d.member.Pipeline.Stats().Loaded)
	d.addReplica("rowfall", "master", 0, d.member.Node.Addr())
	return failed, nil
}

// startReplicas starts a node that follows the master, and a Redis and a Valkey
// that follow the node.
func (d *demo) startReplicas(ctx context.Context, installed *servers.Installation) error {
	addr, err := d.startNode(ctx, d.member.Node.Addr())
	if err != nil {
		return err
	}
	d.addReplica("rowfall node", "replica", 1, addr)
	for _, kind := range []servers.Kind{servers.Redis, servers.Valkey} {
		c, err := installed.StartCache(ctx, kind, servers.CacheOptions{ReplicaOf: addr})
		if err != nil {
			return err
		}
		d.onStop(func() { _ = c.Stop() })
		d.addReplica(installed.Version(kind), "replica", 2, c.Addr())
	}
	for _, r := range d.replicas {
		say("%-28s %s", r.name, r.remote.Addr())
		if err := waitUntil(ctx, nil, func() (bool, error) {
			p, err := r.remote.Progress(ctx, d.config.Name)
			return err == nil && p.Phase == sink.Streaming, ctx.Err()
		}); err != nil {
			return fmt.Errorf("wait for %s to load: %w", r.name, err)
		}
	}
	return nil
}

func (d *demo) addReplica(name, role string, depth int, addr string) {
	r := &demoReplica{name: name, role: role, depth: depth, remote: sink.OpenRemote(addr, ""), probe: newProbe()}
	d.onStop(func() { _ = r.remote.Close() })
	d.replicas = append(d.replicas, r)
}

// startNode runs `rowfall node` as a child of its own.
func (d *demo) startNode(ctx context.Context, upstream string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find our own program: %w", err)
	}
	addr, err := freeAddr()
	if err != nil {
		return "", err
	}
	child := exec.Command(self, "node", "--listen", addr, "--dir", filepath.Join(d.dir, "node"), "--replicaof", upstream, "--log-level", "warn")
	child.Stderr = os.Stderr
	// Ctrl-C is ours to pass on, in order.
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := child.Start(); err != nil {
		return "", fmt.Errorf("start node: %w", err)
	}
	d.onStop(func() {
		_ = child.Process.Signal(syscall.SIGTERM)
		_ = child.Wait()
	})
	return addr, waitUntil(ctx, nil, func() (bool, error) {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return false, nil
		}
		return true, c.Close()
	})
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

// waitUntil polls done until it holds, ctx ends or failed yields.
func waitUntil(ctx context.Context, failed <-chan error, done func() (bool, error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			if err == nil {
				err = errors.New("it ended")
			}
			return err
		case <-tick.C:
		}
	}
}
