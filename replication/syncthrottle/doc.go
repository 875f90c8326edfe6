// Package syncthrottle keeps full resyncs from slowing everything else down. It limits the number
// of full resyncs at once and their total rate, and the time that one replica may take. It delays a
// replica that requests full resyncs in a row because it cannot load them; some servers would
// otherwise do so hundreds of times per second.
//
// The package does no I/O and does not read the data. Package replication is its only user.
package syncthrottle
