package file

// insteadOf has the keys that other programs use for a setting of a pipeline file, by the path of
// such a key, and what to write instead. suggest.Nearest finds keys that are misspelt; it does not
// find these.
var insteadOf = map[string]string{
	"source.mysql.host":     "addresses: [HOST:PORT]",
	"source.mysql.hostname": "addresses: [HOST:PORT]",
	"source.mysql.hosts":    "addresses: [HOST:PORT]",
	"source.mysql.port":     "addresses: [HOST:PORT]",
	"source.mysql.server":   "addresses: [HOST:PORT]",
	"source.mysql.socket":   "addresses: [/PATH/OF/SOCKET]",
	"source.mysql.dsn":      "addresses: [HOST:PORT], user and password",
	"source.mysql.url":      "addresses: [HOST:PORT], user and password",
	"source.mysql.username": "user",
	"source.mysql.pass":     "password",
	"source.mysql.passwd":   "password",
	"source.mysql.ssl":      "tls: {mode: required}",
	"source.mysql.database": "the database in the names of tables: \"DATABASE.*\"",
	"source.mysql.db":       "the database in the names of tables: \"DATABASE.*\"",
	"sink.node.host":        "listen: HOST:PORT",
	"sink.node.port":        "listen: HOST:PORT",
	"sink.node.bind":        "listen: HOST:PORT",
	"sink.node.address":     "listen: HOST:PORT",
	"sink.node.addresses":   "listen: HOST:PORT",
	"sink.node.path":        "dir: DIRECTORY",
	"sink.node.data":        "dir: DIRECTORY",
	"sink.node.requirepass": "password",
	"sink.node.masterauth":  "master_password",
	"sink.node.masteruser":  "master_user",
	"sink.node.slaveof":     "replicaof: HOST:PORT",
}
