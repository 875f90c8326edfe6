package file

import (
	"errors"
	"fmt"
	"strings"

	"rowfall/transform"
)

// Fault returns a fault of the setting at path, which may be found while the pipeline runs. Its
// text has the same form as the faults that Parse returns: "FILE:LINE: path: fault; remedy". If the
// file does not contain path, the line is that of the innermost section around it.
func (c *Config) Fault(path, format string, args ...any) *Error {
	message := fmt.Sprintf(format, args...)
	return &Error{File: c.Path, Line: c.line(path), Path: path, Message: message}
}

// line returns the line of a path, or of the innermost section around it, or 0.
func (c *Config) line(path string) int {
	for path != "" {
		if line, ok := c.lines[path]; ok {
			return line
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 0
}

// Locate returns the faults of the mapping within err, each as an *Error that names this file. It
// returns nil if err contains no such fault.
func (c *Config) Locate(err error) error {
	var located []error
	for _, e := range transform.MappingErrors(err) {
		located = append(located, c.locate(e))
	}
	return errors.Join(located...)
}

func (c *Config) locate(e *transform.MappingError) *Error {
	line := e.Line
	if at, ok := c.lines[e.Path]; ok {
		line = at // e.Line may be the line of the output that has the setting
	}
	return &Error{File: c.Path, Line: line, Path: e.Path, Message: e.Message}
}
