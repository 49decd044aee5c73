package ecr

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/ecruhq/ecru/iam"
)

// A Caller is who makes a request and how it came in. Edges build it from
// verified credentials; the core trusts it.
type Caller struct {
	*iam.Principal // who; never nil in a call to the core

	AccessKeyID  string     // the key that signed, or "" (the server itself)
	SessionToken string     // what came with a session's key, or ""
	SourceIP     netip.Addr // may be invalid: the server itself
	UserAgent    string
	RequestID    string
	TLS          bool
	// Replication is the region whose registry replicates, by the credentials
	// of regions among each other; "" for everybody else.
	Replication string
	// Request gives the condition keys of this request alone, in lower case,
	// where the core sets them for itself.
	Request map[string][]string
	Call    *Call // what is asked, for the audit trail; nil for the server's own doing
}

// Condition gives the values of a condition key, which is in lower case, as far
// as how the request came in, and the tags of what it is about, tell them (IAM
// user guide, "AWS global condition context keys"); service is that of the
// service's own key for tags, such as ecr:ResourceTag. It is nil for others.
func (c *Caller) Condition(service, region string, tags []Tag, key string) []string {
	switch key {
	case "aws:sourceip":
		if c.SourceIP.IsValid() {
			return []string{c.SourceIP.String()}
		}
		return nil
	case "aws:securetransport":
		return []string{strconv.FormatBool(c.TLS)}
	case "aws:useragent":
		if c.UserAgent != "" {
			return []string{c.UserAgent}
		}
		return nil
	case "aws:requestedregion":
		return []string{region}
	}
	of, name, ok := strings.Cut(key, ":resourcetag/")
	if !ok || of != "aws" && of != service {
		return nil
	}
	for _, t := range tags {
		if strings.EqualFold(t.Key, name) {
			return []string{t.Value}
		}
	}
	return nil
}

// RepositoryIn names a repository in account, or in the caller's own if
// account is empty.
func (c Caller) RepositoryIn(account, name string) RepositoryID {
	if account == "" {
		account = c.Account
	}
	return RepositoryID{Account: account, Name: name}
}

// A PullTimeExclusion is a principal whose pulls do not move the time of an
// image's last pull.
type PullTimeExclusion struct {
	PrincipalARN string
	CreatedAt    time.Time
}
