// Command ecru is the registry and its tools.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	args := os.Args[1:]
	if strings.HasPrefix(filepath.Base(os.Args[0]), "docker-credential-") {
		args = append([]string{"docker-credential"}, args...)
	}
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return
	}
	status := exitStatus{code: 1}
	if !errors.As(err, &status) || status.err != nil {
		fmt.Fprintln(os.Stderr, "ecru: "+err.Error())
	}
	os.Exit(status.code)
}

// An exitStatus is an error that ends the program with a code of its own: 1 is
// an error, 2 means that something was found.
type exitStatus struct {
	code int
	err  error // nil: all has been said
}

func (e exitStatus) Error() string {
	if e.err == nil {
		return "exit status"
	}
	return e.err.Error()
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "ecru",
		Short: "A container registry that speaks Amazon ECR's API",
		Long: "Ecru is a container registry that speaks Amazon ECR's API, on your own machines.\n" +
			"docker, podman and Kubernetes push and pull; the aws CLI, boto3 and Terraform govern.",
		Example:       "  ecru serve\n  eval \"$(ecru env)\"\n  ecru login",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(
		newServe(), newEnv(), newLogin(), newDockerCredential(), newCredentialProvider(),
		newUser(), newAccess(), newAudit(),
		newLifecycle(), newInUse(),
		newGate(), newVuln(), newSBOM(), newSuppress(), newAdvisories(),
		newReplication(),
		newExtractLayer(),
		newFsck(), newVersion(), newConfig(),
	)
	return root
}
