//go:build !race

package events

// raceDetector is true where the race detector is compiled in.
const raceDetector = false
