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

// encodings chooses between the two encodings of a snapshot. One has listpacks, which all servers
// from Redis 7.0 on load. The other, the legacy RDB for Redis 6.2, takes longer to load and cannot
// contain two numbers of a stream: entries-added and max-deleted-entry-id.
//
// Redis 6.2 announces the same as Redis 7.0 to 7.4. So the node queries such a replica for its
// version, at the port that the replica announces. A wrong version would be dangerous: a Redis 6.2
// exits when it loads a listpack. While the version is not certain the replica gets the legacy RDB.
type encodings struct {
	listpacks bool // by configuration all replicas load listpacks
	encrypted bool // replicas connect by TLS, and their versions cannot be queried
	logger    zerolog.Logger

	mu sync.Mutex
	// failures counts, by address, the full resyncs with listpacks that were chosen by a probe and
	// failed one after another.
	failures map[string]probeFailures
	warned   map[string]bool // the addresses for which the loss was logged
}

// probeFailures belongs to one run of one server: another run may have another version.
type probeFailures struct {
	runID string
	count int
}

const (
	probeTime        = time.Second
	maxProbeReply    = 64 << 10
	maxProbeFailures = 2
	maxRemembered    = 1000 // addresses in each map of encodings
)

func newEncodings(c Config) *encodings {
	listpacks, _ := LoadsListpacks(c.AssumeReplicas) // Open has validated c.AssumeReplicas
	return &encodings{
		listpacks: listpacks, encrypted: c.TLS != nil, logger: c.Logger,
		failures: map[string]probeFailures{}, warned: map[string]bool{},
	}
}

// chosenEncoding is the encoding of the snapshot for one full resync, and why it was chosen.
type chosenEncoding struct {
	legacyRDB bool // for Redis 6.2; false: with listpacks
	// unknown is why the replica's version is not known; nil: the version is known.
	unknown error
	runID   string // of a server that a probe found to be Redis 7.0 or later
}

// choose chooses the encoding for a replica. It probes the replica at most once, for one second.
func (es *encodings) choose(ctx context.Context, r *replica, p *psync) chosenEncoding {
	if es.listpacks || r.conn.Announced.Listpacks {
		return chosenEncoding{}
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	info, err := probe(ctx, es.encrypted, r.conn, p.ID)
	if err != nil {
		return chosenEncoding{legacyRDB: true, unknown: err}
	}
	listpacks, err := LoadsListpacks(info["redis_version"])
	if err != nil || !listpacks {
		return chosenEncoding{legacyRDB: true, unknown: err}
	}
	runID := info["run_id"]
	es.mu.Lock()
	failed := es.failures[r.addr]
	es.mu.Unlock()
	if failed.runID == runID && failed.count >= maxProbeFailures {
		return chosenEncoding{legacyRDB: true, unknown: fmt.Errorf(
			"it replied with version %s, but did not load the encoding for that version",
			info["redis_version"])}
	}
	return chosenEncoding{runID: runID}
}

// recordResult records whether the replica at addr came online with the encoding that it got.
func (es *encodings) recordResult(addr string, got chosenEncoding, online bool) {
	if got.runID == "" {
		return
	}
	es.mu.Lock()
	defer es.mu.Unlock()
	failed := es.failures[addr]
	switch {
	case online:
		delete(es.failures, addr)
	case failed.runID == got.runID:
		es.failures[addr] = probeFailures{got.runID, failed.count + 1}
	case len(es.failures) < maxRemembered:
		es.failures[addr] = probeFailures{got.runID, 1}
	}
}

// warnLossy logs, once for each replica, that streams lose two of their numbers in a legacy RDB if
// the replica is newer than Redis 6.2. streams is the number of such streams.
func (es *encodings) warnLossy(addr string, got chosenEncoding, streams int) {
	if streams == 0 || got.unknown == nil {
		return
	}
	es.mu.Lock()
	known := es.warned[addr]
	if !known && len(es.warned) < maxRemembered {
		es.warned[addr] = true
	}
	es.mu.Unlock()
	if known {
		return
	}
	es.logger.Warn().Str("replica", addr).Err(got.unknown).Int("streams", streams).
		Msg("the replica's version is not known, so it got the snapshot encoded for Redis 6.2: " +
			"a newer replica has lost entries-added and max-deleted-entry-id of its streams; " +
			"if all replicas are Redis 7.0 or later, set assume_replicas: 7.0")
}

// probe queries a replica for the sections Server and Replication of INFO, at the port that the
// replica announced. Any client can announce an address. So the node connects only to the host from
// which the client connects, sends only the query, and passes no byte of the reply on. It sends no
// password, because another server at that port would receive it.
func probe(
	ctx context.Context, encrypted bool, c *ReplicaConn, requested string,
) (map[string]string, error) {
	peer, ok := c.Conn.RemoteAddr().(*net.TCPAddr)
	switch {
	case !ok:
		return nil, errors.New("query replica's version: it does not connect by TCP")
	case encrypted:
		return nil, errors.New("query replica's version: replicas of this node connect by TLS")
	case c.Announced.Port == 0:
		return nil, errors.New("query replica's version: it announces no port")
	case c.Announced.IP != "" && !peer.IP.Equal(net.ParseIP(c.Announced.IP)):
		return nil, fmt.Errorf(
			"query replica's version: it announces the address %s and connects from %s",
			c.Announced.IP, peer.IP)
	}
	info, err := queryInfo(ctx, net.JoinHostPort(peer.IP.String(), strconv.Itoa(c.Announced.Port)))
	if err == nil {
		err = checkProbed(info, requested)
	}
	if err != nil {
		return nil, fmt.Errorf("query replica's version: %w", err)
	}
	return info, nil
}

// checkProbed returns an error unless the server that replied is the waiting replica. Behind a
// translated address another server could reply at the same port. The waiting replica follows a
// master, has no link yet, and has data of the replication id that its PSYNC requested ("?": of
// none).
func checkProbed(info map[string]string, requested string) error {
	switch {
	case info["run_id"] == "":
		return errors.New("another kind of server replies at its port")
	case info["role"] != "slave" || info["master_link_status"] != "down":
		return errors.New("another server replies at its port")
	case requested != "?" && info["master_replid"] != requested:
		return errors.New("a replica with another history replies at its port")
	}
	return nil
}

// queryInfo sends INFO to a server and returns the fields of the replies. It ends when ctx ends.
func queryInfo(ctx context.Context, addr string) (map[string]string, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	query := resp.AppendCommand(resp.AppendCommand(nil, "INFO", "server"), "INFO", "replication")
	if _, err := conn.Write(query); err != nil {
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

// readInfo reads one reply to INFO and adds its fields.
func readInfo(r *resp.Reader, fields map[string]string) error {
	line, err := r.ReadLine()
	if err != nil {
		return err
	}
	head := string(line)
	size, err := strconv.Atoi(strings.TrimPrefix(head, "$"))
	switch {
	case strings.HasPrefix(head, "-"):
		return errors.New("it replies " + head[:min(len(head), 128)])
	case !strings.HasPrefix(head, "$") || err != nil || size < 0 || size > maxProbeReply:
		return fmt.Errorf("it replies %.64q", head)
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

// LoadsListpacks reports whether servers of a version such as "7.0" load listpacks: versions from
// 7.0 on do. It returns false for an empty version.
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
