package expression

import "testing"

// SetMaxComputed changes the limit of computed texts until the end of a test.
func SetMaxComputed(t *testing.T, n int) {
	old := maxComputed
	maxComputed = n
	t.Cleanup(func() { maxComputed = old })
}
