package replication

import (
	"os"
	"testing"

	"github.com/ecruhq/ecru/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
