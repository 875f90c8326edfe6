package file

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"rowfall/binlog"
	"rowfall/binlog/tlsfiles"
	"rowfall/replication"
	"rowfall/transform/columns"
)

// Load reads a pipeline file strictly, and checks the files that it names. Every fault is an
// *Error; several are joined.
func Load(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		var pathError *os.PathError
		if errors.As(err, &pathError) {
			err = pathError.Err // Error names the file already
		}
		return nil, &Error{File: path, Message: fmt.Sprintf("read pipeline file: %v", err)}
	}
	c, d := parse(path, text, os.LookupEnv)
	for _, fault := range c.checkFiles() {
		// A section with faults may have the wrong files.
		if !slices.ContainsFunc(d.faults, func(f *Error) bool {
			return f.Path == fault.Path || strings.HasPrefix(f.Path, fault.Path+".")
		}) {
			d.faults = append(d.faults, fault)
		}
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// Parse parses the text of a pipeline file. path is for messages only; lookup returns the values
// of ${VAR}. Every fault is an *Error; several are joined.
func Parse(path string, text []byte, lookup func(name string) (string, bool)) (*Config, error) {
	c, d := parse(path, text, lookup)
	if err := d.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// parse reads as much of a pipeline file as it can. The faults are in the document.
func parse(
	path string, text []byte, lookup func(name string) (string, bool),
) (*Config, *document) {
	d := &document{file: path, lookup: lookup, lines: make(map[string]int)}
	c := Defaults()
	c.Path, c.lines = path, d.lines
	if top := d.parse(text); top != nil {
		c.read(top)
	}
	for _, fault := range c.Mapping.Validate() {
		d.faults = append(d.faults, c.locate(fault))
	}
	c.Warnings = d.warnings
	return &c, d
}

var pipelineName = regexp.MustCompile(`^[a-z0-9-]+$`)

func (c *Config) read(top *section) {
	name := top.get("pipeline")
	c.Name = name.text()
	if name.node == nil {
		top.doc.errorf(top.node, "pipeline", "is required: the pipeline's name")
	} else if !pipelineName.MatchString(c.Name) {
		name.errorf("%q: want lower-case letters, digits and hyphens", c.Name)
	}
	c.readSource(top.get("source").section())
	c.readTables(top.get("tables"))
	limits := top.get("limits").section()
	c.readSink(top.get("sink").section(), limits)
	c.readLimits(limits)
	limits.rejectUnknown()
	c.Revision = top.get("revision").text()
	salt := top.get("salt")
	c.Mapping.Salt = columns.Salt(salt.nonEmptyText())
	if salt.node != nil && c.Mapping.Salt == "" {
		// The file is rejected for its salt. That masks lack a salt would be a consequence.
		c.Mapping.Salt = "rejected"
	}
	top.notYet("verify", "admin")
	log := top.get("log").section()
	log.get("level").read(word{&c.Log.Level, []string{"trace", "debug", "info", "warn", "error"}})
	log.get("format").read(word{&c.Log.Format, []string{"console", "json"}})
	log.rejectUnknown()
	top.rejectUnknown()
}

func (c *Config) readSource(source *section) {
	source.notYet("kafka")
	server := source.get("mysql")
	if server.node == nil {
		source.doc.errorf(source.node, "source.mysql", "is required: the server to follow")
	}
	c.readMySQL(server)
	b, backfill := source.get("backfill").section(), &c.Source.Backfill
	b.get("chunk_rows").read(number{&backfill.ChunkRows, 1, 1_000_000})
	b.get("parallel").read(number{&backfill.Parallel, 1, 64})
	b.get("rows_per_second").read(number{&backfill.RowsPerSecond, 0, 1_000_000_000})
	pause := b.get("pause_above").section()
	pause.get("threads_running").read(number{&backfill.PauseAbove.ThreadsRunning, 0, 1_000_000})
	pause.get("replica_lag").read(optionalDuration{
		duration{&backfill.PauseAbove.ReplicaLag, time.Second},
	})
	pause.rejectUnknown()
	b.rejectUnknown()
	source.rejectUnknown()
}

func (c *Config) readMySQL(server value) {
	s, config := server.section(), &c.Source.MySQL
	required := func(missing bool, key, message string) {
		if missing && server.node != nil {
			server.doc.errorf(server.node, join(server.path, key), "%s", message)
		}
	}
	addresses := s.get("addresses")
	config.Addresses = addresses.texts()
	emptyList := addresses.node != nil && addresses.node.Kind == yaml.SequenceNode &&
		len(config.Addresses) == 0
	required(addresses.node == nil || emptyList, "addresses", "is required: [HOST:PORT, ...]")
	checkAddresses(addresses, config.Addresses)
	readFrom := s.get("read_from")
	c.Source.ReadFrom = readFrom.texts()
	checkAddresses(readFrom, c.Source.ReadFrom)
	config.User = s.get("user").text()
	required(config.User == "", "user", "is required")
	password := s.get("password")
	config.Password, config.ReadPassword = password.text(), password.reread()
	tls := s.get("tls").section()
	config.TLS.Mode = tlsfiles.Preferred
	tls.get("mode").read(word{(*string)(&config.TLS.Mode), modes(tlsfiles.Disabled,
		tlsfiles.Preferred, tlsfiles.Required, tlsfiles.VerifyCA, tlsfiles.VerifyIdentity)})
	config.TLS.CA = tls.get("ca").text()
	config.TLS.Cert, config.TLS.Key = tls.get("cert").text(), tls.get("key").text()
	tls.rejectUnknown()
	id := 0
	s.get("server_id").read(number{&id, 0, math.MaxUint32})
	c.Source.ServerID = uint32(id)
	c.Source.StopAtReset = s.get("on_source_reset").oneOf("stop", "reconcile") == "stop"
	c.Source.StopAtPurge = s.get("on_purged").oneOf("reconcile", "stop") == "stop"
	start := s.get("start")
	start.read(plainText{&c.Source.Start})
	if c.Source.Start != "snapshot" && c.Source.Start != "now" {
		if err := binlog.CheckPosition(c.Source.Start); err != nil {
			start.errorf("%q: want snapshot, now, gtid:SET, FILE:OFFSET or "+
				"time:2026-11-28T10:00:00Z", c.Source.Start)
		}
	}
	s.rejectUnknown()
}

// checkAddresses rejects the items of a list that are no addresses of servers.
func checkAddresses(list value, addresses []string) {
	for i, a := range addresses {
		if strings.HasPrefix(a, "/") {
			continue // a Unix socket
		}
		if err := replication.CheckHostPort(a); err != nil {
			list.item(i).errorf("%v, or the path of a socket", err)
		}
	}
}

// limitKeys are the keys of Limits. Former versions had them below sink.node, where they still are
// read.
var limitKeys = []string{"max_atomic_rows", "max_atomic_bytes"}

// readLimits reads the keys of Limits that s has.
func (c *Config) readLimits(s *section) {
	l := &c.Limits
	s.get("max_atomic_rows").read(number{&l.MaxAtomicRows, 1, math.MaxInt32})
	bytes := int64(l.MaxAtomicBytes)
	s.get("max_atomic_bytes").read(size{p: &bytes, positive: true, most: 512 << 20})
	l.MaxAtomicBytes = int(bytes)
}

func (c *Config) readSink(sink, limits *section) {
	sink.notYet("redis", "kafka")
	node := sink.get("node")
	if node.node == nil {
		sink.doc.errorf(sink.node, "sink.node",
			"is required: where the node listens and keeps its data")
	}
	s := node.section()
	c.readNode(s)
	for _, key := range limitKeys {
		if v := s.get(key); v.node == nil {
			continue
		} else if limits.get(key).node != nil {
			v.errorf("is given below limits, too; remove it here")
		} else {
			v.warnf("has moved; write it below limits, at the top of the file")
		}
	}
	c.readLimits(s)
	s.rejectUnknown()
	sink.rejectUnknown()
}

// readNode reads the settings of NodeSettings.
func (c *Config) readNode(s *section) {
	n := &c.Sink.Node
	sections := map[string]*section{"": s}
	for _, setting := range NodeSettings {
		parent, key, nested := strings.Cut(setting.Key, ".")
		if !nested {
			parent, key = "", setting.Key
		} else if sections[parent] == nil {
			sections[parent] = s.get(parent).section()
		}
		sections[parent].get(key).read(setting.Value(n))
	}
	for _, parent := range slices.Sorted(maps.Keys(sections)) {
		if parent != "" {
			sections[parent].rejectUnknown()
		}
	}
	n.ReadMasterPassword = s.get("master_password").reread()
	if s.get("master_tls").node != nil && n.MasterTLS.Mode == "" {
		n.MasterTLS.Mode = tlsfiles.VerifyIdentity
	}
	if tls := s.get("tls"); tls.node != nil && n.ServerTLS == (tlsfiles.Server{}) {
		tls.errorf("want cert and key, and ca if clients must show a certificate")
	}
	shards := 1
	v := s.get("shards")
	if v.read(number{&shards, 1, 1 << 16}); shards != 1 {
		v.errorf("more than one shard is not available in this version yet")
	}
	s.notYet("users", "announce")
	if s.node == nil {
		return // the missing node was reported
	}
	for _, e := range n.Validate() {
		fault := c.settingFault(e)
		// A setting whose text was rejected has its default, which may be empty.
		if !slices.ContainsFunc(s.doc.faults, func(f *Error) bool { return f.Path == fault.Path }) {
			s.doc.faults = append(s.doc.faults, fault)
		}
	}
}
