package pipelines_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"rowfall/internal/servers"
	"rowfall/internal/servers/servertest"
	"rowfall/pipelines"
	"rowfall/pipelines/file"
	"rowfall/pipelines/file/filetest"
	"rowfall/replication/resp"
	"rowfall/sink"
)

// childVariable names the pipeline file that a process of the test binary runs.
const childVariable = "ROWFALL_TEST_PIPELINE"

// TestDifferentialProcess is TestDifferential for a pipeline that is a process of its own, which is
// killed by SIGKILL, and a replica that follows it. Master and replica are sampled all the time.
func TestDifferentialProcess(t *testing.T) {
	kinds := []servers.Kind{servers.MySQL}
	if os.Getenv("ROWFALL_LONG") != "" {
		kinds = append(kinds, servers.MariaDB)
	}
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			db := servertest.Database(t, kind, servers.DatabaseOptions{GTID: true})
			e := &experiment{t: t, server: db, isProcess: true}
			if os.Getenv("ROWFALL_LONG") != "" {
				e.seeds()
			} else {
				e.random(100)
			}
		})
	}
}

// runChild runs a pipeline until the process is killed, or until its standard input ends because
// the test has ended.
func runChild(path string) error {
	c, err := file.Load(path)
	if err != nil {
		return err
	}
	instance, err := pipelines.Open(*c, "", zerolog.New(os.Stderr))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return instance.Run(ctx)
}

// processSubject is a pipeline in a process of its own, with a replica in this process and a Redis
// as another replica.
type processSubject struct {
	t         *testing.T
	path, log string
	master    *sink.Remote
	replica   *runningInstance
	data      *sink.Remote // of the replica
	redis     *servers.Cache
	redisData *sink.Remote
	process   *exec.Cmd // nil while it is not running
	ended     chan struct{}
	quit      context.CancelFunc
	samplers  sync.WaitGroup
}

func newProcessSubject(t *testing.T, text string) (subject, *file.Config, []*watch) {
	port, err := servers.FreePort()
	must(t, err)
	const anyPort = "127.0.0.1:0"
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	dir := t.TempDir()
	p := &processSubject{
		t: t, path: filepath.Join(dir, "test.yaml"), log: filepath.Join(dir, "log"),
		master: sink.OpenRemote(addr, ""),
	}
	must(t, os.WriteFile(p.path, []byte(strings.ReplaceAll(text, anyPort, addr)), 0o600))

	follower := *filetest.Parse(t, "replica.yaml", text)
	follower.Sink.Node.Dir = filepath.Join(dir, "replica")
	follower.Sink.Node.ReplicaOf = addr
	p.replica = runInstance(t, follower)
	p.data = sink.OpenRemote(p.replica.Node.Addr(), "")
	p.redis, err = servertest.Need(t, servers.Redis).StartCache(t.Context(), servers.Redis,
		servers.CacheOptions{Args: []string{
			"--repl-diskless-load", "swapdb", "--replicaof", "127.0.0.1", strconv.Itoa(port),
		}})
	must(t, err)
	p.redisData = sink.OpenRemote(p.redis.Addr(), "")

	ctx, cancel := context.WithCancel(t.Context())
	p.quit = cancel
	var watches []*watch
	for _, addr := range []string{addr, p.replica.Node.Addr()} {
		w := new(watch)
		watches = append(watches, w)
		p.samplers.Go(func() { watchSamples(ctx, addr, w) })
	}
	return p, &follower, watches
}

// watchSamples checks samples of a node's data until ctx ends.
func watchSamples(ctx context.Context, addr string, w *watch) {
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
	defer func() { _ = client.Close() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// While the node starts, or resynchronizes for the first time, it replies with errors.
		if s, err := readSample(ctx, client, w.pinnedKeys()); err == nil {
			w.check(s)
		}
	}
}

// sample holds hashes that were read one after the other.
type sample map[string]map[string]string

func (s sample) HashFields(key string) (map[string]string, bool) {
	fields, ok := s[key]
	return fields, ok
}

func (s sample) Each(_ string, visit func(key string)) {
	for key := range s {
		visit(key)
	}
}

// readSample reads all hashes that a watch checks. SCAN may miss a key that is removed and written
// again meanwhile, so the keys that must be there are read in any case.
func readSample(ctx context.Context, c *redis.Client, pinned []string) (sample, error) {
	keys := pinned
	for cursor := uint64(0); ; {
		some, next, err := c.Scan(ctx, cursor, "", 1000).Result()
		if err != nil {
			return nil, err
		}
		keys = append(keys, some...)
		if cursor = next; cursor == 0 {
			break
		}
	}
	keys = slices.DeleteFunc(keys, func(key string) bool {
		return strings.HasPrefix(key, "x:") || strings.HasPrefix(key, "rowfall:")
	})
	replies := make([]*redis.MapStringStringCmd, len(keys))
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, key := range keys {
			replies[i] = p.HGetAll(ctx, key)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s := make(sample, len(keys))
	for i, key := range keys {
		if fields := replies[i].Val(); len(fields) > 0 {
			s[key] = fields
		}
	}
	return s, nil
}

func (p *processSubject) start() {
	if p.process != nil {
		return
	}
	self, err := os.Executable()
	must(p.t, err)
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(p.t, err)
	defer func() { _ = out.Close() }()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childVariable+"="+p.path)
	cmd.Stdout, cmd.Stderr = out, out
	_, err = cmd.StdinPipe() // Wait closes it
	must(p.t, err)
	must(p.t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	p.process, p.ended = cmd, ended
}

// kill ends the process by SIGKILL.
func (p *processSubject) kill() {
	if p.process == nil {
		return
	}
	_ = p.process.Process.Kill()
	<-p.ended
	p.process = nil
}

// crash kills the process and starts it again.
func (p *processSubject) crash(string, int) {
	if p.process != nil {
		p.kill()
		p.start()
	}
}

func (p *processSubject) backfill(table string) {
	if p.process != nil {
		_, _ = p.master.Do(p.t.Context(), "ROWFALL", "BACKFILL", table)
	}
}

func (p *processSubject) fault() *failure {
	if p.process == nil {
		return nil
	}
	select {
	case <-p.ended:
		return &failure{kind: "ended", text: "the process of the pipeline has ended"}
	default:
		return nil
	}
}

// copies returns the data of the process and of both replicas.
func (p *processSubject) copies() []dataCopy {
	var list []dataCopy
	for _, r := range []*sink.Remote{p.master, p.data, p.redisData} {
		read := func(command ...string) resp.Reply {
			reply, err := r.Do(p.t.Context(), command...)
			must(p.t, err)
			return replyOf(reply)
		}
		list = append(list, dataCopy{r, read, func() stored { return p.progress(r) }})
	}
	return list
}

// progress returns the position of a copy.
func (p *processSubject) progress(r *sink.Remote) stored {
	at, err := r.Progress(p.t.Context(), "test")
	if err != nil || at.Phase == sink.Empty {
		return stored{}
	}
	position, err := pipelines.ParsePosition(at.Position)
	must(p.t, err)
	return stored{at, position}
}

func (p *processSubject) tail(lines int) string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(string(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (p *processSubject) close() {
	p.quit()
	p.samplers.Wait()
	p.kill()
	p.replica.stop()
	_ = p.master.Close()
	_ = p.data.Close()
	_ = p.redisData.Close()
	must(p.t, p.redis.Stop())
}
