package replication

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecruhq/ecru/test/harness"
)

// Programs of Debian's iproute2.
const (
	ipProgram = "/usr/sbin/ip"
	tcProgram = "/usr/sbin/tc"
)

// A netns is a region's network namespace: interface "data" leads to the other
// regions, "mgmt" to the test.
type netns struct {
	t    *testing.T
	name string
	n    int // of the region, from 1
	net  int // second octet of all addresses
}

func (s *netns) data() string { return fmt.Sprintf("10.%d.100.%d", s.net, s.n) }
func (s *netns) mgmt() string { return fmt.Sprintf("10.%d.%d.2", s.net, s.n) }

func run(t *testing.T, args ...string) string {
	t.Helper()
	return harness.Command{Args: args}.Must(t)
}

// undo runs ip at a test's end, when the test's own context is over.
func undo(t *testing.T, args ...string) {
	if _, err := (harness.Command{Args: append([]string{ipProgram}, args...)}).Output(context.Background()); err != nil {
		t.Error(err)
	}
}

// newNamespaces makes a namespace a region, joined by a switch in one of its
// own. The test is skipped where that cannot be.
func newNamespaces(t *testing.T, names ...string) map[string]*netns {
	t.Helper()
	harness.Need(t, ipProgram, tcProgram)
	if os.Getuid() != 0 {
		harness.Unavailable(t, "network namespaces need root")
	}
	mark := fmt.Sprintf("ecru%d", os.Getpid())
	if _, err := (harness.Command{Args: []string{ipProgram, "netns", "add", mark}}).Output(t.Context()); err != nil {
		harness.Unavailable(t, "network namespaces cannot be made here: "+err.Error())
	}
	t.Cleanup(func() { undo(t, "netns", "del", mark) })
	run(t, ipProgram, "-n", mark, "link", "add", "br0", "type", "bridge")
	run(t, ipProgram, "-n", mark, "link", "set", "br0", "up")
	out := map[string]*netns{}
	for i, region := range names {
		s := &netns{t, fmt.Sprintf("%s-%d", mark, i+1), i + 1, 200 + os.Getpid()%50}
		out[region] = s
		run(t, ipProgram, "netns", "add", s.name)
		port, host := fmt.Sprintf("p%d", s.n), fmt.Sprintf("ecru%d-%d", os.Getpid()%10000, s.n)
		t.Cleanup(func() {
			undo(t, "link", "del", host)
			undo(t, "netns", "del", s.name)
		})
		run(t, ipProgram, "link", "add", host, "type", "veth", "peer", "name", "mgmt", "netns", s.name)
		run(t, ipProgram, "addr", "add", fmt.Sprintf("10.%d.%d.1/30", s.net, s.n), "dev", host)
		run(t, ipProgram, "link", "set", host, "up")
		run(t, ipProgram, "-n", s.name, "link", "add", "data", "type", "veth", "peer", "name", port, "netns", mark)
		run(t, ipProgram, "-n", mark, "link", "set", port, "master", "br0", "up")
		run(t, ipProgram, "-n", s.name, "addr", "add", s.mgmt()+"/30", "dev", "mgmt")
		run(t, ipProgram, "-n", s.name, "addr", "add", s.data()+"/24", "dev", "data")
		for _, dev := range []string{"lo", "mgmt", "data"} {
			run(t, ipProgram, "-n", s.name, "link", "set", dev, "up")
		}
	}
	return out
}

// binary is a program that runs ecru in the namespace.
func (s *netns) binary(dir string) string {
	s.t.Helper()
	path := filepath.Join(dir, s.name)
	text := fmt.Sprintf("#!/bin/sh\nexec %s netns exec %s %s \"$@\"\n", ipProgram, s.name, harness.Binary(s.t))
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// cut takes the region off the others, or lets it back.
func (s *netns) cut(off bool) {
	state := "up"
	if off {
		state = "down"
	}
	run(s.t, ipProgram, "-n", s.name, "link", "set", "data", state)
}

// delay has all that the region sends to the others arrive late; false if the
// kernel cannot do that.
func (s *netns) delay(ms int) bool {
	args := []string{tcProgram, "-n", s.name, "qdisc", "replace", "dev", "data", "root", "netem", "delay", fmt.Sprintf("%dms", ms), "limit", "100000"}
	if ms == 0 {
		args = []string{tcProgram, "-n", s.name, "qdisc", "del", "dev", "data", "root"}
	}
	_, err := harness.Command{Args: args}.Output(s.t.Context())
	if err != nil && ms > 0 && !strings.Contains(err.Error(), "netem") {
		s.t.Errorf("tc: %v", err)
	}
	return err == nil
}

// sent is how many bytes the region has sent to the others, with all headers.
func (s *netns) sent() int64 {
	s.t.Helper()
	var links []struct {
		Stats struct{ Tx struct{ Bytes int64 } } `json:"stats64"`
	}
	if err := json.Unmarshal([]byte(run(s.t, ipProgram, "-n", s.name, "-s", "-j", "link", "show", "data")), &links); err != nil || len(links) != 1 {
		s.t.Fatalf("ip -s link: %v", err)
	}
	return links[0].Stats.Tx.Bytes
}
