package ecr

import (
	"slices"
	"strings"
	"time"
)

// A Destination is a registry that images are replicated to.
type Destination struct {
	Region  string
	Account string
}

// String is the destination as region/account.
func (d Destination) String() string { return d.Region + "/" + d.Account }

// A ReplicationRule sends the repositories whose names begin with one of
// Prefixes, or all if there are none, to each of Destinations.
type ReplicationRule struct {
	Destinations []Destination
	Prefixes     []string `json:",omitempty"`
}

// Matches reports whether the rule is about a repository (ECR API,
// PREFIX_MATCH: a prefix is literal).
func (r *ReplicationRule) Matches(repository string) bool {
	return len(r.Prefixes) == 0 || slices.ContainsFunc(r.Prefixes, func(p string) bool { return strings.HasPrefix(repository, p) })
}

// A ReplicationConfiguration says what an account's registry replicates where.
type ReplicationConfiguration struct {
	Rules []ReplicationRule
}

// Destinations returns where a repository goes, each once.
func (c *ReplicationConfiguration) Destinations(repository string) (out []Destination) {
	for i := range c.Rules {
		if !c.Rules[i].Matches(repository) {
			continue
		}
		for _, d := range c.Rules[i].Destinations {
			if !slices.Contains(out, d) {
				out = append(out, d)
			}
		}
	}
	return out
}

// All returns every destination of the configuration, each once.
func (c *ReplicationConfiguration) All() (out []Destination) {
	for _, r := range c.Rules {
		for _, d := range r.Destinations {
			if !slices.Contains(out, d) {
				out = append(out, d)
			}
		}
	}
	return out
}

// Matches reports whether a repository goes to a destination.
func (c *ReplicationConfiguration) Matches(repository string, to Destination) bool {
	return slices.Contains(c.Destinations(repository), to)
}

// A ReplicationStatus tells how far an image has come (ECR API,
// ReplicationStatus).
type ReplicationStatus string

const (
	ReplicationInProgress ReplicationStatus = "IN_PROGRESS"
	ReplicationComplete   ReplicationStatus = "COMPLETE"
	ReplicationFailed     ReplicationStatus = "FAILED"
)

// A Replication is the record of one image, under one tag or none, and one
// destination.
type Replication struct {
	Repository RepositoryID
	Image      ImageID // Digest is set; Tag is "" for a push by digest
	To         Destination
	Status     ReplicationStatus
	Code       string // why it failed, or what an attempt in progress met last
	Reason     string
	QueuedAt   time.Time
	EndedAt    time.Time // zero while it is in progress
}

// A Backfill copies what a registry had before it was configured to replicate
// (ECR API, StartReplicationBackfill).
type Backfill struct {
	ID        string // UUID
	Account   string
	To        Destination
	Status    BackfillStatus
	Code      string // why it failed
	StartedAt time.Time
	EndedAt   time.Time // zero while it is under way
	Prepared  bool      // the counts are known
	Total     int64     // of images, each tag counted
	Completed int64
	Failed    int64
	Codes     []string // those of the images that failed, each once
}

// A BackfillStatus is ECR's ReplicationBackfillStatus.
type BackfillStatus string

const (
	BackfillPreparing  BackfillStatus = "PREPARING"
	BackfillInProgress BackfillStatus = "IN_PROGRESS"
	BackfillComplete   BackfillStatus = "COMPLETE"
	BackfillFailed     BackfillStatus = "FAILED"
	BackfillStopping   BackfillStatus = "STOPPING"
	BackfillStopped    BackfillStatus = "STOPPED"
)

// Active reports whether a backfill is under way.
func (s BackfillStatus) Active() bool {
	return s == BackfillPreparing || s == BackfillInProgress || s == BackfillStopping
}

// A BackfillItem is one image of a backfill, under one tag or none.
type BackfillItem struct {
	Row        int64
	Repository string
	Image      ImageID
	Status     ReplicationStatus
	Code       string
	SubCodes   []string // of the images that an index names
}

// replicationRole is the service-linked role that ECR replicates as. Nobody can
// assume it: the colon in its sessions' names is in nobody else's.
const (
	replicationRole    = "AWSServiceRoleForECRReplication"
	replicationSession = "replication:"
)

// ReplicationRoleARN is the role that an account's registry replicates as.
func ReplicationRoleARN(account string) string {
	return "arn:aws:iam::" + account + ":role/aws-service-role/replication.ecr.amazonaws.com/" + replicationRole
}

// ReplicationARN is the principal that stands for an account's registry in a
// region when it replicates.
func ReplicationARN(account, region string) string {
	return "arn:aws:sts::" + account + ":assumed-role/" + replicationRole + "/" + replicationSession + region
}

// ReplicationSource is the way back from ReplicationARN: which registry
// replicated; ok is false for any other principal.
func ReplicationSource(arn string) (from Destination, ok bool) {
	rest, ok := strings.CutPrefix(arn, "arn:aws:sts::")
	account, rest, ok2 := strings.Cut(rest, ":")
	region, ok3 := strings.CutPrefix(rest, "assumed-role/"+replicationRole+"/"+replicationSession)
	if !ok || !ok2 || !ok3 {
		return Destination{}, false
	}
	return Destination{Region: region, Account: account}, true
}
