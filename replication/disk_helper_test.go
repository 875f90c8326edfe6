package replication_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"rowfall/internal/memfs"
	"rowfall/replication"
	"rowfall/replication/identity"
	"rowfall/replication/keyspace"
	"rowfall/replication/replog"
)

// memNode is a running node on a file system in memory.
type memNode struct {
	*replication.Node
	done chan error // of Run
}

// diskConfig returns the configuration of a node on volume. The log is made durable only by
// explicit syncs. The directory dir holds only the lock.
func diskConfig(dir string, volume *memfs.FS) replication.Config {
	return replication.Config{
		Listen: "127.0.0.1:0", Dir: dir, FS: volume, Logger: zerolog.Nop(),
		Log: replog.Config{
			Memory: 64 << 10, SegmentSize: 16 << 10, Fsync: replog.Never,
			Reserve: -1,
		},
	}
}

// startOn opens and runs a node.
func startOn(c replication.Config) (*memNode, error) {
	n, err := replication.Open(c)
	if err != nil {
		return nil, err
	}
	d := &memNode{n, make(chan error, 1)}
	go func() { d.done <- n.Run(context.Background()) }()
	return d, nil
}

// stop closes the node and ignores errors of its disk.
func (d *memNode) stop() {
	d.Close()
	<-d.done
}

// write applies units. Each sets row:N and last to the next number N.
func (d *memNode) write(t *testing.T, units int) {
	t.Helper()
	for range units {
		i := strconv.Itoa(d.last(t) + 1)
		apply(t, d.Node,
			atomically(unit("SET", "row:"+i, i+strings.Repeat("x", 100)), unit("SET", "last", i)))
	}
}

// last checks that all rows of write up to some number are there, and returns that number.
func (d *memNode) last(t *testing.T) int {
	t.Helper()
	v, _ := d.Keyspace().Get("last")
	last, _ := strconv.Atoi(string(v))
	for i := range last {
		if v, ok := d.Keyspace().Get("row:" + strconv.Itoa(i+1)); !ok ||
			!strings.HasPrefix(string(v), strconv.Itoa(i+1)+"x") {
			t.Fatalf("row %d of %d is %q", i+1, last, v)
		}
	}
	if got := d.Keyspace().Len(); last > 0 && got != last+1 {
		t.Fatalf("%d keys, want %d", got, last+1)
	}
	return last
}

// do sends one command as a client.
func (d *memNode) do(args ...any) (string, error) {
	c := redis.NewClient(&redis.Options{Addr: d.Addr(), MaxRetries: -1})
	defer c.Close()
	v, err := c.Do(context.Background(), args...).Result()
	return fmt.Sprint(v), err
}

const (
	rowsBefore = 20     // durable rows in each directory with which a test starts
	newOffset  = 123456 // the offset of the data of installOther
)

var nowhere = "127.0.0.1:1" // an upstream that never answers

const otherID = identity.ID("0123456789012345678901234567890123456789")

// restarted starts the next node on a volume, and checks that no unfinished file is left there.
func restarted(t *testing.T, c replication.Config, volume *memfs.FS) *memNode {
	t.Helper()
	c.FS = volume
	n, err := startOn(c)
	if err != nil {
		t.Fatalf("start again: %v", err)
	}
	wantNothingUnfinished(t, volume, c.Dir)
	return n
}

func wantNothingUnfinished(t *testing.T, volume *memfs.FS, dir string) {
	t.Helper()
	for _, name := range volume.Names(dir) {
		if strings.HasSuffix(name, ".tmp") || strings.HasSuffix(name, ".new") {
			t.Errorf("%s is left", name)
		}
	}
}

// powerCut returns the contents of the volume after a power cut and a reboot.
func powerCut(t *testing.T, volume *memfs.FS, dir string, step int, seed uint64) *memfs.FS {
	t.Helper()
	volume = volume.PowerCut(rand.New(rand.NewPCG(uint64(step), seed)))
	id, err := identity.Load(volume, dir)
	if err != nil {
		t.Fatalf("power cut at step %d: %v", step, err)
	}
	id.Boot = "another boot"
	if err := id.Save(volume, dir); err != nil {
		t.Fatal(err)
	}
	return volume
}

// diskBefore returns the volume of a node that was stopped with rowsBefore rows, of which the
// snapshot holds a part and the log the rest.
func diskBefore(t *testing.T, dir, upstream string) *memfs.FS {
	t.Helper()
	volume := memfs.New()
	n := restarted(t, diskConfig(dir, volume), volume)
	n.SetComplete(true)
	n.write(t, rowsBefore/2)
	if _, err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.write(t, rowsBefore/2)
	if err := n.ReplicaOf(t.Context(), upstream); err != nil {
		t.Fatal(err)
	}
	n.stop()
	return volume
}

// installOther installs a data set of one key, as a full resync does.
func installOther(n *memNode) error {
	keys := keyspace.New(keyspace.Options{})
	if err := keys.Stage(unit("SET", "other", "data")); err != nil {
		return err
	}
	keys.Publish()
	return n.TakeResync(context.Background(), keys, otherID, newOffset)
}
