package daemon

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecruhq/ecru/replicate"
)

const regionKey = "2ZVYXHts0KANnWrVOQAzcOyjUfS3O39uQOQpOVLPtOk"

func TestReplicationRegions(t *testing.T) {
	cfg := Config{ReplicationRegions: []string{
		"eu-west-1=https://ecr.eu.example.com key=" + regionKey + "+" + regionKey + " accounts=111111111111+222222222222 workers=3 bandwidth=10MiB window=22:00-06:30 tags=v*|release deletes",
		"us-west-2=aws profile=west",
		"mirror=https://registry.example.com user=me password-file=/run/secret",
	}}
	peers, err := cfg.peers()
	if err != nil {
		t.Fatal(err)
	}
	eu, aws, mirror := peers[0], peers[1], peers[2]
	want := replicate.Target{Region: "eu-west-1", URL: "https://ecr.eu.example.com", Workers: 3, Bandwidth: 10 << 20, Deletes: true,
		Window: replicate.Window{From: 22 * time.Hour, To: 6*time.Hour + 30*time.Minute}}
	if got := eu.target; got.Region != want.Region || got.URL != want.URL || got.Workers != want.Workers || got.Bandwidth != want.Bandwidth || got.Window != want.Window ||
		!got.Deletes || !slices.Equal(got.Tags, []string{"v*", "release"}) || got.Plain || len(eu.region.Keys) != 2 || len(eu.region.Accounts) != 2 {
		t.Errorf("%+v", eu)
	}
	if !aws.aws || aws.profile != "west" || aws.target.URL != "https://{account}.dkr.ecr.us-west-2.amazonaws.com" {
		t.Errorf("%+v", aws)
	}
	if !mirror.target.Plain || mirror.user != "me" {
		t.Errorf("%+v", mirror)
	}
	if got := regionNames(peers); !slices.Equal(got, []string{"eu-west-1", "us-west-2", "mirror"}) {
		t.Errorf("regions %v", got)
	}
}

func TestReplicationRegionsRefused(t *testing.T) {
	const good = "eu-west-1=https://ecr.eu.example.com"
	for _, tt := range []struct{ entry, want string }{
		{"", "is not REGION=URL"},
		{"https://ecr.eu.example.com", "is not REGION=URL"},
		{"EU=https://ecr.eu.example.com", "is not REGION=URL"},
		{"eu-west-1=ecr.eu.example.com", "is not the URL of a host"},
		{"eu-west-1=https://me:secret@ecr.eu.example.com", "is not the URL of a host"},
		{"eu-west-1=https://ecr.eu.example.com/path", "is not the URL of a host"},
		{good + " key=abc", "is not the key of a region"},
		{good + " accounts=12", "is not an account"},
		{good + " workers=0", "is not a number of workers"},
		{good + " bandwidth=fast", "is not a size"},
		{good + " bandwidth=5B", "too little"},
		{good + " window=22-6", "is not a part of the day"},
		{good + " window=06:00-06:00", "is not a part of the day"},
		{good + " deletes=perhaps", "is not true or false"},
		{good + " tags", "want option=value"},
		{good + " speed=1", "there is no such option"},
		{good + " cert=/a", "cert and cert-key go together"},
		{good + " user=me", "user and password-file go together"},
		{good + " login=gcp", "is not aws"},
		{good + " profile=x", "login=aws goes with profile"},
	} {
		t.Run(tt.entry, func(t *testing.T) {
			cfg := Config{ReplicationRegions: []string{tt.entry}}
			if _, err := cfg.peers(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
	cfg := Config{ReplicationRegions: []string{good, good}}
	if _, err := cfg.peers(); err == nil || !strings.Contains(err.Error(), "is there twice") {
		t.Errorf("a region twice: %v", err)
	}
}
