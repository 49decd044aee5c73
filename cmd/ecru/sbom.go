package main

import (
	"fmt"
	"io"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/spf13/cobra"

	"github.com/ecruhq/ecru/advisor"
	"github.com/ecruhq/ecru/awsapi/ecr/ext"
)

func newSBOM() *cobra.Command {
	f := new(endpointFlags)
	var form, output, platform string
	cmd := &cobra.Command{
		Use:   "sbom REPOSITORY:TAG|REPOSITORY@DIGEST",
		Short: "Write the packages of an image as a software bill of materials",
		Long: "Write the packages of an image that was scanned as a software bill of materials, CycloneDX 1.6 or SPDX 2.3,\n" +
			"JSON. It is the same, byte by byte, whenever it is written. It is an operation of Ecru's, not of AWS ECR.",
		Example: "  ecru sbom my-app:v42 > my-app.cdx.json\n  ecru sbom my-app:v42 --format spdx --platform linux/arm64 -o my-app.spdx.json",
		Args:    permissionsOr(f, cobra.ExactArgs(1)),
	}
	f.add(cmd)
	cmd.Flags().StringVar(&form, "format", "cyclonedx", "cyclonedx or spdx")
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write; empty means standard output")
	cmd.Flags().StringVar(&platform, "platform", "", "which image of an index, such as linux/arm64")
	cmd.RunE = f.with([]string{"ecr:DescribeImages", "ecr:BatchGetImage", "ecr:GetImageSbom"}, func(cmd *cobra.Command, e *advisor.Endpoint, args []string) error {
		doc, err := readSBOM(cmd, e, args[0], platform, form)
		if err != nil {
			return err
		}
		if output != "" {
			return os.WriteFile(output, []byte(doc.text), 0o644)
		}
		_, err = io.WriteString(cmd.OutOrStdout(), doc.text)
		return err
	})
	return cmd
}

// A bill is a bill of materials of an image.
type bill struct {
	text   string
	ref    advisor.Reference
	digest string
}

// readSBOM asks for the bill of materials of the image that a reference leads to.
func readSBOM(cmd *cobra.Command, e *advisor.Endpoint, text, platform, form string) (*bill, error) {
	formats := map[string]string{"cyclonedx": "CYCLONEDX", "spdx": "SPDX"}
	if formats[form] == "" {
		return nil, fmt.Errorf("--format %q: want cyclonedx or spdx", form)
	}
	ref, err := advisor.ParseReference(text)
	if err != nil {
		return nil, err
	}
	t, err := e.Resolve(cmd.Context(), ref)
	if err != nil {
		return nil, err
	}
	if platform != "" {
		if err := t.Only([]string{platform}); err != nil {
			return nil, err
		}
	}
	p, err := t.One()
	if err != nil {
		return nil, err
	}
	in := &ext.GetImageSbomInput{RepositoryName: &ref.Repository, ImageId: &types.ImageIdentifier{ImageDigest: &p.Digest}, Format: formats[form]}
	if ref.Registry != "" {
		in.RegistryId = &ref.Registry
	}
	out := new(ext.GetImageSbomOutput)
	if err := e.Call(cmd.Context(), "GetImageSbom", in, out); err != nil {
		return nil, err
	}
	if out.Document == nil {
		return nil, fmt.Errorf("GetImageSbom gave no document for %s", ref.At(p.Digest))
	}
	if out.Source == "SBOM" {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: the layers of %s tell nothing: this is from an SBOM that is attached to it\n", ref.At(p.Digest))
	}
	return &bill{aws.ToString(out.Document), ref, p.Digest}, nil
}
