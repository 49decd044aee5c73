package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/vuln"
)

func newSuppressExport(f *endpointFlags) *cobra.Command {
	var openvex bool
	var author, output, platform string
	cmd := &cobra.Command{
		Use:   "export --openvex REPOSITORY:TAG|REPOSITORY@DIGEST",
		Short: "Write what is set aside of an image as OpenVEX",
		Long: "Write what is set aside of an image as OpenVEX 0.2.0. What names a package or a path is said of the packages of\n" +
			"the image that it fits, by package URL; what names no vulnerability VEX cannot say, and it is left out.\n" +
			"not-affected and false-positive are not_affected, accepted is affected with an action statement.",
		Example: "  ecru suppress export --openvex my-app:v42 -o my-app.vex.json\n  ecru suppress export --openvex my-app:v42 --author security@example.com",
		Args:    permissionsOr(f, cobra.ExactArgs(1)),
	}
	cmd.Flags().BoolVar(&openvex, "openvex", false, "write OpenVEX, the one format there is")
	cmd.Flags().StringVar(&author, "author", "", "who says so; empty means the ARN of the caller")
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write; empty means standard output")
	cmd.Flags().StringVar(&platform, "platform", "", "which image of an index, such as linux/arm64")
	permissions := []string{"ecr:ListImageScanFindingsOverrides", "ecr:DescribeImages", "ecr:BatchGetImage", "ecr:GetImageSbom"}
	cmd.RunE = f.with(permissions, func(cmd *cobra.Command, e *advisor.Endpoint, args []string) error {
		if !openvex {
			return fmt.Errorf("say in which format: --openvex")
		}
		doc, err := readSBOM(cmd, e, args[0], platform, "cyclonedx")
		if err != nil {
			return err
		}
		list, err := suppressions(cmd.Context(), e, doc.ref.Registry, "", "")
		if err != nil {
			return err
		}
		if author == "" {
			author = e.Caller
		}
		b, left, err := openVEX(doc, list, author, time.Now())
		if err != nil {
			return err
		}
		if left > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "note: %d suppressions name no vulnerability, which VEX cannot say: they are left out\n", left)
		}
		if output != "" {
			return os.WriteFile(output, append(b, '\n'), 0o644)
		}
		_, err = io.WriteString(cmd.OutOrStdout(), string(b)+"\n")
		return err
	})
	return cmd
}

// openVEX is the document of what is set aside of an image, and how much of that
// it cannot say.
func openVEX(doc *bill, list []suppression, author string, now time.Time) (b []byte, left int, err error) {
	img, err := vuln.ReadSBOM([]byte(doc.text))
	if err != nil {
		return nil, 0, err
	}
	at := vuln.Place{Repository: doc.ref.Repository, Digest: doc.digest}
	var words []vuln.Suppression
	for i := range list {
		s := &list[i]
		if s.Repository != "" && s.Repository != at.Repository || s.Digest != "" && s.Digest != at.Digest || s.State == "EXPIRED" {
			continue
		}
		if s.Vulnerability == "" {
			left++
			continue
		}
		at.Registry = s.Registry
		words = append(words, vuln.Suppression{
			ID: s.ID, Vulnerability: s.Vulnerability, Package: s.Package, Path: s.Path, Registry: s.Registry, Repository: s.Repository, Digest: s.Digest,
			Disposition: vuln.Disposition(s.Status), Reason: s.Reason, By: s.Author, Created: s.CreatedAt.UnixMilli(), Expires: s.ExpiresAt.UnixMilli(),
		})
	}
	id := fmt.Sprintf("https://openvex.dev/docs/ecru/%s/%s/%d", at.Repository, at.Digest, now.UnixMilli())
	b, err = vuln.WriteVEX(id, author, at, img.Spell(words), now.UnixMilli())
	return b, left, err
}
