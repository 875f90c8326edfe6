package file

import (
	"errors"
	"fmt"
	"strings"

	"rowfall/transform"
)

// Fault returns a fault at a place in the file, in the one form that such faults have wherever they
// are found: "FILE:LINE: path: what; remedy". A path that the file does not have stands at the line
// of the nearest part around it.
func (c *Config) Fault(path, format string, args ...any) *Error {
	message := fmt.Sprintf(format, args...)
	return &Error{File: c.Path, Line: c.line(path), Path: path, Message: message}
}

// line returns where a path stands, 0 if not even a part around it does.
func (c *Config) line(path string) int {
	for path != "" {
		if line, ok := c.lines[path]; ok {
			return line
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 0
}

// Locate returns the faults of the mapping within err, each as an *Error that names this file; nil
// where err has none.
func (c *Config) Locate(err error) error {
	var located []error
	for _, e := range transform.MappingErrors(err) {
		located = append(located, c.locate(e))
	}
	return errors.Join(located...)
}

func (c *Config) locate(e *transform.MappingError) *Error {
	return &Error{File: c.Path, Line: e.Line, Path: e.Path, Message: e.Message}
}
