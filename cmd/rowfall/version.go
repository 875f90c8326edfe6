package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is the version that `rowfall version` prints. The release build sets it with -ldflags
// "-X main.version=...".
var version = "0.1.0-dev"

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			revision := ""
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						revision = " (" + s.Value + ")"
					}
				}
			}
			_, err := fmt.Fprintf(
				cmd.OutOrStdout(), "rowfall %s%s %s %s/%s\n", version, revision, runtime.Version(),
				runtime.GOOS, runtime.GOARCH,
			)
			return err
		},
	}
}
