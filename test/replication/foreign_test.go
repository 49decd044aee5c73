package replication

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ecruhq/ecru/test/harness"
)

// TestForeign: destinations that know nothing of this region: one that is
// logged in to as AWS is, and one by user and password. The other server plays
// both.
func TestForeign(t *testing.T) {
	w := &world{t: t, regions: map[string]*region{}}
	there := w.add(ireland, harness.Binary(t))
	there.opt.Args = []string{"--region", ireland}
	w.start(ireland)
	here := w.add(virginia, harness.Binary(t))
	password, err := harness.Password(t.Context(), w.api(ireland))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	here.opt.Args = []string{"--region", virginia, "--replication-region", ireland + "=" + there.server.URL + " login=aws",
		"--replication-region", "mirror=" + there.server.URL + " user=AWS password-file=" + file}
	here.opt.Env = append(here.opt.Env, "AWS_ACCESS_KEY_ID="+harness.RootKey, "AWS_SECRET_ACCESS_KEY="+harness.RootValue, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_ENDPOINT_URL_ECR="+there.server.URL)
	w.start(virginia)
	w.stopAtEnd()
	w.configure(virginia, map[string][]string{"new/": {ireland}, "old/": {"mirror"}})
	w.create(ireland, "old/app")
	str := must[string](t)
	for _, repo := range []string{"new/app", "old/app"} {
		w.create(virginia, repo)
		pushed := str(w.registry(virginia).PushImage(t.Context(), repo, "v1", content(100), content(100_000)))
		for to, s := range w.replicated(virginia, repo, tag("v1")) {
			if s != "COMPLETE" {
				t.Errorf("%s to %s: %s", repo, to, s)
			}
		}
		w.pulls(ireland, repo, "v1", pushed)
	}
}
