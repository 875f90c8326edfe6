package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"rowfall/replication/resp"
)

// forms chooses between the two forms of a snapshot: the packed one, which all servers from Redis
// 7.0 on load, and the plain one for Redis 6.2, which takes longer to load and has no place for two
// numbers of a stream: entries-added and max-deleted-entry-id.
//
// Redis 6.2 and 7.0 to 7.4 announce the same. So the node asks such a replica for its version at
// the port that it announces. A wrong answer would be dangerous: a Redis 6.2 exits when it loads
// the packed form. Without a certain answer the replica gets the plain form.
type forms struct {
	assumed   bool // all replicas load listpacks
	encrypted bool // replicas connect by TLS, and none can be queried for its version
	logger    zerolog.Logger

	mu sync.Mutex
	// failures counts, by address, the full resyncs in the packed form that were chosen by a probe
	// and failed one after another.
	failures map[string]probeFailures
	warned   map[string]bool // the addresses for which the loss was logged
}

// probeFailures belongs to one run of one server: another run may be another version.
type probeFailures struct {
	runID string
	count int
}

const (
	probeTime        = time.Second
	maxProbeReply    = 64 << 10
	maxProbeFailures = 2
	maxRemembered    = 1000 // addresses in each map of forms
)

func newForms(c Config) *forms {
	assumed, _ := LoadsListpacks(c.AssumeReplicas) // it was checked by Open
	return &forms{
		assumed: assumed, encrypted: c.TLS != nil, logger: c.Logger,
		failures: map[string]probeFailures{}, warned: map[string]bool{},
	}
}

// form is what a transfer was given.
type form struct {
	plain bool
	// unknown is why the node does not know the replica's version; nil: the node knows it.
	unknown error
	runID   string // of a server that a probe found to be Redis 7.0 or later
}

// choose decides which form a replica gets. It asks the replica at most once, for a second.
func (f *forms) choose(ctx context.Context, r *replica, p *psync) form {
	if f.assumed || r.conn.Announced.Packed {
		return form{}
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	info, err := probe(ctx, f.encrypted, r.conn, p.ID)
	if err != nil {
		return form{plain: true, unknown: err}
	}
	modern, err := LoadsListpacks(info["redis_version"])
	if err != nil || !modern {
		return form{plain: true, unknown: err}
	}
	runID := info["run_id"]
	f.mu.Lock()
	failed := f.failures[r.addr]
	f.mu.Unlock()
	if failed.runID == runID && failed.count >= maxProbeFailures {
		return form{plain: true, unknown: fmt.Errorf(
			"it answered as version %s, but did not load the form for that", info["redis_version"])}
	}
	return form{runID: runID}
}

// ended notes whether the replica at addr came online with the form that it got.
func (f *forms) ended(addr string, got form, online bool) {
	if got.runID == "" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	failed := f.failures[addr]
	switch {
	case online:
		delete(f.failures, addr)
	case failed.runID == got.runID:
		f.failures[addr] = probeFailures{got.runID, failed.count + 1}
	case len(f.failures) < maxRemembered:
		f.failures[addr] = probeFailures{got.runID, 1}
	}
}

// warn logs, once for each replica, that so many streams of a plain copy lose their counters if the
// replica is newer than Redis 6.2.
func (f *forms) warn(addr string, got form, streams int) {
	if streams == 0 || got.unknown == nil {
		return
	}
	f.mu.Lock()
	known := f.warned[addr]
	if !known && len(f.warned) < maxRemembered {
		f.warned[addr] = true
	}
	f.mu.Unlock()
	if known {
		return
	}
	f.logger.Warn().Str("replica", addr).Err(got.unknown).Int("streams", streams).
		Msg("the replica's version is not known, so it got the snapshot in the form for " +
			"Redis 6.2: a newer replica has lost entries-added and max-deleted-entry-id of " +
			"its streams; " +
			"if all replicas are Redis 7.0 or later, set assume_replicas: 7.0")
}

// probe asks the server behind a replica's connection for the sections Server and Replication of
// INFO. A client could announce any port, to have the node connect for it: so the node connects
// only to the host that the client comes from, sends nothing but the question, and passes no byte
// of the answer on. It sends no password: whoever listens there would learn it.
func probe(
	ctx context.Context, encrypted bool, c *ReplicaConn, asked string,
) (map[string]string, error) {
	peer, ok := c.Conn.RemoteAddr().(*net.TCPAddr)
	switch {
	case !ok:
		return nil, errors.New("it does not connect by TCP")
	case encrypted:
		return nil, errors.New("its version is not queried: replicas of this node use TLS")
	case c.Announced.Port == 0:
		return nil, errors.New("it announces no port at which its version could be queried")
	case c.Announced.IP != "" && !peer.IP.Equal(net.ParseIP(c.Announced.IP)):
		return nil, fmt.Errorf(
			"its version is not queried: it announces the address %s and connects from %s",
			c.Announced.IP, peer.IP)
	}
	info, err := askInfo(ctx, net.JoinHostPort(peer.IP.String(), strconv.Itoa(c.Announced.Port)))
	if err != nil {
		return nil, fmt.Errorf("ask for its version: %w", err)
	}
	return info, checkProbed(info, asked)
}

// checkProbed asks: is the server that answered the replica that waits? Behind a translated
// address another one could answer at the same port. The replica that waits follows a master, has
// no link yet, and holds data of the replication id that it asked to continue ("?": of none).
func checkProbed(info map[string]string, asked string) error {
	switch {
	case info["run_id"] == "":
		return errors.New("ask for its version: another kind of server answers at its port")
	case info["role"] != "slave" || info["master_link_status"] != "down":
		return errors.New("ask for its version: another server answers at its port")
	case asked != "?" && info["master_replid"] != asked:
		return errors.New("ask for its version: a replica with another history answers at its port")
	}
	return nil
}

// askInfo sends INFO to a server until ctx ends, and returns the fields of the answers.
func askInfo(ctx context.Context, addr string) (map[string]string, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	question := resp.AppendCommand(resp.AppendCommand(nil, "INFO", "server"), "INFO", "replication")
	if _, err := conn.Write(question); err != nil {
		return nil, err
	}
	r := resp.NewReader(conn, 4<<10)
	fields := map[string]string{}
	for range 2 {
		if err := readInfo(r, fields); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// readInfo reads one answer to INFO and adds its fields.
func readInfo(r *resp.Reader, fields map[string]string) error {
	line, err := r.ReadLine()
	if err != nil {
		return err
	}
	head := string(line)
	size, err := strconv.Atoi(strings.TrimPrefix(head, "$"))
	switch {
	case strings.HasPrefix(head, "-"):
		return errors.New("it answers " + head[:min(len(head), 128)])
	case !strings.HasPrefix(head, "$") || err != nil || size < 0 || size > maxProbeReply:
		return fmt.Errorf("it answers %.64q", head)
	}
	for size += len("\r\n"); size > 0; {
		line, err := r.ReadLine()
		if err != nil {
			return err
		}
		size -= len(line) + len("\r\n")
		if name, value, ok := strings.Cut(string(line), ":"); ok {
			fields[name] = value
		}
	}
	return nil
}

// LoadsListpacks reports whether servers of a version such as "7.0" load listpacks: from Redis 7
// on. An empty version does not.
func LoadsListpacks(version string) (bool, error) {
	if version == "" {
		return false, nil
	}
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	if err != nil || n < 1 || n > 1000 {
		return false, fmt.Errorf("the replicas' version is %.32q; it must be like 6.2 or 7.0",
			version)
	}
	return n >= 7, nil
}
