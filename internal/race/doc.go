// Package race reports to tests whether the race detector is compiled in (enabled.go) or not
// (disabled.go). With the race detector, code allocates more: sync.Pool drops elements at random,
// and the compiler leaves out some optimizations.
package race
