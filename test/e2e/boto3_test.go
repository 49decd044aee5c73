package e2e

import (
	"path/filepath"
	"testing"

	"github.com/ecruhq/ecru/test/harness"
)

func TestBoto3(t *testing.T) {
	harness.Need(t, harness.PythonProgram, harness.Boto3Module)
	s := harness.New(t)
	script, err := filepath.Abs("testdata/boto3_test.py")
	must(t, script, err)
	harness.Command{Env: harness.AWSEnviron(t, harness.RootKey, harness.RootValue),
		Args: []string{harness.PythonProgram, script, s.URL}}.Must(t)
}
