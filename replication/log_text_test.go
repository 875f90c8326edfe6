package replication_test

import (
	"bytes"
	"strings"
	"sync"
)

// logText collects what a node logs.
type logText struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logText) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(line)
}

// count returns how many lines have all of these texts.
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

// has reports whether a line has the text.
func (l *logText) has(text string) bool { return l.count(text) > 0 }
