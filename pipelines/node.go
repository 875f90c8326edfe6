package pipelines

import (
	"errors"

	"github.com/rs/zerolog"

	"rowfall/pipelines/file"
	"rowfall/replication"
	"rowfall/sink"
)

// OpenNode opens a node with the ROWFALL commands, whether or not a pipeline feeds it. The caller
// runs or closes the node.
func OpenNode(c file.NodeConfig, log zerolog.Logger) (*replication.Node, *Commands, error) {
	config, faults := c.Load()
	if len(faults) > 0 {
		errs := make([]error, len(faults))
		for i, f := range faults {
			errs[i] = f
		}
		return nil, nil, errors.Join(errs...)
	}
	// The node is opened with its commands, and the commands read the node. They run only after
	// Open has returned.
	var node *replication.Node
	commands := NewCommands(func() *replication.Node { return node })
	config.HiddenPrefix, config.Logger = sink.HiddenPrefix, log
	config.Commands, config.Info = commands.Handlers(), commands.Info
	config.AdminSubcommands = commands.AdminSubcommands()
	node, err := replication.Open(config)
	if err != nil {
		return nil, nil, err
	}
	return node, commands, nil
}
