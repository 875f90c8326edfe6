// Package syncthrottle limits how much full resyncs slow down other work: the number of full
// resyncs at once, their total rate, and the time that one replica may take. It delays a replica
// that requests full resyncs repeatedly because it cannot load them; without the delay some servers
// request hundreds per second.
//
// The package does no I/O and does not read the data. Package node is its only user.
package syncthrottle
