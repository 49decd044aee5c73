package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newReplication() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replication",
		Short: "Copies of images in other regions: keys, status, plans, comparison",
		Long: "Copies of images in other regions. What is replicated is set with aws ecr put-replication-configuration;\n" +
			"regions know each other by the setting replication-region, in which each names the others' keys.",
		Example: "  ecru replication key\n  ecru serve --replication-region \"eu-west-1=https://ecr.eu.example.com key=KEY-PRINTED-THERE\"",
	}
	cmd.AddCommand(newReplicationKey())
	return cmd
}

func newReplicationKey() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Print the key by which other regions know this one",
		Long: "Print the public key by which other regions know this one, for their setting replication-region. It follows\n" +
			"from the master key of the data folder, which is made if there is none.",
		Example: "  ecru replication key --data /var/lib/ecru",
		Args:    cobra.NoArgs,
	}
	cfg := dataConfig(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := load(cmd, ""); err != nil {
			return err
		}
		key, err := cfg.ReplicationKey(cmd.Context())
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), key)
		return err
	}
	return cmd
}
