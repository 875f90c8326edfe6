package file

import "errors"

// CheckFiles loads every file with keys or certificates that the pipeline file names, so that a
// file that cannot be used is reported before anything is opened. Every fault is an *Error; several
// are joined.
func (c *Config) CheckFiles() error {
	var faults []error
	for _, f := range c.checkFiles() {
		faults = append(faults, f)
	}
	return errors.Join(faults...)
}

func (c *Config) checkFiles() []*Error {
	var faults []*Error
	if err := c.Source.MySQL.CheckFiles(); err != nil {
		faults = append(faults, c.Fault("source.mysql.tls", "%v", err))
	}
	_, settings := c.Sink.Node.Load()
	for _, e := range settings {
		faults = append(faults, c.settingFault(e))
	}
	return faults
}

// settingFault returns a fault of a setting of the node with its place in the file.
func (c *Config) settingFault(e *SettingError) *Error {
	return c.Fault("sink.node."+e.Key, "%v", e.Err)
}
