package vuln

import (
	"strings"
)

// An Identity is what a package is matched by: its ecosystem in OSV's words, its
// name there, and the version that counts there. Images share identities.
type Identity struct {
	Key
	Version string
	Module  string // name:stream of an rpm that is of a module, if it is known
}

// Identity is how advisories name an installed package. There is none for
// packages that the operating system owns, of distributions that have no
// advisories, and without a version.
func (img *Image) Identity(p *Installed) (Identity, bool) {
	if p.Owned {
		return Identity{}, false
	}
	id := Identity{Key: Key{Name: p.Name}, Version: p.Version}
	switch p.Kind {
	case Dpkg, Apk, RPM:
		id.Ecosystem = img.OS.Ecosystem()
		id.fromOS(p)
	case NPM:
		id.Ecosystem = "npm"
	case PyPI:
		id.Ecosystem = "PyPI"
	case Maven:
		id.Ecosystem = "Maven"
	case Go:
		id.Ecosystem = "Go"
		if id.Name == "go" {
			id.Name = "stdlib"
		}
		id.Version = strings.TrimPrefix(strings.TrimPrefix(id.Version, "go"), "v")
		if strings.HasPrefix(id.Version, "(") { // (devel): built from a work tree
			id.Version = ""
		}
		// The toolchain may be named with experiments: 1.22.1 X:boringcrypto.
		id.Version, _, _ = strings.Cut(id.Version, " ")
	case Gem:
		id.Ecosystem = "RubyGems"
	case Cargo:
		id.Ecosystem = "crates.io"
	case Composer:
		id.Ecosystem = "Packagist"
		id.Version = strings.TrimPrefix(id.Version, "v")
	case NuGet:
		id.Ecosystem = "NuGet"
	}
	id.Name = KeyName(id.Ecosystem, id.Name)
	return id, id.Ecosystem != "" && id.Name != "" && id.Version != "" && len(id.Version) <= maxVersion
}

// fromOS picks the names that the distribution's advisories use: the source of
// debs and apks, the binary of rpms (SUSE and Mageia: the source).
func (id *Identity) fromOS(p *Installed) {
	family, _, _ := strings.Cut(id.Ecosystem, ":")
	source := p.Kind != RPM || family == "SUSE" || family == "openSUSE" || family == "Mageia"
	if source && p.SourceName != "" {
		id.Name = p.SourceName
		if p.Kind == Dpkg && p.SourceVersion != "" {
			id.Version = p.SourceVersion
		}
	}
	if p.Kind == RPM {
		id.Module = moduleStream(p.Module)
		if p.Epoch != "" && p.Epoch != "0" && !strings.Contains(id.Version, ":") {
			id.Version = p.Epoch + ":" + id.Version
		}
	}
}

// moduleStream is name:stream of a label name:stream:version:context.
func moduleStream(label string) string {
	parts := strings.SplitN(label, ":", 3)
	if len(parts) < 2 {
		return ""
	}
	return parts[0] + ":" + parts[1]
}

// Keys are what the advisories of an identity are found under: its own, and
// Ubuntu Pro's.
func (id Identity) Keys() []Key {
	if release, ok := strings.CutPrefix(id.Ecosystem, "Ubuntu:"); ok && !strings.HasPrefix(release, "Pro:") {
		return []Key{id.Key, {Ecosystem: "Ubuntu:Pro:" + release, Name: id.Name}}
	}
	return []Key{id.Key}
}

// KeyName is the form of a package's name in a Key: PyPI's is normalised
// (PEP 503), those that do not tell capitals from small letters are small.
func KeyName(ecosystem, name string) string {
	switch ecosystem {
	case "PyPI":
		return normalPyPI(name)
	case "NuGet", "Packagist":
		return strings.ToLower(name)
	}
	return name
}

func normalPyPI(name string) string {
	var b strings.Builder
	b.Grow(len(name))
	dash := false
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '-' || c == '_' || c == '.':
			dash = true
			continue
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		}
		if dash {
			b.WriteByte('-')
			dash = false
		}
		b.WriteByte(c)
	}
	if dash {
		b.WriteByte('-')
	}
	return b.String()
}

// Ecosystem is the form of an OSV ecosystem in a Key. What a language's
// ecosystem carries after a colon (a repository) is dropped; of the many names
// of a Red Hat Enterprise Linux its major release is left.
func Ecosystem(osv string) string {
	family, rest, ok := strings.Cut(osv, ":")
	if !ok {
		return osv
	}
	switch family {
	case "Packagist", "Maven", "npm", "PyPI", "Go", "NuGet", "RubyGems", "crates.io":
		return family
	case "Red Hat":
		product, version, _ := strings.Cut(rest, ":")
		version, _, _ = strings.Cut(version, ":")
		if !redHatProduct(product) || version == "" {
			return osv
		}
		return "Red Hat:" + major(version)
	}
	return osv
}

// redHatProduct: of Red Hat's products, these are the operating system.
func redHatProduct(p string) bool {
	switch p {
	case "enterprise_linux", "rhel_aus", "rhel_e4s", "rhel_eus", "rhel_tus", "rhel_els", "rhel_eus_long_life":
		return true
	}
	return false
}

func major(version string) string {
	m, _, _ := strings.Cut(version, ".")
	return m
}

// Ecosystem is OSV's name of a distribution's release; "" if it has none.
func (o OSRelease) Ecosystem() string {
	v := o.VersionID
	switch o.ID {
	case "debian":
		return suffixed("Debian", debianRelease(v, o.Codename))
	case "ubuntu":
		return ubuntuRelease(v)
	case "alpine":
		return alpineRelease(v)
	case "wolfi":
		return "Wolfi"
	case "chainguard":
		return "Chainguard"
	case "almalinux":
		return suffixed("AlmaLinux", major(v))
	case "rocky":
		return suffixed("Rocky Linux", major(v))
	case "rhel", "centos":
		return suffixed("Red Hat", major(v))
	case "ol":
		return suffixed("Oracle Linux", major(v))
	case "amzn":
		return suffixed("Amazon Linux", major(v))
	case "photon":
		return suffixed("Photon OS", v)
	case "azurelinux", "mariner":
		return suffixed("Azure Linux", major(v))
	case "mageia":
		return suffixed("Mageia", v)
	case "opensuse-leap":
		return suffixed("openSUSE", prefixed("Leap ", v))
	case "opensuse-tumbleweed":
		return "openSUSE:Tumbleweed"
	case "sles":
		base, pack, _ := strings.Cut(v, ".")
		if pack != "" && pack != "0" {
			base += " SP" + pack
		}
		return suffixed("SUSE", prefixed("Linux Enterprise Server ", base))
	}
	return ""
}

func suffixed(family, release string) string {
	if release == "" {
		return ""
	}
	return family + ":" + release
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// debianRelease: testing and unstable have a codename but no number.
func debianRelease(version, codename string) string {
	if version != "" {
		return major(version)
	}
	switch codename {
	case "bookworm":
		return "12"
	case "trixie":
		return "13"
	case "forky":
		return "14"
	}
	return ""
}

// ubuntuRelease: April's release of an even year is supported for long.
func ubuntuRelease(v string) string {
	year, month, ok := strings.Cut(v, ".")
	if !ok || len(year) != 2 {
		return ""
	}
	if month == "04" && (year[1]-'0')%2 == 0 {
		return "Ubuntu:" + v + ":LTS"
	}
	return "Ubuntu:" + v
}

// alpineRelease: v3.20 of 3.20.3; a snapshot (3.22_alpha…) is edge.
func alpineRelease(v string) string {
	if strings.Contains(v, "_") {
		return "Alpine:edge"
	}
	parts := strings.SplitN(v, ".", 3)
	if len(parts) < 2 {
		return ""
	}
	return "Alpine:v" + parts[0] + "." + parts[1]
}
