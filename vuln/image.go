package vuln

// An Image is the inventory of an image: what is there once all its layers lie
// on each other.
type Image struct {
	OS       OSRelease   // zero if the image tells of no distribution
	Packages []Installed // by kind, path, and the order of the file
	// Status is the worst of the layers' and Message the first that explains it;
	// anything but LayerComplete means that there may be more packages.
	Status  LayerStatus
	Message string
	Sourced bool // read from an SBOM that somebody supplied, not from the layers
}

// Installed is a package in an image.
type Installed struct {
	Package
	Kind Kind
	Path string // of its evidence, where it really lies: links are followed
	// Layer is the index of the layer since which each later state of the image
	// has had this package (in this place, unless it is the operating system's):
	// the one to rebuild to get rid of it.
	Layer int
	// Owned: a package of the operating system brought the evidence, so the
	// distribution patches it and its advisories count, not the language's.
	Owned bool
}

// A Base is a known base image.
type Base struct {
	Name   string
	Layers []string // digests, from the lowest
}

// FindBase returns the base that most of an image's layers come from: all of
// its layers are the image's lowest. Of two that are alike the first wins.
func FindBase(layers []string, known []Base) (Base, bool) {
	best := -1
	for i, b := range known {
		if n := len(b.Layers); n == 0 || n > len(layers) || best >= 0 && n <= len(known[best].Layers) {
			continue
		}
		if startsWith(layers, b.Layers) {
			best = i
		}
	}
	if best < 0 {
		return Base{}, false
	}
	return known[best], true
}

func startsWith(layers, prefix []string) bool {
	for i, l := range prefix {
		if layers[i] != l {
			return false
		}
	}
	return true
}
