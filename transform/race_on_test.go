//go:build race

package transform

// raceDetector is true where the race detector is compiled in.
const raceDetector = true
