//go:build race

package race

// Enabled is true if the race detector is compiled in.
const Enabled = true
