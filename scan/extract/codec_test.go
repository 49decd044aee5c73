package extract

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/ecruhq/ecru/vuln"
)

// everything is a layer in which no field is empty.
func everything() vuln.Layer {
	return vuln.Layer{
		Extractor: 7, Status: vuln.LayerLimited, Message: "a bound", Entries: 1 << 40, Bytes: 1 << 50,
		Files: []vuln.File{
			{Path: "a\xff/b", Kind: vuln.RPM, Packages: []vuln.Package{
				{Name: "n", Version: "1:2-3", SourceName: "s", SourceVersion: "2-3", Epoch: "1", Release: "3", Arch: "x86_64", Module: "m:1:2:3", Licenses: []string{"MIT", "BSD"}},
				{Name: "o", Version: "1"}}},
			{Path: "c", Kind: vuln.Go, Packages: []vuln.Package{{Name: "stdlib", Version: "1.22.0"}}},
		},
		Whiteouts: []string{"w"}, Opaque: []string{"", "o"},
		Links:      []vuln.Link{{Path: "lib", Target: "usr/lib"}},
		OSReleases: []vuln.OSRelease{{Path: "etc/os-release", ID: "x", IDLike: []string{"y", "z"}, VersionID: "1", Codename: "c", PrettyName: "p", CPEName: "cpe"}},
		Paths:      []uint64{0, 1, 1<<64 - 1}, Owned: []uint64{5}, Warnings: []string{"a: b"},
	}
}

func TestEncodeAndDecode(t *testing.T) {
	for _, want := range []vuln.Layer{{}, {Status: vuln.LayerFailed, Message: "why"}, everything()} {
		got, err := Decode(Encode(want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v\nwant %+v", got, err, want)
		}
	}
	if reflect.ValueOf(everything()).NumField() != 13 || reflect.ValueOf(vuln.Package{}).NumField() != 9 || reflect.ValueOf(vuln.OSRelease{}).NumField() != 7 {
		t.Error("the inventory has other fields: the codec has to write them, and Version to go up")
	}
}

func TestDecodeDamaged(t *testing.T) {
	good := Encode(everything())
	for i := 0; i < len(good); i += 1 + i/16 {
		for _, b := range [][]byte{good[:i], flip(append([]byte(nil), good...), i)} {
			if l, err := Decode(b); err == nil && !reflect.DeepEqual(l, everything()) {
				t.Errorf("byte %d: another layer without an error", i)
			}
		}
	}
	if _, err := Decode([]byte{9}); err == nil || !strings.Contains(err.Error(), "format 9") {
		t.Errorf("another format: %v", err)
	}
	bomb := append([]byte{codecFormat}, bytes.Repeat(zstdFrame(make([]byte, 8<<20)), 24)...)
	if _, err := Decode(bomb); err == nil {
		t.Error("a bomb was decoded")
	}
	// Many packages of nothing: small when stored, large in memory.
	w := &encoder{}
	for range 5 {
		w.num(0)
	}
	w.num(1)
	w.str("p")
	w.str("k")
	w.num(4 << 20)
	w.b = append(w.b, make([]byte, 40<<20)...)
	if _, err := Decode(append([]byte{codecFormat}, zstdFrame(w.b)...)); err == nil {
		t.Error("four million packages were decoded")
	}
}

func FuzzDecode(f *testing.F) {
	plain, err := zstdDecoder().DecodeAll(Encode(everything())[1:], nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Fuzz(func(t *testing.T, plain []byte) {
		l, err := Decode(append([]byte{codecFormat}, zstdFrame(plain)...))
		if err != nil {
			return
		}
		again, err := Decode(Encode(l))
		if err != nil || !reflect.DeepEqual(again, l) {
			t.Errorf("%+v became %+v, %v", l, again, err)
		}
	})
}
