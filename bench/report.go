package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/ecruhq/ecru/test/harness"
)

// A report is all that was measured.
type report struct {
	Rows   []*row
	Memory map[string]int64  // highest resident memory in bytes, by "server scenario"
	Syncs  map[string]string // what a small push syncs, by server
}

// A row is one metric of one scenario.
type row struct {
	Scenario, Name, Unit string
	LowerIsBetter        bool
	Samples              map[string][]float64 // by server
}

func (r *report) rows(s scenario) []*row {
	var rows []*row
	for _, m := range s.metrics {
		rows = append(rows, &row{s.name, m.name, m.unit, m.lower, map[string][]float64{}})
	}
	r.Rows = append(r.Rows, rows...)
	return rows
}

// remember notes a server's memory before it is stopped.
func (r *report) remember(s scenario, p *process) {
	if p.pid == 0 {
		return
	}
	now, highest, err := harness.Memory(p.pid)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: memory of", p.name, "is unknown:", err)
		return
	}
	for k, v := range map[string]int64{p.name + " " + s.name: highest, p.name + " highest": highest, p.name + " at a scenario's end": now} {
		r.Memory[k] = max(r.Memory[k], v)
	}
}

// ratio says how many times better Ecru is than another server: more than 1 is
// better.
func (w *row) ratio(other string) string {
	a, b := median(w.Samples["ecru"]), median(w.Samples[other])
	if a == 0 || b == 0 {
		return "-"
	}
	if w.LowerIsBetter {
		a, b = b, a
	}
	return fmt.Sprintf("%.2f", a/b)
}

func figure(samples []float64) string {
	m := median(samples)
	switch {
	case m == 0:
		return "-"
	case m < 10:
		return fmt.Sprintf("%.2f", m)
	case m < 100:
		return fmt.Sprintf("%.1f", m)
	}
	return fmt.Sprintf("%.0f", m)
}

func (r *report) print(out io.Writer, o options) {
	fmt.Fprintf(out, "Medians of %d rounds. Ratios above 1 mean that Ecru is better.\n", o.rounds)
	fmt.Fprintf(out, "limit: a bare net/http server that only writes, hashes and syncs the bytes, or serves them.\n\n")
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tunit\tecru\tdocker-registry\tlimit\tecru/registry\tecru/limit\t")
	for _, row := range r.Rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", row.Name, row.Unit, figure(row.Samples["ecru"]), figure(row.Samples["peer"]),
			figure(row.Samples["limit"]), row.ratio("peer"), row.ratio("limit"))
	}
	w.Flush()
	fmt.Fprintf(out, "\nHighest resident memory, MiB:\n")
	w = tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tecru\tdocker-registry\t")
	seen := map[string]bool{}
	for _, row := range r.Rows {
		if !seen[row.Scenario] {
			fmt.Fprintf(w, "%s\t%s\t%s\t\n", row.Scenario, r.memory("ecru "+row.Scenario), r.memory("peer "+row.Scenario))
		}
		seen[row.Scenario] = true
	}
	fmt.Fprintf(w, "resident when a scenario ends, at most\t%s\t%s\t\n", r.memory("ecru at a scenario's end"), r.memory("peer at a scenario's end"))
	w.Flush()
	fmt.Fprintf(out, "\nDurability, by strace during the push of one small image (two blobs and a manifest):\n")
	fmt.Fprintf(out, "  ecru:            %s\n  docker-registry: %s\n", r.Syncs["ecru"], r.Syncs["peer"])
}

func (r *report) memory(key string) string {
	if r.Memory[key] == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", float64(r.Memory[key])/mib)
}

func (r *report) write(file string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
