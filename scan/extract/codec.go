package extract

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/klauspost/compress/zstd"

	"github.com/ecruhq/ecru/vuln"
)

// The stored form of a layer's inventory, all of it after the first byte in one
// zstd frame:
//
//	format      byte, 1
//	extractor, status, message, entries, bytes
//	files       count, then path, kind, packages (count, then ten strings, licences)
//	whiteouts, opaque, warnings   count, strings
//	links       count, then path, target
//	os-releases count, then seven strings, with ID_LIKE as a list
//	paths, owned count, then 8 bytes each, little endian
//
// Numbers and lengths are unsigned varints. Strings are bytes, not always UTF-8:
// paths are as the archive has them.
const (
	codecFormat = 1
	maxEncoded  = 128 * mib // compressed
	maxDecoded  = 160 * mib
	maxHeld     = 512 * mib // of the decoded layer in memory
)

var errDecode = errors.New("extract: the stored inventory is damaged: extract the layer again")

// Encode gives the form of a layer for storage.
func Encode(l vuln.Layer) []byte {
	w := &encoder{}
	w.num(uint64(l.Extractor))
	w.str(string(l.Status))
	w.str(l.Message)
	w.num(uint64(l.Entries))
	w.num(uint64(l.Bytes))
	w.num(uint64(len(l.Files)))
	for _, f := range l.Files {
		w.str(f.Path)
		w.str(string(f.Kind))
		w.num(uint64(len(f.Packages)))
		for _, p := range f.Packages {
			w.pkg(p)
		}
	}
	w.strs(l.Whiteouts)
	w.strs(l.Opaque)
	w.strs(l.Warnings)
	w.num(uint64(len(l.Links)))
	for _, k := range l.Links {
		w.str(k.Path)
		w.str(k.Target)
	}
	w.num(uint64(len(l.OSReleases)))
	for _, o := range l.OSReleases {
		w.str(o.Path)
		w.str(o.ID)
		w.strs(o.IDLike)
		w.str(o.VersionID)
		w.str(o.Codename)
		w.str(o.PrettyName)
		w.str(o.CPEName)
	}
	w.hashes(l.Paths)
	w.hashes(l.Owned)
	return zstdEncoder().EncodeAll(w.b, []byte{codecFormat})
}

// zstdEncoder and zstdDecoder are made once: both are without state between
// calls and safe for concurrent use.
var (
	zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault))
		if err != nil {
			panic(err) // options that are constants
		}
		return e
	})
	zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(uint64(maxDecoded)))
		if err != nil {
			panic(err) // options that are constants
		}
		return d
	})
)

type encoder struct{ b []byte }

func (w *encoder) num(n uint64) { w.b = binary.AppendUvarint(w.b, n) }

func (w *encoder) str(s string) {
	w.num(uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *encoder) strs(ss []string) {
	w.num(uint64(len(ss)))
	for _, s := range ss {
		w.str(s)
	}
}

func (w *encoder) hashes(hs []uint64) {
	w.num(uint64(len(hs)))
	for _, h := range hs {
		w.b = binary.LittleEndian.AppendUint64(w.b, h)
	}
}

func (w *encoder) pkg(p vuln.Package) {
	for _, s := range []string{p.Name, p.Version, p.SourceName, p.SourceVersion, p.Epoch, p.Release, p.Arch, p.Module} {
		w.str(s)
	}
	w.strs(p.Licenses)
}

// Decode is the inverse of Encode. Any bytes at all give a layer, of 512 MiB in
// memory at the very most, or an error.
func Decode(b []byte) (vuln.Layer, error) {
	if len(b) == 0 || int64(len(b)) > maxEncoded {
		return vuln.Layer{}, errDecode
	}
	if b[0] != codecFormat {
		return vuln.Layer{}, fmt.Errorf("extract: inventory in format %d, this ecru knows %d: extract the layer again", b[0], codecFormat)
	}
	plain, err := zstdDecoder().DecodeAll(b[1:], nil)
	if err != nil {
		return vuln.Layer{}, errDecode
	}
	r := &decoder{b: plain, held: maxHeld}
	l := r.layer()
	if r.bad || len(r.b) != 0 {
		return vuln.Layer{}, errDecode
	}
	return l, nil
}

// A decoder reads what an encoder wrote; after damage it is bad and gives zeros.
type decoder struct {
	b    []byte
	held int64 // memory that the layer may still take
	bad  bool
}

func (r *decoder) layer() vuln.Layer {
	l := vuln.Layer{
		Extractor: int(r.num()), Status: vuln.LayerStatus(r.str()), Message: r.str(),
		Entries: int64(r.num()), Bytes: int64(r.num()),
	}
	l.Files = list(r, 3, func() vuln.File {
		return vuln.File{Path: r.str(), Kind: vuln.Kind(r.str()), Packages: list(r, 9, r.pkg)}
	})
	l.Whiteouts, l.Opaque, l.Warnings = r.strs(), r.strs(), r.strs()
	l.Links = list(r, 2, func() vuln.Link { return vuln.Link{Path: r.str(), Target: r.str()} })
	l.OSReleases = list(r, 7, func() vuln.OSRelease {
		return vuln.OSRelease{
			Path: r.str(), ID: r.str(), IDLike: r.strs(), VersionID: r.str(),
			Codename: r.str(), PrettyName: r.str(), CPEName: r.str(),
		}
	})
	l.Paths, l.Owned = r.hashes(), r.hashes()
	return l
}

func (r *decoder) num() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return n
}

// count is the number of elements that follow, each of at least size bytes.
func (r *decoder) count(size int) int {
	n := r.num()
	if n > uint64(len(r.b)/size) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

func (r *decoder) str() string {
	n := r.count(1)
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *decoder) strs() []string { return list(r, 1, r.str) }

func (r *decoder) hashes() []uint64 {
	n := r.count(8)
	if n == 0 {
		return nil
	}
	hs := make([]uint64, n)
	for i := range hs {
		hs[i] = binary.LittleEndian.Uint64(r.b[8*i:])
	}
	r.b = r.b[8*n:]
	return hs
}

func (r *decoder) pkg() vuln.Package {
	return vuln.Package{
		Name: r.str(), Version: r.str(), SourceName: r.str(), SourceVersion: r.str(),
		Epoch: r.str(), Release: r.str(), Arch: r.str(), Module: r.str(), Licenses: r.strs(),
	}
}

// list reads a counted list of elements of at least size bytes each; nil if it
// has none.
func list[T any](r *decoder, size int, read func() T) []T {
	n := r.count(size)
	if n == 0 {
		return nil
	}
	var element T
	if r.held -= int64(n) * int64(unsafe.Sizeof(element)); r.held < 0 {
		r.bad, r.b = true, nil
		return nil
	}
	out := make([]T, 0, n)
	for i := 0; i < n && !r.bad; i++ {
		out = append(out, read())
	}
	return out
}
