package extract

import (
	"context"
	"strings"

	"github.com/ecruhq/ecru/vuln"
)

// readOSRelease reads os-release(5), whose values are quoted as in a shell;
// scalibr takes off double quotes only, and leaves what they escape.
func readOSRelease(_ context.Context, in *input) ([]vuln.Package, error) {
	o := vuln.OSRelease{Path: in.path}
	err := lines(in.content, func(line string) error {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(key, "#") {
			return nil
		}
		value = clip(shellValue(value))
		switch key {
		case "ID":
			o.ID = value
		case "ID_LIKE":
			o.IDLike = strings.Fields(value)
		case "VERSION_ID":
			o.VersionID = value
		case "VERSION_CODENAME":
			o.Codename = value
		case "PRETTY_NAME":
			o.PrettyName = value
		case "CPE_NAME":
			o.CPEName = value
		}
		return nil
	})
	in.reader.keep(o.ID, o.VersionID, o.Codename, o.PrettyName, o.CPEName)
	in.reader.releases[in.path] = o
	return nil, err
}

// shellValue is the value of an assignment in a shell, without expansion.
func shellValue(s string) string {
	if len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' {
		return s[1 : len(s)-1]
	}
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
