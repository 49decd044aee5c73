package advisor

import (
	"strings"
	"testing"
)

func TestParseReference(t *testing.T) {
	d := "sha256:" + strings.Repeat("0a", 32)
	for text, want := range map[string]Reference{
		"app:v1":                    {Repository: "app", Tag: "v1"},
		"team/app@" + d:             {Repository: "team/app", Digest: d},
		"team/app:v1@" + d:          {Repository: "team/app", Tag: "v1", Digest: d},
		"127.0.0.1:5000/team/app:1": {Host: "127.0.0.1:5000", Repository: "team/app", Tag: "1"},
		"localhost/app:1":           {Host: "localhost", Repository: "app", Tag: "1"},
		"123456789012.dkr.ecr.us-east-1.amazonaws.com/app:1": {
			Host: "123456789012.dkr.ecr.us-east-1.amazonaws.com", Registry: "123456789012", Repository: "app", Tag: "1"},
	} {
		got, err := ParseReference(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if got.String() != text {
			t.Errorf("%s is written %s", text, got)
		}
	}
	for _, text := range []string{"", "app", "app:", ":v1", "@" + d, "app@", "app@sha256:0", "app@" + d + "0", "a b:v1", "host.example/:v1", "a:b:c"} {
		if r, err := ParseReference(text); err == nil {
			t.Errorf("%q: %+v, want an error", text, r)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	f.Add("host:1/team/app:v1@sha256:00")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseReference(text)
		if err != nil {
			return
		}
		if r.String() != text || r.Repository == "" {
			t.Errorf("%q: %+v", text, r)
		}
	})
}

func FuzzParseIndex(f *testing.F) {
	f.Add(`{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:00","platform":{"os":"linux","architecture":"arm","variant":"v7"}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseIndex(text)
		for i := range list {
			if err != nil || !digestText.MatchString(list[i].Digest) {
				t.Errorf("%q: %+v, %v", text, list[i], err)
			}
			list[i].name()
			list[i].attestation()
		}
	})
}
