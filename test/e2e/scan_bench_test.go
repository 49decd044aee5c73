package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecruhq/ecru/scan/extract"
	"github.com/ecruhq/ecru/test/harness"
)

// benchLayer is a layer of at least 500 MB inflated from this machine's own
// programs and libraries, or the file that ECRU_TEST_LAYER names.
func benchLayer(b *testing.B) string {
	b.Helper()
	if name := os.Getenv("ECRU_TEST_LAYER"); name != "" {
		return name
	}
	name := filepath.Join(b.TempDir(), "layer")
	out, err := exec.CommandContext(b.Context(), "sh", "-c", `cd /usr && set -- bin lib/python3* lib/x86_64-linux-gnu share; tar -c --ignore-failed-read "$@" 2>/dev/null | head -c 540000000 | gzip -1 >"$0"`, name).CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return name
}

// BenchmarkScanLayer reads a layer in a worker, and lists it with gzip -dc | tar t:
// MB are of the compressed layer; ratio is the worker's rate over tar's.
func BenchmarkScanLayer(b *testing.B) {
	layer := benchLayer(b)
	info, err := os.Stat(layer)
	if err != nil {
		b.Fatal(err)
	}
	var own, tars time.Duration
	var peak int64
	n := 0
	for b.Loop() {
		f, err := os.Open(layer)
		if err != nil {
			b.Fatal(err)
		}
		cmd := exec.CommandContext(b.Context(), harness.Binary(b), extract.Subcommand, "{}")
		var inventory bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = f, &inventory, os.Stderr
		began := time.Now()
		err = cmd.Run()
		own += time.Since(began)
		f.Close()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := extract.Decode(inventory.Bytes()); err != nil {
			b.Fatal(err)
		}
		peak = max(peak, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
		began = time.Now()
		// A layer that is cut off has tar complain of its end.
		_ = exec.CommandContext(b.Context(), "sh", "-c", `gzip -dc "$0" | tar t >/dev/null 2>&1`, layer).Run()
		tars += time.Since(began)
		n++
	}
	b.ReportMetric(float64(info.Size())/1e6, "MB")
	b.ReportMetric(float64(info.Size())/1e6*float64(n)/own.Seconds(), "MB/s")
	b.ReportMetric(tars.Seconds()/own.Seconds(), "ratio")
	b.ReportMetric(float64(peak)/1024, "MiB-peak")
}

// benchScans is how many large layers wait to be read while others push and pull.
const benchScans = 4

// BenchmarkWhileScanning pushes and pulls small images while large ones are
// scanned, and while none is.
func BenchmarkWhileScanning(b *testing.B) {
	file := benchLayer(b)
	body, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	for _, workers := range []int{0, 1} {
		s := harness.New(b, "--scan-workers", strconv.Itoa(workers), "--log-level", "warn")
		password, err := harness.Password(b.Context(), s.Root())
		if err != nil {
			b.Fatal(err)
		}
		c := s.Registry(password)
		for _, name := range []string{"large", "small"} {
			if _, err := s.Root().CreateRepository(b.Context(), &ecr.CreateRepositoryInput{RepositoryName: &name,
				ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: name == "large"}}); err != nil {
				b.Fatal(err)
			}
		}
		for i := range benchScans {
			if _, err := c.PushImage(b.Context(), "large", "v"+strconv.Itoa(i), fmt.Appendf(nil, `{"os":"linux","architecture":"amd64","comment":"%d"}`, i), numbered(b, i, body)); err != nil {
				b.Fatal(err)
			}
		}
		var serial atomic.Int64
		for _, work := range []struct {
			name string
			do   func(context.Context) error
		}{
			{"push", func(ctx context.Context) error {
				n := serial.Add(1)
				_, err := c.PushImage(ctx, "small", "v"+strconv.FormatInt(n, 10), fmt.Appendf(nil, `{"os":"linux","architecture":"amd64","comment":"%d"}`, n), fmt.Appendf(nil, "layer %d", n))
				return err
			}},
			{"pull", func(ctx context.Context) error { _, _, err := c.PullImage(ctx, "small", "v1"); return err }},
		} {
			b.Run(fmt.Sprintf("%s/workers=%d", work.name, workers), func(b *testing.B) {
				n := 0
				for b.Loop() {
					if err := work.do(b.Context()); err != nil {
						b.Fatal(err)
					}
					n++
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "images/s")
				out, err := s.Root().DescribeImageScanFindings(b.Context(), &ecr.DescribeImageScanFindingsInput{
					RepositoryName: aws.String("large"), ImageId: &types.ImageIdentifier{ImageTag: aws.String("v" + strconv.Itoa(benchScans-1))}})
				if err == nil && out.ImageScanStatus.Status != types.ScanStatusInProgress && out.ImageScanStatus.Status != types.ScanStatusPending {
					b.Logf("all layers were read before the end (%s): the figure is too good", out.ImageScanStatus.Status)
				}
			})
		}
	}
}

// numbered is a gzipped layer with one more file, so that it is another layer.
func numbered(b *testing.B, n int, layer []byte) []byte {
	b.Helper()
	var file bytes.Buffer
	w := tar.NewWriter(&file)
	if err := w.WriteHeader(&tar.Header{Name: "number-" + strconv.Itoa(n), Mode: 0o644}); err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), "gzip")
	cmd.Stdin = &file // without an end: the layer goes on
	member, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	return append(member, layer...)
}
