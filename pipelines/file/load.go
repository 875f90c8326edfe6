package file

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"rowfall/binlog"
	"rowfall/binlog/mysql"
	"rowfall/replication"
	"rowfall/replication/replog"
	"rowfall/transform"
)

// Load reads a pipeline file strictly, and checks the files that it names. Every fault is a *Error;
// several come joined, one a line.
func Load(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		var pathError *os.PathError
		if errors.As(err, &pathError) {
			err = pathError.Err // the file is named already
		}
		return nil, &Error{File: path, Message: fmt.Sprintf("read pipeline file: %v", err)}
	}
	c, err := Parse(path, text, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	if err := c.CheckFiles(); err != nil {
		return nil, err
	}
	return c, nil
}

// Parse reads the text of a pipeline file; path is for messages, lookup answers
// ${VAR}.
func Parse(path string, text []byte, lookup func(name string) (string, bool)) (*Config, error) {
	d := &document{file: path, lookup: lookup, lines: make(map[string]int)}
	c := Defaults()
	c.Path, c.lines = path, d.lines
	if top := d.parse(text); top != nil {
		c.read(top)
	}
	for _, fault := range c.Mapping.Validate() {
		d.faults = append(d.faults, c.locate(fault))
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return &c, nil
}

var pipelineName = regexp.MustCompile(`^[a-z0-9-]+$`)

func (c *Config) read(top *section) {
	name := top.get("pipeline")
	c.Name = name.text("")
	if name.node == nil {
		top.doc.fault(top.node, "pipeline", "is required: the pipeline's name")
	} else if !pipelineName.MatchString(c.Name) {
		name.fault("%q: want lower-case letters, digits and hyphens", c.Name)
	}
	c.readSource(top.get("source").section())
	c.readTables(top.get("tables"))
	sinks := top.get("sink").section()
	sinks.later("redis", "kafka")
	node := sinks.get("node")
	if node.node == nil {
		top.doc.fault(sinks.node, "sink.node", "is required: where the node listens and keeps its data")
	}
	c.readNode(node.section())
	sinks.done()
	top.later("salt", "verify", "admin")
	log := top.get("log").section()
	c.Log.Level = log.get("level").oneOf(c.Log.Level, "trace", "debug", "info", "warn", "error")
	c.Log.Format = log.get("format").oneOf(c.Log.Format, "console", "json")
	log.done()
	top.done()
}

func (c *Config) readSource(source *section) {
	source.later("kafka")
	m := source.get("mysql")
	if m.node == nil {
		source.doc.fault(source.node, "source.mysql", "is required: the server to follow")
	}
	s := m.section()
	addresses := s.get("addresses")
	c.Source.MySQL.Addresses = addresses.texts()
	if m.node != nil && len(c.Source.MySQL.Addresses) == 0 {
		source.doc.fault(m.node, "source.mysql.addresses", "is required: [host:port, ...]")
	}
	for i, a := range c.Source.MySQL.Addresses {
		if strings.HasPrefix(a, "/") {
			continue // a socket
		}
		if err := replication.CheckHostPort(a); err != nil {
			addresses.item(i).fault("%v, or the path of a socket", err)
		}
	}
	user := s.get("user")
	c.Source.MySQL.User = user.text("")
	if m.node != nil && c.Source.MySQL.User == "" {
		source.doc.fault(m.node, "source.mysql.user", "is required")
	}
	c.Source.MySQL.Password = s.get("password").text("")
	tls := s.get("tls").section()
	c.Source.MySQL.TLS = mysql.TLS{
		Mode: mysql.Mode(tls.get("mode").oneOf(string(mysql.Preferred), string(mysql.Disabled), string(mysql.Preferred),
			string(mysql.Required), string(mysql.VerifyCA), string(mysql.VerifyIdentity))),
		CA: tls.get("ca").text(""), Cert: tls.get("cert").text(""), Key: tls.get("key").text(""),
	}
	tls.done()
	c.Source.ServerID = uint32(s.get("server_id").number(0, 0, 1<<32-1))
	start := s.get("start")
	c.Source.Start = start.text(c.Source.Start)
	if c.Source.Start != "snapshot" && c.Source.Start != "now" {
		if _, err := binlog.ParsePosition(c.Source.Start); err != nil {
			start.fault("%q: want snapshot, now, gtid:SET or FILE:OFFSET", c.Source.Start)
		}
	}
	s.done()
	b := source.get("backfill").section()
	c.Source.Backfill.ChunkRows = b.get("chunk_rows").number(c.Source.Backfill.ChunkRows, 1, 1_000_000)
	c.Source.Backfill.Parallel = b.get("parallel").number(c.Source.Backfill.Parallel, 1, 64)
	c.Source.Backfill.RowsPerSecond = b.get("rows_per_second").number(0, 0, 1_000_000_000)
	b.done()
	source.done()
}

func (c *Config) readNode(s *section) {
	n := &c.Node
	listen := s.get("listen")
	n.Listen = listen.text("")
	if listen.node == nil {
		if s.node != nil {
			s.doc.fault(s.node, "sink.node.listen", "is required: host:port")
		}
	} else if err := replication.CheckHostPort(n.Listen); err != nil {
		listen.fault("%v", err)
	}
	dir := s.get("dir")
	n.Dir = dir.text("")
	if s.node != nil && n.Dir == "" {
		s.doc.fault(s.node, "sink.node.dir", "is required: the directory of snapshots and log")
	}
	n.Password = s.get("password").text("")
	n.MasterUser = s.get("master_user").text("")
	n.MasterPassword = s.get("master_password").text("")
	upstream := s.get("master_tls").section()
	mode := mysql.Disabled
	if upstream.node != nil {
		mode = mysql.VerifyIdentity
	}
	n.MasterTLS = MasterTLS{
		Mode: mysql.Mode(upstream.get("mode").oneOf(string(mode), string(mysql.Disabled), string(mysql.Required), string(mysql.VerifyCA), string(mysql.VerifyIdentity))),
		CA:   upstream.get("ca").text(""), Cert: upstream.get("cert").text(""), Key: upstream.get("key").text(""),
	}
	if (n.MasterTLS.Cert == "") != (n.MasterTLS.Key == "") {
		s.get("master_tls").fault("want cert and key, or neither")
	}
	upstream.done()
	replicaOf := s.get("replicaof")
	if n.ReplicaOf = replicaOf.text(""); n.ReplicaOf != "" {
		if err := replication.CheckUpstream(n.Listen, n.ReplicaOf); err != nil {
			replicaOf.fault("%v", err)
		}
	}
	log := s.get("log").section()
	n.Log.Memory = log.get("memory").size(n.Log.Memory)
	n.Log.Keep = log.get("keep").size(n.Log.Keep)
	n.Log.KeepAge = log.get("keep_age").duration(0)
	fsync := log.get("fsync")
	word := fsync.oneOf(n.Log.Fsync.String(), replog.Always.String(), replog.EverySecond.String(), replog.Never.String())
	n.Log.Fsync, _ = replog.ParseFsync(word)
	log.done()
	n.MaxAtomicRows = s.get("max_atomic_rows").number(n.MaxAtomicRows, 1, 1<<31-1)
	n.MaxAtomicBytes = int(s.get("max_atomic_bytes").size(int64(n.MaxAtomicBytes)))
	if n.MaxAtomicBytes > 512<<20 {
		s.get("max_atomic_bytes").fault("at most 512MiB: a unit is one record of the log")
	}
	if shards := s.get("shards"); shards.number(1, 1, 1<<16) != 1 {
		shards.fault("more than one shard is not available in this version yet")
	}
	n.MinReplicas = s.get("min_replicas").number(0, 0, 1000)
	n.MinReplicasMaxLag = s.get("min_replicas_max_lag").duration(n.MinReplicasMaxLag)
	n.AssumeReplicas = s.get("assume_replicas").oneOf("6.2", "6.2", "7.0", "7.2", "7.4")
	n.MaxFullSyncs = s.get("max_full_syncs").number(n.MaxFullSyncs, 1, 10000)
	n.FullSyncRate = s.get("full_sync_rate").size(0)
	n.FullSyncMinRate = s.get("full_sync_min_rate").size(n.FullSyncMinRate)
	slack := s.get("full_sync_slack")
	if n.FullSyncSlack = slack.duration(n.FullSyncSlack); n.FullSyncSlack < time.Second {
		slack.fault("%v: want at least 1s", n.FullSyncSlack)
	}
	n.FullSyncLog = s.get("full_sync_log").size(0)
	n.SnapshotMemory = s.get("snapshot_memory").size(0)
	tls := s.get("tls").section()
	n.TLS = ServerTLS{Cert: tls.get("cert").text(""), Key: tls.get("key").text(""), CA: tls.get("ca").text("")}
	if tls.node != nil && (n.TLS.Cert == "" || n.TLS.Key == "") {
		s.get("tls").fault("want {cert: FILE, key: FILE}, and ca: FILE if clients must show a certificate")
	}
	tls.done()
	s.later("users")
	s.done()
}

func (c *Config) readTables(v value) {
	tables := v.section()
	if len(tables.keys) == 0 {
		tables.doc.fault(v.node, "tables", `is required: "database.table" or "database.*" and what to make of its rows`)
	}
	for _, pattern := range tables.keys {
		entry := tables.get(pattern)
		c.Mapping.Tables = append(c.Mapping.Tables, readRule(entry, pattern))
	}
}

func readRule(v value, pattern string) transform.TableRule {
	s := v.section()
	r := transform.TableRule{Pattern: pattern, Path: v.path, Line: v.line(), Lines: make(map[string]int)}
	at := func(part string, v value) value {
		if v.node != nil {
			r.Lines[part] = v.line()
		}
		return v
	}
	r.Ignore = s.get("ignore").flag(false)
	r.KeyColumns = at("key_columns", s.get("key_columns")).texts()
	r.Where = at("where", s.get("where")).naming(inExpression).said()
	columns := at("columns", s.get("columns")).section()
	r.Columns.Include = at("columns.include", columns.get("include")).texts()
	r.Columns.Exclude = at("columns.exclude", columns.get("exclude")).texts()
	rename := at("columns.rename", columns.get("rename")).section()
	for _, from := range rename.keys {
		if r.Columns.Rename == nil {
			r.Columns.Rename = make(map[string]string)
		}
		r.Columns.Rename[from] = at("columns.rename."+from, rename.get(from)).said()
	}
	add := at("columns.add", columns.get("add")).section()
	for _, name := range add.keys {
		expr := at("columns.add."+name, add.get(name)).naming(inExpression).said()
		r.Columns.Add = append(r.Columns.Add, transform.Addition{Name: name, Expr: expr})
	}
	columns.later("mask")
	columns.done()
	for _, item := range s.get("write").list() {
		r.Write = append(r.Write, readOutput(item))
	}
	// The defaults of the others are later work; until then such a thing stops the
	// pipeline, which is what `stop` asks for.
	s.get("on_error").oneOf("stop", "stop")
	s.get("on_truncate").oneOf("stop", "stop")
	s.get("on_drop").oneOf("stop", "stop")
	s.get("on_alter").oneOf("stop", "stop")
	switch cascades := s.get("cascades"); {
	case cascades.node != nil && cascades.node.Value == "reconcile":
		cascades.fault("reconcile is not available in this version yet; want stop or ignore")
	default:
		r.IgnoreCascades = cascades.oneOf("stop", "stop", "ignore") == "ignore"
	}
	s.done()
	return r
}

// How templates and expressions name a column.
const (
	inTemplate   = "{%s}"
	inExpression = "%s"
)

var outputKinds = []struct {
	key  string
	kind transform.OutputKind
}{
	{"hash", transform.Hash},
	{"json", transform.JSON},
	{"string", transform.String},
	{"set", transform.Set},
	{"sorted_set", transform.SortedSet},
}

func readOutput(v value) transform.Output {
	faults := len(v.doc.faults)
	s := v.section()
	o := transform.Output{Path: v.path, Line: v.line()}
	kinds := 0
	for _, k := range outputKinds {
		if key := s.get(k.key); key.node != nil {
			kinds++
			o.Kind, o.Key = k.kind, key.naming(inTemplate).said()
		}
	}
	laterKind := slices.Contains(s.keys, "list") || slices.Contains(s.keys, "stream")
	s.later("list", "stream", "ttl", "expire_at", "shared", "nest", "lookup", "json_native", "max_len", "push", "snapshot")
	// A kind of a later version was reported just now, and a value that is no mapping before.
	if kinds != 1 && (kinds > 1 || !laterKind) && v.node.Kind == yaml.MappingNode {
		v.fault("want exactly one of hash, json, string, set, sorted_set")
	}
	allowed := map[string]*string{}
	switch o.Kind {
	case transform.Hash:
		allowed["field"], allowed["value"] = &o.Field, &o.Value
	case transform.String:
		allowed["value"] = &o.Value
	case transform.Set:
		allowed["member"] = &o.Member
	case transform.SortedSet:
		allowed["member"], allowed["score"] = &o.Member, &o.Score
	}
	for _, name := range []string{"field", "value", "member", "score"} {
		if dst, ok := allowed[name]; ok {
			use := inTemplate
			if name == "score" {
				use = inExpression
			}
			*dst = s.get(name).naming(use).said()
		}
	}
	if s.get("when_null").oneOf("error", "error", "skip") == "skip" {
		o.WhenNull = transform.NullSkip
	}
	s.done()
	if len(v.doc.faults) > faults {
		o.Kind = 0 // what else its kind needs would only follow from these faults
	}
	return o
}

// CheckTogether reports pipelines that cannot share a process: equal names,
// directories or addresses. Every fault is a *Error; several come joined.
func CheckTogether(configs []*Config) error {
	var faults []error
	for _, place := range []struct {
		path string
		of   func(*Config) string
	}{
		{"pipeline", func(c *Config) string { return c.Name }},
		{"sink.node.dir", func(c *Config) string { return filepath.Clean(c.Node.Dir) }},
		{"sink.node.listen", func(c *Config) string { return c.Node.Listen }},
	} {
		first := make(map[string]*Config)
		for _, c := range configs {
			used := place.of(c)
			if other, ok := first[used]; !ok {
				first[used] = c
			} else if place.path != "sink.node.listen" || !portIsFree(used) {
				faults = append(faults, c.Fault(place.path,
					"%q stands in %s, too; each pipeline needs its own", used, other.Path))
			}
		}
	}
	return errors.Join(faults...)
}

// portIsFree says that the system chooses the port.
func portIsFree(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	return err == nil && port == "0"
}
