// Package sink applies units of commands to the place where the data live: a replication node.
//
//   - sink.go: what every sink has in common: its errors, its capabilities, the loaded State
//   - node.go: the replication node as a sink
//   - replacement.go: Replacer, the capability to build new data while a sink serves the old data
//   - unit.go: Unit, and the Encoder that turns units into RESP
//   - deferred.go: the resolvers of commands that need stored state to become bytes; stream_id.go
//     and publish.go: one kind each
//   - shared.go: a kind, too: the rows that yield the members of shared sets
//   - state.go: keys and form of a pipeline's position hash, and its Phase
//   - position.go: Position, which only the source of a pipeline understands
//   - pieces.go: the other pieces of a pipeline's state and their checksums
//   - reader.go: Reader, which reads what a sink holds; scans of keys and members
//   - repair.go: Repair, which writes only what differs from an expected value
//   - expiry.go: when fields of hashes expire, and how Repair handles expiry
//   - key_type.go: KeyTypeError, for a key that holds a value of another type
//   - remote.go: a reader of any Redis-protocol server, for verification and tests
//   - sinktest: a sink in memory, for tests
//
// A pipeline (package pipelines) declares the interface that it needs, pipelines.Sink. A new kind
// of sink is one more file here that implements it. A unit carries the pipeline's position, so that
// rows and position cannot diverge. All state of a pipeline is stored as ordinary keys.
//
// Package transform decides the commands of a row, and package pipelines where a unit ends.
//
// The package has four files more than most: each form in which a pipeline's data are stored has
// its own.
package sink
