package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/daemon"
	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/identity"
)

// users runs a command on the users of a data folder, as its account's root
// user: whoever can read the folder's keys is.
type users struct {
	cfg *daemon.Config
}

func (u users) run(fn func(ctx context.Context, cmd *cobra.Command, id *identity.Identity, c ecr.Caller, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		if _, err := load(cmd, ""); err != nil {
			return err
		}
		core, err := u.cfg.OpenIdentity(cmd.Context())
		if err != nil {
			return err
		}
		defer core.Close()
		c := ecr.Caller{Principal: identity.Root(u.cfg.Account), UserAgent: "ecru " + cmd.CommandPath()}
		return fn(cmd.Context(), cmd, core.Identity, c, args)
	}
}

func newUser() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Manage IAM users of an account, with their keys and policies",
		Long: "Manage IAM users of an account, with their keys and policies. Works on the database of a data folder,\n" +
			"also while the server runs, which sees a change within 5 seconds.",
		Example: "  ecru user create ci\n" +
			"  ecru user policy attach ci arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser\n" +
			"  ecru user key create ci",
	}
	u := users{dataConfig(cmd)}
	create := &cobra.Command{Use: "create NAME", Short: "Create a user, who may do nothing yet", Example: "  ecru user create ci", Args: cobra.ExactArgs(1),
		RunE: u.run(func(ctx context.Context, cmd *cobra.Command, id *identity.Identity, c ecr.Caller, args []string) error {
			user, err := id.Create(ctx, c, identity.User, args[0], identity.Settings{})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), user.ARN)
			return err
		})}
	remove := &cobra.Command{Use: "delete NAME", Short: "Delete a user without keys and policies", Example: "  ecru user delete ci", Args: cobra.ExactArgs(1),
		RunE: u.run(func(ctx context.Context, _ *cobra.Command, id *identity.Identity, c ecr.Caller, args []string) error {
			return id.Delete(ctx, c, identity.User, args[0])
		})}
	list := &cobra.Command{Use: "list", Short: "List users", Example: "  ecru user list", Args: cobra.NoArgs,
		RunE: u.run(func(ctx context.Context, cmd *cobra.Command, id *identity.Identity, c ecr.Caller, _ []string) error {
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tARN\tCREATED")
			for after := ""; ; {
				page, err := id.List(ctx, c, identity.User, "", after, 1000)
				if err != nil {
					return err
				}
				for _, user := range page {
					fmt.Fprintf(w, "%s\t%s\t%s\n", user.Name, user.ARN, user.CreatedAt.Format("2006-01-02 15:04"))
					after = user.Name
				}
				if len(page) < 1000 {
					return w.Flush()
				}
			}
		})}
	cmd.AddCommand(create, remove, list, u.keys(), u.policies())
	return cmd
}

func (u users) keys() *cobra.Command {
	cmd := &cobra.Command{Use: "key", Short: "Manage a user's access keys, of which there can be two", Example: "  ecru user key create ci"}
	create := &cobra.Command{Use: "create NAME", Short: "Make an access key and print it, this once", Example: "  ecru user key create ci", Args: cobra.ExactArgs(1),
		RunE: u.run(func(ctx context.Context, cmd *cobra.Command, id *identity.Identity, c ecr.Caller, args []string) error {
			k, secret, err := id.CreateAccessKey(ctx, c, args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\n", quote(k.ID), quote(secret))
			return err
		})}
	list := &cobra.Command{Use: "list NAME", Short: "List a user's access keys", Example: "  ecru user key list ci", Args: cobra.ExactArgs(1),
		RunE: u.run(func(ctx context.Context, cmd *cobra.Command, id *identity.Identity, c ecr.Caller, args []string) error {
			keys, err := id.ListAccessKeys(ctx, c, args[0])
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tSTATE\tCREATED")
			for _, k := range keys {
				state := "inactive"
				if k.Active {
					state = "active"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\n", k.ID, state, k.CreatedAt.Format("2006-01-02 15:04"))
			}
			return w.Flush()
		})}
	change := func(use, short string, fn func(context.Context, *identity.Identity, ecr.Caller, string, string) error) *cobra.Command {
		return &cobra.Command{Use: use + " NAME KEY-ID", Short: short, Example: "  ecru user key " + use + " ci AKIA2EXAMPLE234EXAMP", Args: cobra.ExactArgs(2),
			RunE: u.run(func(ctx context.Context, _ *cobra.Command, id *identity.Identity, c ecr.Caller, args []string) error {
				return fn(ctx, id, c, args[0], args[1])
			})}
	}
	cmd.AddCommand(create, list,
		change("activate", "Activate an access key", func(ctx context.Context, id *identity.Identity, c ecr.Caller, name, key string) error {
			return id.UpdateAccessKey(ctx, c, name, key, true)
		}),
		change("deactivate", "Deactivate an access key, and the tokens made with it", func(ctx context.Context, id *identity.Identity, c ecr.Caller, name, key string) error {
			return id.UpdateAccessKey(ctx, c, name, key, false)
		}),
		change("delete", "Delete an access key", func(ctx context.Context, id *identity.Identity, c ecr.Caller, name, key string) error {
			return id.DeleteAccessKey(ctx, c, name, key)
		}))
	return cmd
}

func (u users) policies() *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "Manage what a user may do",
		Example: "  ecru user policy put ci push ci-push.json\n  ecru user policy attach ci arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"}
	put := &cobra.Command{Use: "put NAME POLICY FILE", Short: "Set an inline policy from a file", Example: "  ecru user policy put ci push ci-push.json", Args: cobra.ExactArgs(3),
		RunE: u.run(func(ctx context.Context, _ *cobra.Command, id *identity.Identity, c ecr.Caller, args []string) error {
			document, err := os.ReadFile(args[2])
			if err != nil {
				return err
			}
			return id.PutPolicy(ctx, c, identity.User, args[0], args[1], string(document))
		})}
	list := &cobra.Command{Use: "list NAME", Short: "List a user's policies", Example: "  ecru user policy list ci", Args: cobra.ExactArgs(1),
		RunE: u.run(func(ctx context.Context, cmd *cobra.Command, id *identity.Identity, c ecr.Caller, args []string) error {
			inline, err := id.ListPolicies(ctx, c, identity.User, args[0])
			if err != nil {
				return err
			}
			attached, err := id.ListAttached(ctx, c, identity.User, args[0])
			if err != nil {
				return err
			}
			for _, p := range append(inline, attached...) {
				fmt.Fprintln(cmd.OutOrStdout(), p)
			}
			return nil
		})}
	change := func(use, what, short string, fn func(context.Context, *identity.Identity, ecr.Caller, string, string) error) *cobra.Command {
		return &cobra.Command{Use: use + " NAME " + what, Short: short, Example: "  ecru user policy " + use + " ci " + map[string]string{
			"POLICY": "push", "ARN": "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"}[what], Args: cobra.ExactArgs(2),
			RunE: u.run(func(ctx context.Context, _ *cobra.Command, id *identity.Identity, c ecr.Caller, args []string) error {
				return fn(ctx, id, c, args[0], args[1])
			})}
	}
	cmd.AddCommand(put, list,
		change("delete", "POLICY", "Delete an inline policy", func(ctx context.Context, id *identity.Identity, c ecr.Caller, name, policy string) error {
			return id.DeletePolicy(ctx, c, identity.User, name, policy)
		}),
		change("attach", "ARN", "Attach an AWS-managed policy", func(ctx context.Context, id *identity.Identity, c ecr.Caller, name, arn string) error {
			return id.Attach(ctx, c, identity.User, name, arn)
		}),
		change("detach", "ARN", "Detach an AWS-managed policy", func(ctx context.Context, id *identity.Identity, c ecr.Caller, name, arn string) error {
			return id.Detach(ctx, c, identity.User, name, arn)
		}))
	return cmd
}
