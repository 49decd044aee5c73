package registry_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ecruhq/ecru/ecr"
	"github.com/ecruhq/ecru/meta"
	"github.com/ecruhq/ecru/registry"
	"github.com/ecruhq/ecru/vuln"
)

// The synthetic images of BenchmarkDelta. Each has a base layer and a layer of an
// application; five images share three applications' layers. Bases are of
// families, which have packages in common. At 100,000 images that makes 60,300
// layers, 312,000 package versions and about 6 million of them in layers.
const (
	families     = 30
	basesOf      = 10  // a family
	familyPVs    = 400 // package versions of the operating system in a family
	basePackages = 250
	ownPackages  = 100
	vulnerable   = 5 // one of so many package versions is, by two vulnerabilities
)

// A fleet is what has been put into a world.
type fleet struct {
	os, own []int64 // package versions: of the families, one after the other, and of applications, the rare ones last
	round   int     // how often put was called
}

// newFleet fills a world with n scanned images, by records alone: it writes the
// rows in the order of their keys, without durability, before the world opens.
func newFleet(b *testing.B, w *world, n int) *fleet {
	b.Helper()
	w.create("fleet")
	var repo *ecr.Repository
	w.ok(w.db.View(context.Background(), func(tx *meta.Tx) (err error) {
		repo, err = tx.Repository(in("fleet"))
		return err
	}))
	w.ok(w.db.Close())
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.dir, "meta.db")+"?_pragma=synchronous(0)&_pragma=cache_size(-200000)&_pragma=journal_mode(memory)")
	w.ok(err)
	db.SetMaxOpenConns(1)
	f := &fleet{}
	for i := range families*familyPVs + 3*n {
		if i < families*familyPVs {
			f.os = append(f.os, int64(i+1))
		} else {
			f.own = append(f.own, int64(i+1))
		}
	}
	fill := &filler{b: b, db: db, now: w.time().UnixMilli()}
	fill.packages(f)
	layers, apps := families*basesOf, max(1, n*3/5)
	bases, own := make([][]int64, layers), make([][]int64, apps)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range bases {
		at := i / basesOf * familyPVs
		for _, p := range r.Perm(familyPVs)[:basePackages] {
			bases[i] = append(bases[i], f.os[at+p])
		}
		slices.Sort(bases[i])
	}
	for i := range own {
		for range ownPackages { // some packages are in many applications
			own[i] = append(own[i], f.own[int(math.Pow(r.Float64(), 4)*float64(len(f.own)))])
		}
		slices.Sort(own[i])
		own[i] = slices.Compact(own[i])
	}
	fill.layers(append(slices.Clone(bases), own...))
	fill.images(repo.Row, n, bases, own)
	w.ok(db.Close())
	w.openDB(nil)
	return f
}

// A filler writes rows of a database file.
type filler struct {
	b   *testing.B
	db  *sql.DB
	now int64
}

func (f *filler) exec(text string, args ...any) {
	f.b.Helper()
	if _, err := f.db.Exec(text, args...); err != nil {
		f.b.Fatal(err)
	}
}

// insert writes n rows in one transaction, their values one after the other.
func (f *filler) insert(table string, n int, row func(int) []any) {
	f.b.Helper()
	tx, err := f.db.Begin()
	if err != nil {
		f.b.Fatal(err)
	}
	var many *sql.Stmt
	for i := 0; i < n; {
		m := min(100, n-i)
		var args []any
		for j := range m {
			args = append(args, row(i+j)...)
		}
		tuple := "(" + strings.TrimSuffix(strings.Repeat("?,", len(args)/m), ",") + ")"
		if m < 100 || many == nil {
			if many, err = tx.Prepare("insert into " + table + " values " + strings.TrimSuffix(strings.Repeat(tuple+",", m), ",")); err != nil {
				f.b.Fatal(err)
			}
		}
		if _, err := many.Exec(args...); err != nil {
			f.b.Fatal(err)
		}
		i += m
	}
	if err := tx.Commit(); err != nil {
		f.b.Fatal(err)
	}
}

// isVulnerable says of which package versions something is known.
func isVulnerable(pv int64) bool { return pv%vulnerable == 0 }

func identityOf(pv int64) vuln.Identity {
	if pv <= families*familyPVs {
		return vuln.Identity{Key: vuln.Key{Ecosystem: "Debian:12", Name: fmt.Sprintf("libexample%05d", pv/3)}, Version: fmt.Sprintf("1.%d-1+deb12u1", pv%3)}
	}
	return vuln.Identity{Key: vuln.Key{Ecosystem: "npm", Name: fmt.Sprintf("example-%07d", pv/3)}, Version: fmt.Sprintf("2.%d.0", pv%3)}
}

// matches is what is wrong with a package version from the beginning.
func matches(pv int64) []vuln.Match {
	return []vuln.Match{
		{Vulnerability: fmt.Sprintf("CVE-2025-%d", pv/6), Fix: vuln.FixNo, Rating: vuln.Rating{Severity: vuln.High}},
		{Vulnerability: fmt.Sprintf("CVE-2026-%d", pv/4), Fix: vuln.FixNo, Rating: vuln.Rating{Severity: vuln.Low}},
	}
}

func (f *filler) packages(fl *fleet) {
	n := len(fl.os) + len(fl.own)
	f.insert("pvs (id, ecosystem, name, version, module, stale, matched)", n, func(i int) []any {
		id := identityOf(int64(i + 1))
		return []any{i + 1, id.Ecosystem, id.Name, id.Version, "", 0, 0}
	})
	some := n / vulnerable
	at := func(i int) (int64, vuln.Match) {
		pv := int64(i/2+1) * vulnerable
		return pv, matches(pv)[i%2]
	}
	f.insert("pv_vulns (pv, vulnerability, body)", 2*some, func(i int) []any {
		pv, m := at(i)
		body, err := json.Marshal(&m)
		if err != nil {
			f.b.Fatal(err)
		}
		return []any{pv, m.Vulnerability, string(body)}
	})
	f.insert("pv_history (pv_id, vulnerability, severity, first_at)", 2*some, func(i int) []any {
		pv, m := at(i)
		return []any{pv, m.Vulnerability, m.Rating.Severity.Rank(), f.now}
	})
}

func baseDigest(i int) string { return fmt.Sprintf("sha256:ba5e%060x", i) }
func appDigest(i int) string  { return fmt.Sprintf("sha256:aaaa%060x", i) }

// layers writes layers, which get the keys from 1 on, and what is in them.
func (f *filler) layers(layers [][]int64) {
	f.insert("layer_inventories (id, digest, extractor, status)", len(layers), func(i int) []any {
		if i < families*basesOf {
			return []any{i + 1, baseDigest(i), 1, string(vuln.LayerComplete)}
		}
		return []any{i + 1, appDigest(i - families*basesOf), 1, string(vuln.LayerComplete)}
	})
	f.exec("drop index layer_pvs_layer")
	var pairs [][2]int64
	for i, pvs := range layers {
		for _, pv := range pvs {
			pairs = append(pairs, [2]int64{pv, int64(i + 1)})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]int64) int {
		if a[0] != b[0] {
			return int(a[0] - b[0])
		}
		return int(a[1] - b[1])
	})
	f.insert("layer_pvs (pv_id, layer_id)", len(pairs), func(i int) []any { return []any{pairs[i][0], pairs[i][1]} })
	f.exec("create index layer_pvs_layer on layer_pvs (layer_id, pv_id)")
}

// images writes n images.
func (f *filler) images(repo int64, n int, bases, own [][]int64) {
	app := func(i int) int { return i * 3 / 5 % len(own) }
	f.insert("images (id, repo_id, digest, media_type, artifact_type, annotations, manifest_size, size, pushed_at, status, tag_count)", n, func(i int) []any {
		return []any{i + 1, repo, fmt.Sprintf("sha256:%064x", i), manifestType, "application/vnd.oci.image.config.v1+json", "", 2, 1000, f.now, string(ecr.ImageActive), 1}
	})
	f.insert("manifests (image_id, payload)", n, func(i int) []any { return []any{i + 1, []byte("{}")} })
	f.insert("tags (repo_id, name, image_id, updated_at)", n, func(i int) []any { return []any{repo, fmt.Sprintf("v%06d", i), i + 1, f.now} })
	type pair struct{ layer, image, place int }
	var pairs []pair
	for i := range n {
		pairs = append(pairs, pair{i%len(bases) + 1, i + 1, 0}, pair{len(bases) + app(i) + 1, i + 1, 1})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return (a.layer-b.layer)*2*n + a.image - b.image })
	f.insert("image_layers (layer_id, image_id, place)", len(pairs), func(i int) []any { return []any{pairs[i].layer, pairs[i].image, pairs[i].place} })
	// The body of an image without the packages of its own: packing all of them
	// would take most of the time.
	bodies := make([][]byte, len(bases))
	for i, pvs := range bases {
		bodies[i] = f.body(i, pvs)
	}
	f.exec("drop index image_inventories_chain")
	f.insert("image_inventories (image_id, os_pvs, other_pvs, chain, body)", n, func(i int) []any {
		h := fnv.New64a()
		h.Write([]byte(baseDigest(i%len(bases)) + "\n" + appDigest(app(i)) + "\n"))
		return []any{i + 1, packKeys(bases[i%len(bases)]), packKeys(own[app(i)]), int64(h.Sum64()), bodies[i%len(bases)]}
	})
	f.exec("create index image_inventories_chain on image_inventories (chain, image_id)")
	f.insert("image_scans (image_id, type, status, description, requested_at, first_at, completed_at, source_at, counts)", n, func(i int) []any {
		bad := 0
		for _, list := range [][]int64{bases[i%len(bases)], own[app(i)]} {
			for _, pv := range list {
				if isVulnerable(pv) {
					bad++
				}
			}
		}
		counts := fmt.Sprintf(`{"HIGH":%d,"LOW":%d}`, bad, bad)
		return []any{i + 1, string(ecr.ScanEnhanced), string(ecr.ScanActive), "Continuous scan is selected for image.", f.now, f.now, f.now, f.now, counts}
	})
}

// body is the stored form of the inventory of an image on a base.
func (f *filler) body(base int, pvs []int64) []byte {
	inv := registry.Inventory{Layers: []registry.ScannedLayer{{Digest: baseDigest(base), Status: string(vuln.LayerComplete)}, {Digest: appDigest(0), Status: string(vuln.LayerComplete)}}}
	inv.Status = vuln.LayerComplete
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	line := func(prefix string, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			f.b.Fatal(err)
		}
		fmt.Fprintf(z, "%s%s\n", prefix, text)
	}
	line("", &inv)
	for _, pv := range pvs {
		id := identityOf(pv)
		line("p", vuln.Installed{
			Package: vuln.Package{Name: id.Name, Version: id.Version, SourceName: id.Name, SourceVersion: id.Version, Arch: "amd64", Licenses: []string{"GPL-2"}},
			Kind:    vuln.Dpkg, Path: "var/lib/dpkg/status",
		})
	}
	for i, pv := range pvs {
		line(fmt.Sprintf("s%d ", pv), vuln.Set{Identity: identityOf(pv), Packages: []int{i}})
	}
	if err := z.Close(); err != nil {
		f.b.Fatal(err)
	}
	return b.Bytes()
}

// packKeys is as package meta stores them.
func packKeys(keys []int64) []byte {
	b := []byte{}
	last := int64(0)
	for _, k := range keys {
		b = binary.AppendUvarint(b, uint64(k-last))
		last = k
	}
	return b
}
