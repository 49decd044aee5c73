package vuln

import "strings"

// Spell says what suppressions do to an image in package URLs alone, as VEX does:
// one that names a package or a path becomes one for each package of the image
// that it fits, which may be none. The others stay as they are.
func (img *Image) Spell(list []Suppression) []Suppression {
	var out []Suppression
	for i := range list {
		s := list[i]
		if s.Package == "" && s.Path == "" {
			out = append(out, s)
			continue
		}
		seen := map[string]bool{}
		for n := range img.Packages {
			p := &img.Packages[n]
			purl := img.PURL(p)
			if purl == "" || seen[purl] || !s.fitsPackage(p) || s.PURL != "" && !purlFits(s.PURL, purl) {
				continue
			}
			seen[purl] = true
			one := s
			one.Package, one.Path, one.PURL = "", "", purl
			out = append(out, one)
		}
	}
	return out
}

func (s *Suppression) fitsPackage(p *Installed) bool {
	if s.Package != "" && s.Package != p.Name && s.Package != p.SourceName {
		return false
	}
	return s.Path == "" || s.Path == p.Path || strings.HasSuffix(s.Path, "/") && strings.HasPrefix(p.Path, s.Path)
}
