package replication_test

import (
	"bytes"
	"strings"
	"sync"
)

// logText collects the log of a node.
type logText struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logText) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(line)
}

// count returns the number of lines that contain all of these texts.
func (l *logText) count(texts ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
lines:
	for line := range strings.Lines(l.buf.String()) {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue lines
			}
		}
		n++
	}
	return n
}

// has reports whether a line contains the text.
func (l *logText) has(text string) bool { return l.count(text) > 0 }
