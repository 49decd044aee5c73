package vuln

import (
	"net/url"
	"strings"

	packageurl "github.com/package-url/packageurl-go"
)

// purlTypes are the types of package URLs by kind.
func purlType(k Kind) string {
	switch k {
	case Dpkg:
		return packageurl.TypeDebian
	case Apk:
		return packageurl.TypeApk
	}
	return string(k) // the kinds of languages are named after them
}

// PURL is the package URL of an installed package: what SBOMs and VEX call it.
func (img *Image) PURL(p *Installed) string {
	u := packageurl.PackageURL{Type: purlType(p.Kind), Name: p.Name, Version: p.Version}
	switch p.Kind {
	case Dpkg, Apk, RPM:
		u.Namespace = img.OS.ID
		u.Qualifiers = img.qualifiers(p, &u)
	case NPM, Go, Composer:
		if i := strings.LastIndexByte(p.Name, '/'); i >= 0 {
			u.Namespace, u.Name = p.Name[:i], p.Name[i+1:]
		}
		if p.Kind == Go && p.Version != "" && p.Version[0] >= '0' && p.Version[0] <= '9' && p.Name != "stdlib" {
			u.Version = "v" + p.Version
		}
	case Maven:
		u.Namespace, u.Name, _ = strings.Cut(p.Name, ":")
		if u.Name == "" {
			u.Namespace, u.Name = "", u.Namespace
		}
	}
	if u.Normalize() != nil {
		return "" // without a name
	}
	return u.ToString()
}

func (img *Image) qualifiers(p *Installed, u *packageurl.PackageURL) packageurl.Qualifiers {
	q := map[string]string{}
	set := func(name, value string) {
		if value != "" {
			q[name] = value
		}
	}
	set("arch", p.Arch)
	if img.OS.ID != "" && img.OS.VersionID != "" {
		set("distro", img.OS.ID+"-"+img.OS.VersionID)
	}
	if p.SourceName != "" {
		source := p.SourceName
		if p.SourceVersion != "" && p.SourceVersion != p.Version {
			source += "@" + p.SourceVersion
		}
		set("upstream", source)
	}
	if p.Kind == RPM {
		if epoch, rest, ok := strings.Cut(p.Version, ":"); ok {
			u.Version = rest
			set("epoch", epoch)
		} else if p.Epoch != "0" {
			set("epoch", p.Epoch)
		}
		set("rpmmod", p.Module)
	}
	return packageurl.QualifiersFromMap(q)
}

// maxPURL bounds what is read as a package URL.
const maxPURL = 4096

// FromPURL is the package that a package URL names, and the distribution that it
// tells of ("" each if none); false if Ecru knows no such kind.
func FromPURL(purl string) (p Installed, distro OSRelease, ok bool) {
	u, ok := parsePURL(purl)
	if !ok || u.Name == "" {
		return p, distro, false
	}
	q := u.Qualifiers.Map()
	p.Name, p.Version = u.Name, u.Version
	switch u.Type {
	case packageurl.TypeDebian, packageurl.TypeApk, packageurl.TypeRPM:
		p.Kind = map[string]Kind{packageurl.TypeDebian: Dpkg, packageurl.TypeApk: Apk, packageurl.TypeRPM: RPM}[u.Type]
		p.systemFrom(q)
		distro = distroFrom(u.Namespace, q["distro"])
	case packageurl.TypeNPM, packageurl.TypeGolang, packageurl.TypeComposer:
		p.Kind = Kind(u.Type)
		if u.Namespace != "" {
			p.Name = u.Namespace + "/" + u.Name
		}
		if p.Kind == Go {
			p.Version = strings.TrimPrefix(p.Version, "v")
		}
	case packageurl.TypeMaven:
		p.Kind = Maven
		if u.Namespace != "" {
			p.Name = u.Namespace + ":" + u.Name
		}
	case packageurl.TypePyPi, packageurl.TypeGem, packageurl.TypeCargo, packageurl.TypeNuget:
		p.Kind = Kind(u.Type)
	default:
		return p, distro, false
	}
	return p, distro, true
}

// parsePURL never panics.
func parsePURL(s string) (u packageurl.PackageURL, ok bool) {
	if len(s) > maxPURL {
		return u, false
	}
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	u, err := packageurl.FromString(s)
	return u, err == nil
}

func (p *Installed) systemFrom(q map[string]string) {
	p.Arch = q["arch"]
	p.SourceName, p.SourceVersion, _ = strings.Cut(q["upstream"], "@")
	if p.Kind != RPM {
		return
	}
	p.SourceName = sourceOfRPM(p.SourceName)
	p.Module = q["rpmmod"]
	if p.Epoch = q["epoch"]; p.Epoch != "" {
		p.Version = p.Epoch + ":" + p.Version
	}
	if i := strings.LastIndexByte(p.Version, '-'); i >= 0 {
		p.Release = p.Version[i+1:]
	}
}

// sourceOfRPM is the name in name-version-release.src.rpm; others are names
// already.
func sourceOfRPM(s string) string {
	s, ok := strings.CutSuffix(s, ".src.rpm")
	if !ok {
		return s
	}
	for range 2 {
		if i := strings.LastIndexByte(s, '-'); i > 0 {
			s = s[:i]
		}
	}
	return s
}

// distroFrom reads debian-12; some tools write the codename or the number only.
func distroFrom(namespace, distro string) OSRelease {
	o := OSRelease{ID: namespace}
	if id, version, ok := strings.Cut(distro, "-"); ok && id == namespace {
		o.VersionID = version
	} else if i := strings.LastIndexByte(distro, '-'); i > 0 && namespace != "" && strings.HasPrefix(distro, namespace) {
		o.VersionID = distro[i+1:]
	} else if distro != "" && distro[0] >= '0' && distro[0] <= '9' {
		o.VersionID = distro
	} else {
		o.Codename = distro
	}
	return o
}

// purlFits reports whether the package URL, some of whose parts may be left out,
// is one of the other.
func purlFits(pattern, purl string) bool {
	p, ok1 := parsePURL(pattern)
	u, ok2 := parsePURL(purl)
	if !ok1 || !ok2 || p.Type != u.Type || p.Name != u.Name {
		return false
	}
	if p.Namespace != "" && p.Namespace != u.Namespace || p.Version != "" && p.Version != u.Version {
		return false
	}
	have := u.Qualifiers.Map()
	for name, value := range p.Qualifiers.Map() {
		if have[name] != value {
			return false
		}
	}
	return true
}

// ociPURL is the package URL of an image.
func ociPURL(repository, digest string) string {
	name := repository[strings.LastIndexByte(repository, '/')+1:]
	u := "pkg:oci/" + url.PathEscape(strings.ToLower(name)) + "@" + url.QueryEscape(digest)
	return u
}
