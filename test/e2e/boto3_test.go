package e2e

import (
	"path/filepath"
	"testing"

	"github.com/ecruhq/ecru/test/harness"
)

// boto3 runs a script of testdata against a fresh server.
func boto3(t *testing.T, name string) {
	harness.Need(t, harness.PythonProgram, harness.Boto3Module)
	s := harness.New(t)
	script, err := filepath.Abs(filepath.Join("testdata", name))
	must(t, script, err)
	harness.Command{Env: harness.AWSEnviron(t, harness.RootKey, harness.RootValue),
		Args: []string{harness.PythonProgram, script, s.URL}}.Must(t)
}

func TestBoto3(t *testing.T)       { boto3(t, "boto3_test.py") }
func TestBoto3Access(t *testing.T) { boto3(t, "boto3_access_test.py") }
