package file

import (
	"errors"
	"net"
	"path/filepath"
)

// CheckTogether returns an error if pipelines cannot share a process, because they have equal
// names, directories or addresses. Every fault is an *Error; several are joined.
func CheckTogether(configs []*Config) error {
	var faults []error
	for _, unique := range []struct {
		path string
		of   func(*Config) string
	}{
		{"pipeline", func(c *Config) string { return c.Name }},
		{"sink.node.dir", func(c *Config) string { return filepath.Clean(c.Sink.Node.Dir) }},
		{"sink.node.listen", func(c *Config) string { return c.Sink.Node.Listen }},
	} {
		first := make(map[string]*Config)
		for _, c := range configs {
			used := unique.of(c)
			if other, ok := first[used]; !ok {
				first[used] = c
			} else if unique.path != "sink.node.listen" || !choosesPort(used) {
				faults = append(faults, c.Fault(unique.path,
					"%q is in %s, too; each pipeline needs its own", used, other.Path))
			}
		}
	}
	return errors.Join(faults...)
}

// choosesPort reports whether the operating system chooses the port of addr.
func choosesPort(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	return err == nil && port == "0"
}
