//go:build race

package expression_test

// raceDetector is true where the race detector is compiled in.
const raceDetector = true
