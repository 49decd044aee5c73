package main

import (
	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/scan/extract"
)

// newExtractLayer is the worker that scanning runs for each layer; it is not for
// people.
func newExtractLayer() *cobra.Command {
	return &cobra.Command{
		Use:                extract.Subcommand,
		Short:              "Read a layer for ecru serve",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if code := extract.Main(cmd.Context(), args, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()); code != 0 {
				return exitStatus{code: code}
			}
			return nil
		},
	}
}
