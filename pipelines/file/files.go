package file

import "errors"

// CheckFiles loads every file with keys or certificates that the pipeline file names, so that a
// file which cannot be used shows before anything is opened. Every fault is a *Error; several come
// joined.
func (c *Config) CheckFiles() error {
	var faults []error
	check := func(path string, err error) {
		if err != nil {
			faults = append(faults, c.Fault(path, "%v", err))
		}
	}
	check("source.mysql.tls", c.Source.MySQL.TLS.CheckFiles())
	_, err := c.Node.TLS.Config()
	check("sink.node.tls", err)
	_, err = c.Node.MasterTLS.Config()
	check("sink.node.master_tls", err)
	return errors.Join(faults...)
}
